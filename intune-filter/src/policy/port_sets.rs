//! Computes with sets of ports, so that ranges compare however they are written.

use crate::ports::PortRange;

/// Set of ports, as sorted ranges that neither touch nor overlap.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct PortSet(Vec<(u16, u16)>);

impl PortSet {
    /// Returns the ports of ranges.
    pub(super) fn of(ranges: &[PortRange]) -> Self {
        Self::merged(ranges.iter().map(|range| (range.first(), range.last())).collect())
    }

    fn merged(mut ranges: Vec<(u16, u16)>) -> Self {
        ranges.sort_unstable();
        let mut merged: Vec<(u16, u16)> = Vec::new();
        for (first, last) in ranges {
            match merged.last_mut() {
                Some(before) if u32::from(first) <= u32::from(before.1) + 1 => {
                    before.1 = before.1.max(last);
                }
                _ => merged.push((first, last)),
            }
        }
        Self(merged)
    }

    /// Adds the ports of another set.
    pub(super) fn add(&mut self, other: &Self) {
        let both = self.0.iter().chain(&other.0).copied().collect();
        *self = Self::merged(both);
    }

    /// Returns the ports that `other` does not contain.
    pub(super) fn without(&self, other: &Self) -> Self {
        let mut left = self.0.clone();
        for (first, last) in &other.0 {
            let cut = |(from, to): (u16, u16)| {
                let below = (from < *first).then(|| (from, to.min(first.saturating_sub(1))));
                let above = (to > *last).then(|| (from.max(last.saturating_add(1)), to));
                below.into_iter().chain(above)
            };
            left = left.into_iter().flat_map(cut).collect();
        }
        Self(left)
    }

    /// Whether the set is empty.
    pub(super) const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Returns the ranges in the configuration's notation.
    pub(super) fn to_texts(&self) -> Vec<String> {
        let text = |(first, last): &(u16, u16)| match first == last {
            true => first.to_string(),
            false => format!("{first}-{last}"),
        };
        self.0.iter().map(text).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(ranges: &str) -> PortSet {
        let ranges: Vec<PortRange> =
            ranges.split_whitespace().map(|r| r.parse().unwrap()).collect();
        PortSet::of(&ranges)
    }

    #[test]
    fn ranges_are_merged_and_taken_from_each_other() {
        assert_eq!(set("81 80 443 443 82-90 85").to_texts(), ["80-90", "443"]);
        for (from, less, left) in [
            ("80-90", "85", "80-84 86-90"),
            ("80-90", "80", "81-90"),
            ("80-90", "90", "80-89"),
            ("80-90", "1-65535", ""),
            ("1-65535", "1 65535", "2-65534"),
            ("80 443", "81-442", "80 443"),
            ("80-90 100-110", "85-105", "80-84 106-110"),
            ("", "80", ""),
        ] {
            assert_eq!(set(from).without(&set(less)), set(left), "{from} less {less}");
        }
        let mut both = set("80");
        both.add(&set("81"));
        assert_eq!(both, set("80-81"));
        assert!(set("80").without(&both).is_empty());
    }
}
