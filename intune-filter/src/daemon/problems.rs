//! What is not as it should be, for `status`: each with a word for programs, and since when.

use std::collections::BTreeMap;

use jiff::Timestamp;

use crate::report::Problem;

/// A kind of problem.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Code {
    /// The configuration file cannot be used, and the last good one runs.
    ConfigurationRefused,
    /// The last reload was refused.
    ReloadRefused,
    /// What has to outlive a restart cannot be written to the state directory.
    StateNotSaved,
    /// Something in the state directory could not be used.
    StateSetAside,
    /// Others than root may write the configuration file.
    FileWritable,
    /// A change of the policy has failed half-way, and so has going back.
    PolicyInDoubt,
    /// Nothing listens where the metrics should be.
    MetricsNotServed,
}

impl Code {
    /// The word that JSON and commands use.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::ConfigurationRefused => "configuration_refused",
            Self::ReloadRefused => "reload_refused",
            Self::StateNotSaved => "state_not_saved",
            Self::StateSetAside => "state_set_aside",
            Self::FileWritable => "file_writable",
            Self::PolicyInDoubt => "policy_in_doubt",
            Self::MetricsNotServed => "metrics_not_served",
        }
    }
}

/// What is wrong now.
#[derive(Clone, Debug, Default)]
pub struct Problems(BTreeMap<Code, (Timestamp, String)>);

impl Problems {
    /// There is this problem. Returns whether that, or what it says, is news.
    pub fn add(&mut self, code: Code, text: String) -> bool {
        let now = now();
        let (_, known) = self.0.entry(code).or_insert((now, String::new()));
        let is_news = *known != text;
        *known = text;
        is_news
    }

    /// This problem is no more. Returns whether it was one.
    pub fn clear(&mut self, code: Code) -> bool {
        self.0.remove(&code).is_some()
    }

    /// Whether this problem stands.
    #[must_use]
    pub fn has(&self, code: Code) -> bool {
        self.0.contains_key(&code)
    }

    /// All of them.
    pub fn iter(&self) -> impl Iterator<Item = Problem> {
        self.0.iter().map(|(code, (since, text))| Problem {
            code: code.as_str().to_owned(),
            since: *since,
            text: text.clone(),
        })
    }
}

/// The time as it is told: nobody reads more than seconds.
#[must_use]
pub fn now() -> Timestamp {
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
