//! Suites: selections of tests that run in a machine.

/// Selection of tests.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Suite {
    /// Loading, attachment and tables of packets: the tests that another kernel fails first.
    Quick,
    /// Loading, attachment, and tests that need devices that other computers lack: a part of every
    /// test run, for which tables of packets would take too long.
    Short,
    /// All that a machine without disk and network can run.
    Full,
    /// Runners, or tests by parts of their names.
    Only(Vec<String>),
    /// Tests of a kernel that is too old.
    Refusal,
}

/// A runner of tests.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Runner {
    /// The name that cargo has for it.
    pub name: String,
    /// The names of its tests.
    pub tests: Vec<String>,
}

/// The name of a runner, and its arguments.
type Run<'a> = (&'a str, &'a [&'a str]);

const VERIFIER: Run = ("kernel", &["verifier::", "--nocapture"]);
const EGRESS: Run = ("kernel", &["egress::", "--nocapture"]);
/// Rest of the runner of those two.
const KERNEL: Run = ("kernel", &["--skip", "verifier::", "--skip", "egress::"]);
/// Tests of devices that the machine has and its host may lack, where they are ignored.
const DEVICES: Run = ("devices", &["--include-ignored"]);
/// Those that its host leaves to the machine: the others take minutes where the processor is emulated.
const DEVICES_SHORT: Run = ("devices", &["--ignored"]);
const MINIMUM: Run = ("kernel", &["minimum::", "--nocapture"]);
/// One table at every hook, and what it does not have.
const PACKETS: Run = ("packets", &["policy::", "headers::", "links::", "flows::"]);

/// Runners that need cargo, the sources, systemd, resolvers that consist of more than their
/// program, or the speed of a real processor; and tables of packets that no kernel judges.
const LEFT_OUT: [&str; 4] = ["demo", "host", "pages", "tables"];

impl Suite {
    /// The names of the runners and their arguments, of those that there are. The verifier's
    /// comes first: a program that does not load fails all others.
    pub(super) fn runs(&self, runners: &[Runner]) -> Vec<(String, Vec<String>)> {
        match self {
            Self::Quick => [VERIFIER, EGRESS, PACKETS].map(owned).into(),
            Self::Short => [VERIFIER, EGRESS, DEVICES_SHORT].map(owned).into(),
            Self::Full => {
                let others = runners.iter().map(|runner| runner.name.as_str());
                let others = others.filter(|name| *name != DEVICES.0 && !LEFT_OUT.contains(name));
                let others = others.map(|name| match name {
                    name if name == KERNEL.0 => KERNEL,
                    name => (name, &[] as &[&str]),
                });
                [VERIFIER, EGRESS, DEVICES].into_iter().chain(others).map(owned).collect()
            }
            Self::Only(words) => words.iter().flat_map(|word| named(word, runners)).collect(),
            Self::Refusal => vec![owned(MINIMUM)],
        }
    }
}

fn owned((name, arguments): Run) -> (String, Vec<String>) {
    (name.to_owned(), arguments.iter().map(|&argument| argument.to_owned()).collect())
}

/// The runner of this name, or every one that a machine can run with a test whose name has this word.
fn named(word: &str, runners: &[Runner]) -> Vec<(String, Vec<String>)> {
    let everything = ["--include-ignored", "--nocapture"];
    if runners.iter().any(|runner| runner.name == word) {
        return vec![owned((word, &everything))];
    }
    let has = |runner: &&Runner| {
        !LEFT_OUT.contains(&runner.name.as_str())
            && runner.tests.iter().any(|test| test.contains(word))
    };
    let arguments = [&[word][..], &everything].concat();
    runners.iter().filter(has).map(|runner| owned((&runner.name, &arguments))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn runners() -> Vec<Runner> {
        let runner =
            |name: &str, test: &str| Runner { name: name.to_owned(), tests: vec![test.to_owned()] };
        vec![
            runner("devices", "vlans::tagged"),
            runner("host", "explain::vlans"),
            runner("kernel", "verifier::loads"),
            runner("new", "vlans::new"),
        ]
    }

    fn names(suite: &Suite) -> Vec<String> {
        let lines = suite.runs(&runners()).into_iter();
        lines.map(|(name, arguments)| format!("{name} {}", arguments.join(" "))).collect()
    }

    #[test]
    fn a_new_runner_runs_in_the_machine_unless_it_is_left_out() {
        let expected = [
            "kernel verifier:: --nocapture",
            "kernel egress:: --nocapture",
            "devices --include-ignored",
            "kernel --skip verifier:: --skip egress::",
            "new ",
        ];
        assert_eq!(names(&Suite::Full), expected);
    }

    #[test]
    fn a_word_is_a_runner_or_a_part_of_the_names_of_tests() {
        let only = |word: &str| names(&Suite::Only(vec![word.to_owned()]));
        assert_eq!(only("host"), ["host --include-ignored --nocapture"]);
        let vlans =
            ["devices", "new"].map(|name| format!("{name} vlans --include-ignored --nocapture"));
        assert_eq!(only("vlans"), vlans);
        assert!(only("nothing").is_empty());
    }
}
