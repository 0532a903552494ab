//! Tells people what was measured, in tables.

use std::fmt;

use super::{
    Findings, Goal,
    machine::Machine,
    profile,
    text::{limit, text},
};

/// Findings of the benchmarks on one machine.
#[derive(Clone, Debug)]
pub struct Report {
    /// The machine.
    pub machine: Machine,
    /// The command that they were run by.
    pub command: String,
    /// Each benchmark's name and findings.
    pub benchmarks: Vec<(&'static str, Findings)>,
}

impl Report {
    /// Every goal.
    pub fn goals(&self) -> impl Iterator<Item = &Goal> {
        self.benchmarks.iter().flat_map(|(_, findings)| &findings.goals)
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}", self.machine)?;
        for (name, findings) in &self.benchmarks {
            writeln!(f, "\n{name}")?;
            for note in &findings.notes {
                writeln!(f, "note: {note}")?;
            }
            if findings.measurements.is_empty() {
                continue;
            }
            let measurements = findings.measurements.iter();
            let rows = measurements.map(|one| {
                let (low, high) = one.interval();
                [
                    one.name.clone(),
                    one.runs().to_string(),
                    text(one.unit, one.least()),
                    text(one.unit, one.median()),
                    format!("{} .. {}", text(one.unit, low), text(one.unit, high)),
                    text(one.unit, one.p99()),
                    text(one.unit, one.greatest()),
                ]
            });
            let head = ["WHAT", "RUNS", "MIN", "MEDIAN", "95 % OF MEDIANS", "P99", "MAX"];
            table(f, head, rows.collect())?;
            for profile in &findings.profiles {
                writeln!(f, "\nprofile of {}", profile.name)?;
                table(
                    f,
                    profile::HEAD.map(str::to_uppercase).each_ref().map(String::as_str),
                    profile.rows(),
                )?;
            }
            if findings.goals.is_empty() {
                continue;
            }
            let rows = findings.goals.iter().map(|goal| {
                let (low, high) = goal.interval;
                [
                    goal.name.clone(),
                    text(goal.unit, goal.value),
                    format!("{} .. {}", text(goal.unit, low), text(goal.unit, high)),
                    limit(goal.unit, goal.bound),
                    (if goal.is_met() { "yes" } else { "NO" }).to_owned(),
                ]
            });
            writeln!(f)?;
            table(f, ["GOAL", "IS", "95 %", "IS TO BE", "MET"], rows.collect())?;
        }
        Ok(())
    }
}

/// The first column to the left, the others to the right.
fn table<const N: usize>(
    f: &mut fmt::Formatter<'_>,
    head: [&str; N],
    rows: Vec<[String; N]>,
) -> fmt::Result {
    let head = head.map(str::to_owned);
    let mut widths = head.clone().map(|cell| cell.len());
    for row in &rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(cell.chars().count());
        }
    }
    for row in std::iter::once(&head).chain(&rows) {
        for (column, (cell, width)) in row.iter().zip(widths).enumerate() {
            match column {
                0 => write!(f, "{cell:width$}")?,
                _ => write!(f, "  {cell:>width$}")?,
            }
        }
        writeln!(f)?;
    }
    Ok(())
}

#[cfg(test)]
pub(super) fn example() -> Report {
    use super::{Bound, Unit};

    let times = [9, 1, 3].map(std::time::Duration::from_millis);
    let beads = super::Measurement::times("counting beads", times);
    let goal = Goal::figure(&beads, Bound::AtMost(1e6));
    Report {
        machine: Machine {
            processor: "Abacus".into(),
            processors: 2,
            memory_kib: 2048,
            kernel: "6.1.0".into(),
            profile: "release".into(),
        },
        command: "cargo xtask bench beads".into(),
        benchmarks: vec![(
            "beads",
            Findings {
                measurements: vec![beads],
                goals: vec![goal],
                charts: vec![super::Chart {
                    title: "Beads".into(),
                    unit: Unit::Time,
                    variants: vec!["red".into(), "<blue>".into()],
                    rows: vec![
                        ("counted".into(), vec![Some(3e6), None]),
                        ("guessed".into(), vec![Some(2e3), Some(1e3)]),
                    ],
                }],
                profiles: vec![super::profile::Profile::new(
                    "counting".into(),
                    vec![super::profile::Part { name: "push a bead".into(), each: 1e6, times: 2 }],
                    3e6,
                    None,
                )],
                notes: vec!["no child was at hand".into()],
            },
        )],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_names_the_machine_each_measurement_and_each_goal() {
        let text = example().to_string();
        let lines: Vec<Vec<&str>> =
            text.lines().map(|line| line.split_whitespace().collect()).collect();
        let of = |words: &[&str]| lines.iter().find(|line| line.starts_with(words));
        assert!(of(&["2", "x", "Abacus,", "2", "MiB,", "Linux", "6.1.0,"]).is_some(), "{text}");
        assert!(of(&["beads"]).is_some(), "{text}");
        assert!(of(&["counting", "beads", "3", "1000.0", "us"]).is_some(), "{text}");
        let goal = of(&["counting", "beads", "3000.0", "us"]);
        assert!(goal.is_some_and(|goal| goal.ends_with(&["NO"])), "{text}");
        assert!(text.contains("<= 1000.0 us"), "{text}");
        assert!(of(&["profile", "of", "counting"]).is_some(), "{text}");
        assert!(
            of(&["push", "a", "bead", "1000.0", "us", "2", "2000.0", "us"]).is_some(),
            "{text}"
        );
    }
}
