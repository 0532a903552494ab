//! Figures of a kernel, from the output of a machine's tests.

use std::{fmt, time::Duration};

/// Text between a program's name and its figures in the verifier's test.
const INSTRUCTIONS: &str = " instructions, loaded in ";

/// Figures of a kernel.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Figures {
    /// Each program, and the instructions that the verifier processed for it.
    programs: Vec<(String, u32)>,
    /// Time to load all of them.
    load: Duration,
    /// By what the program on the way to the clients is attached.
    egress: Option<String>,
    /// Message about a kernel that is too old.
    refusal: Option<String>,
}

impl Figures {
    /// Takes a line; whether it told something.
    pub(super) fn read(&mut self, line: &str) -> bool {
        // Where tests run one at a time, what they print follows their names.
        let line = line.rsplit_once(" ... ").map_or(line, |(_, figures)| figures);
        if let Some(way) = line.strip_prefix("egress: attached by ") {
            self.egress = Some(way.to_owned());
            true
        } else if let Some(sentence) = line.strip_prefix("refused: ") {
            self.refusal = Some(sentence.to_owned());
            true
        } else if let Some((program, instructions, load)) = program(line) {
            self.programs.push((program.to_owned(), instructions));
            self.load += load;
            true
        } else {
            false
        }
    }
}

/// A line of the verifier's test: `egress: 33981 instructions, loaded in 2200 ms`.
fn program(line: &str) -> Option<(&str, u32, Duration)> {
    let (counted, load) = line.split_once(INSTRUCTIONS)?;
    let (program, instructions) = counted.split_once(": ")?;
    let load = load.strip_suffix(" ms")?.parse().ok()?;
    Some((program, instructions.parse().ok()?, Duration::from_millis(load)))
}

impl fmt::Display for Figures {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(refusal) = &self.refusal {
            write!(f, "; {refusal}")?;
        }
        if let Some(egress) = &self.egress {
            write!(f, "; {egress}")?;
        }
        if self.programs.is_empty() {
            return Ok(());
        }
        let programs: Vec<String> = self
            .programs
            .iter()
            .map(|(program, instructions)| format!("{program} {instructions}"))
            .collect();
        write!(f, "; instructions: {}", programs.join(", "))?;
        write!(f, "; loaded in {:.1} s", self.load.as_secs_f64())
    }
}

#[cfg(test)]
mod tests {
    use super::Figures;

    #[test]
    fn figures_are_read_behind_the_names_of_tests_and_told_on_one_line() {
        let mut figures = Figures::default();
        for line in [
            "test programs_load ... egress: 33981 instructions, loaded in 2210 ms",
            "ingress: 4000 instructions, loaded in 490 ms",
            "egress: attached by TCX",
        ] {
            assert!(figures.read(line), "{line}");
        }
        for line in ["test a ... ok", "ingress: many instructions, loaded in 3 ms", ""] {
            assert!(!figures.read(line), "{line}");
        }
        assert_eq!(
            figures.to_string(),
            "; TCX; instructions: egress 33981, ingress 4000; loaded in 2.7 s"
        );
    }

    #[test]
    fn a_refusal_is_told() {
        let mut figures = Figures::default();
        assert!(figures.read("refused: kernel 5.10 is too old"));
        assert_eq!(figures.to_string(), "; kernel 5.10 is too old");
    }
}
