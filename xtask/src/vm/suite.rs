//! Which tests run in a machine.

/// Which tests run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Suite {
    /// Whether the programs load, how they are attached, and how they judge tables of packets: what
    /// another kernel fails first.
    Quick,
    /// Whether the programs load and how they are attached, and what needs devices that other
    /// computers lack: a part of every test run, which tables of packets would take too long for.
    Short,
    /// All that a machine without disk and network can run.
    Full,
    /// The runners of these names.
    Only(Vec<String>),
    /// What is to be tested of a kernel that is too old.
    Refusal,
}

const VERIFIER: (&str, &[&str]) = ("verifier", &["--nocapture"]);
const EGRESS: (&str, &[&str]) = ("egress", &["--nocapture"]);
/// What the machine has and the computer that it runs on may lack: its tests are ignored there.
const DEVICES: (&str, &[&str]) = ("devices", &["--include-ignored"]);
const MINIMUM: (&str, &[&str]) = ("minimum", &["--nocapture"]);
const SPECIAL: [(&str, &[&str]); 4] = [VERIFIER, EGRESS, DEVICES, MINIMUM];
/// One table at every hook, and what it does not have.
const PACKETS: (&str, &[&str]) = ("packets", &["policy::", "headers::", "links::", "flows::"]);

/// What needs cargo, the sources, systemd, resolvers that consist of more than their program, or
/// answers to hundreds of probes in the time that a real processor takes.
const LEFT_OUT: [&str; 5] = ["demo", "every_resolver", "explain", "install", "readme"];

impl Suite {
    /// The names of the runners and their arguments, of those that there are. The verifier's
    /// comes first: a program that does not load fails all others.
    pub fn runs(&self, runners: &[String]) -> Vec<(String, Vec<String>)> {
        let owned = |(name, arguments): (&str, &[&str])| {
            (name.to_owned(), arguments.iter().map(|&argument| argument.to_owned()).collect())
        };
        let usual = |name: &str| {
            let special = SPECIAL.into_iter().find(|(special, _)| *special == name);
            owned(special.unwrap_or((name, &[])))
        };
        match self {
            Self::Quick => [VERIFIER, EGRESS, PACKETS].map(owned).into(),
            Self::Short => [VERIFIER, EGRESS, DEVICES].map(owned).into(),
            Self::Full => {
                let first = [VERIFIER.0, EGRESS.0, DEVICES.0];
                let others = runners.iter().map(String::as_str);
                let others =
                    others.filter(|name| !first.contains(name) && !LEFT_OUT.contains(name));
                first.into_iter().chain(others).map(usual).collect()
            }
            Self::Only(names) => names.iter().map(|name| usual(name)).collect(),
            Self::Refusal => vec![owned(MINIMUM)],
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_new_runner_runs_in_the_machine_unless_it_is_left_out() {
        let runners = ["demo", "devices", "new", "verifier"].map(str::to_owned);
        let runs = Suite::Full.runs(&runners);
        let names: Vec<_> = runs.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(names, ["verifier", "egress", "devices", "new"]);
        let only = Suite::Only(vec!["devices".to_owned()]).runs(&runners);
        assert_eq!(only, runs[2..3]);
    }
}
