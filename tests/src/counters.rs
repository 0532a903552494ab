//! Packets by reason, as the filter counts them, and what has been counted in between.

use std::{collections::BTreeMap, fmt};

use intune_filter_ebpf::abi::Counted;

/// Packets by reason.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Counters(BTreeMap<String, u64>);

impl fmt::Display for Counters {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_empty() {
            return f.write_str("nothing");
        }
        let counts = self.0.iter().map(|(reason, count)| format!("{count} {reason}"));
        f.write_str(&counts.collect::<Vec<_>>().join(", "))
    }
}

impl FromIterator<(String, u64)> for Counters {
    fn from_iter<I: IntoIterator<Item = (String, u64)>>(counts: I) -> Self {
        Self(counts.into_iter().collect())
    }
}

impl Counters {
    /// Adds packets for this reason.
    pub fn add(&mut self, reason: &str, packets: u64) {
        *self.0.entry(reason.to_owned()).or_default() += packets;
    }

    /// Packets for this reason.
    #[must_use]
    pub fn get(&self, reason: &str) -> u64 {
        self.0.get(reason).copied().unwrap_or(0)
    }

    /// Counts since `earlier`, without zeros.
    #[must_use]
    pub fn since(&self, earlier: &Self) -> Self {
        let grown = |(reason, count): (&String, &u64)| {
            let more = count.saturating_sub(earlier.get(reason));
            (more > 0).then(|| (reason.clone(), more))
        };
        Self(self.0.iter().filter_map(grown).collect())
    }

    /// Whether nothing was counted.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether the reasons are those of `others`, with at least as many packets each.
    #[must_use]
    pub fn covers(&self, others: &Self) -> bool {
        self.0.keys().eq(others.0.keys())
            && others.0.iter().all(|(reason, packets)| self.get(reason) >= *packets)
    }

    /// The reasons to deny among them.
    #[must_use]
    pub fn denials(&self) -> Self {
        let denies = |text: &str| {
            let known = Counted::all().find(|counted| counted.as_str() == text);
            known.is_none_or(Counted::denies)
        };
        Self(self.0.iter().filter(|(r, _)| denies(r)).map(|(r, n)| (r.clone(), *n)).collect())
    }
}
