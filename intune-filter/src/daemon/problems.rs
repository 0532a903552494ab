//! Collects current problems for `status`, each with a code for programs and the time of its start.

use std::collections::BTreeMap;

use jiff::Timestamp;

use crate::report::Problem;

/// Kind of a problem.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Code {
    /// The configuration file cannot be used, and the last good configuration runs.
    ConfigurationRefused,
    /// The last reload was refused.
    ReloadRefused,
    /// State that has to survive a restart cannot be written to the state directory.
    StateNotSaved,
    /// A file in the state directory could not be used.
    StateSetAside,
    /// Users other than root can write the configuration file.
    FileWritable,
    /// A change of the policy has failed half-way, and so has its reversal.
    PolicyInDoubt,
    /// The metrics endpoint does not listen.
    MetricsNotServed,
    /// An interface that was judged has another name, and is the configuration's no more.
    InterfaceStray,
}

impl Code {
    const ALL: [Self; 8] = [
        Self::ConfigurationRefused,
        Self::ReloadRefused,
        Self::StateNotSaved,
        Self::StateSetAside,
        Self::FileWritable,
        Self::PolicyInDoubt,
        Self::MetricsNotServed,
        Self::InterfaceStray,
    ];

    /// Returns the word in JSON and commands.
    #[must_use]
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::ConfigurationRefused => "configuration_refused",
            Self::ReloadRefused => "reload_refused",
            Self::StateNotSaved => "state_not_saved",
            Self::StateSetAside => "state_set_aside",
            Self::FileWritable => "file_writable",
            Self::PolicyInDoubt => "policy_in_doubt",
            Self::MetricsNotServed => "metrics_not_served",
            Self::InterfaceStray => "interface_stray",
        }
    }
}

/// Current problems.
#[derive(Clone, Debug, Default)]
pub(crate) struct Problems(BTreeMap<Code, (Timestamp, String)>);

impl Problems {
    /// Adds a problem. Returns whether the problem or its text is new.
    pub(crate) fn add(&mut self, code: Code, text: String) -> bool {
        let now = now();
        let (_, known) = self.0.entry(code).or_insert((now, String::new()));
        let is_news = *known != text;
        *known = text;
        is_news
    }

    /// Removes a problem. Returns whether it was there.
    pub(crate) fn clear(&mut self, code: Code) -> bool {
        self.0.remove(&code).is_some()
    }

    /// Whether a problem is current.
    #[must_use]
    pub(crate) fn has(&self, code: Code) -> bool {
        self.0.contains_key(&code)
    }

    /// Returns the words of all kinds, and whether a problem of the kind is current.
    pub(crate) fn kinds(&self) -> impl Iterator<Item = (&'static str, bool)> {
        Code::ALL.into_iter().map(|code| (code.as_str(), self.has(code)))
    }

    /// Returns all current problems.
    pub(crate) fn iter(&self) -> impl Iterator<Item = Problem> {
        self.0.iter().map(|(code, (since, text))| Problem {
            code: code.as_str().to_owned(),
            since: *since,
            text: text.clone(),
        })
    }
}

/// Returns the current time, rounded to seconds for reports.
#[must_use]
pub(crate) fn now() -> Timestamp {
    let now = Timestamp::now();
    now.round(jiff::Unit::Second).unwrap_or(now)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_problem_has_the_time_of_its_beginning_and_its_last_text() {
        let mut problems = Problems::default();
        assert!(problems.add(Code::ReloadRefused, "first".into()));
        assert!(problems.has(Code::ReloadRefused) && !problems.has(Code::StateNotSaved));
        let since = problems.iter().next().unwrap().since;
        assert!(!problems.add(Code::ReloadRefused, "first".into()));
        assert!(problems.add(Code::ReloadRefused, "second".into()));
        let told = problems.iter().next().unwrap();
        assert_eq!((&*told.code, &*told.text, told.since), ("reload_refused", "second", since));
        assert!(problems.clear(Code::ReloadRefused) && !problems.clear(Code::ReloadRefused));
        assert!(problems.iter().next().is_none());
    }
}
