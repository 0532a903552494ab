//! Growth of a daemon's holdings: those of settled moments early in its life, against those at the
//! end.
//!
//! Much of it comes and goes: a thread that writes a file, the threads of a pool, the socket of
//! whoever asks, the file that takes another one's place. Therefore what was held at *some* early
//! moment may be held for good, and only what is held at *every* late one has been left.

use std::collections::BTreeSet;

use super::leaks::{Counts, Holdings};

/// The most and the least of everything that was held at several moments.
#[derive(Clone, Debug, Default)]
pub struct Range {
    most: Holdings,
    least: Holdings,
    looks: usize,
}

impl Range {
    /// Adds a moment.
    pub fn add(&mut self, held: Holdings) {
        self.looks += 1;
        if self.looks == 1 {
            (self.most, self.least) = (held.clone(), held);
            return;
        }
        let Self { most, least, .. } = self;
        widen(&mut most.descriptors, &held.descriptors);
        widen(&mut most.threads, &held.threads);
        most.zombies = most.zombies.max(held.zombies);
        most.inner_maps = most.inner_maps.max(held.inner_maps);
        most.pins.extend(held.pins.iter().cloned());
        most.files.extend(held.files.iter().cloned());
        most.tables.extend(held.tables.iter().cloned());
        narrow(&mut least.descriptors, &held.descriptors);
        narrow(&mut least.threads, &held.threads);
        least.zombies = least.zombies.min(held.zombies);
        least.inner_maps = least.inner_maps.min(held.inner_maps);
        least.pins.retain(|pin| held.pins.contains(pin));
        least.files.retain(|file| held.files.contains(file));
        least.tables.retain(|table| held.tables.contains(table));
    }

    /// Number of moments.
    #[must_use]
    pub const fn looks(&self) -> usize {
        self.looks
    }

    /// The most that was held.
    #[must_use]
    pub const fn most(&self) -> &Holdings {
        &self.most
    }
}

fn widen(most: &mut Counts, held: &Counts) {
    for (kind, count) in held {
        let known = most.entry(kind.clone()).or_default();
        *known = (*known).max(*count);
    }
}

fn narrow(least: &mut Counts, held: &Counts) {
    least.retain(|kind, count| {
        *count = held.get(kind).map_or(0, |held| *count.min(&mut held.clone()));
        *count > 0
    });
}

/// Holdings of which there was more at every later moment than at any earlier one, and tables that
/// were always there and are gone: each with its check, in words.
#[must_use]
pub fn grown(before: &Range, after: &Range) -> Vec<(&'static str, String)> {
    let (most, least) = (&before.most, &after.least);
    let mut grown = Vec::new();
    for (check, earlier, later) in [
        ("descriptors", &most.descriptors, &least.descriptors),
        ("threads", &most.threads, &least.threads),
    ] {
        for (kind, count) in later {
            let known = earlier.get(kind).copied().unwrap_or(0);
            if *count > known {
                grown.push((check, format!("{kind}: {known} at most, then {count} at least")));
            }
        }
    }
    for (check, earlier, later) in
        [("zombies", 0, least.zombies), ("kernel objects", most.inner_maps, least.inner_maps)]
    {
        if later > earlier {
            grown.push((check, format!("{earlier} at most, then {later} at least")));
        }
    }
    grown.extend(more("pins", &most.pins, &least.pins));
    grown.extend(more("files", &most.files, &least.files));
    grown.extend(more("nftables", &most.tables, &least.tables));
    let gone: Vec<_> = before.least.tables.difference(&after.most.tables).collect();
    if !gone.is_empty() {
        grown.push(("nftables", format!("{gone:?} is gone")));
    }
    grown
}

fn more<T: Ord + std::fmt::Debug>(
    check: &'static str,
    earlier: &BTreeSet<T>,
    later: &BTreeSet<T>,
) -> Option<(&'static str, String)> {
    let new: Vec<_> = later.difference(earlier).collect();
    (!new.is_empty()).then(|| (check, format!("new and left: {new:?}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    const POOL: &str = "tokio-rt-worker";

    fn counts(of: &[(&str, usize)]) -> Counts {
        of.iter().map(|(kind, count)| ((*kind).to_owned(), *count)).collect()
    }

    fn usual() -> Holdings {
        Holdings {
            descriptors: counts(&[("socket", 2), ("pipe", 2)]),
            threads: counts(&[("intune-filter", 1)]),
            pins: ["maps/FLOWS4", "links/eth1-egress", "links/eth1-ingress"].map(Into::into).into(),
            files: ["state/names.json".into()].into(),
            tables: ["table inet intune_filter".to_owned()].into(),
            inner_maps: 20,
            ..Holdings::default()
        }
    }

    fn with_threads(of: &[(&str, usize)]) -> Holdings {
        let mut held = usual();
        widen(&mut held.threads, &counts(of));
        held
    }

    fn range(of: impl IntoIterator<Item = Holdings>) -> Range {
        let mut range = Range::default();
        of.into_iter().for_each(|held| range.add(held));
        range
    }

    fn checks(before: &Range, after: &Range) -> Vec<&'static str> {
        grown(before, after).into_iter().map(|(check, _)| check).collect()
    }

    #[test]
    fn what_has_grown_is_told_by_its_check_and_what_has_shrunk_is_not() {
        let before = range([usual()]);
        assert!(grown(&before, &range([usual(), usual()])).is_empty());
        let mut after = usual();
        after.descriptors = counts(&[("socket", 3)]);
        (after.threads, after.inner_maps, after.zombies) = (Counts::new(), 21, 1);
        after.pins.insert("links/100-ingress".into());
        after.files.insert("state/.names.json.1".into());
        after.tables = ["table inet left".to_owned()].into();
        let expected =
            ["descriptors", "zombies", "kernel objects", "pins", "files", "nftables", "nftables"];
        assert_eq!(checks(&before, &range([after])), expected);
    }

    #[test]
    fn a_thread_that_ends_is_no_leak() {
        let saving = || with_threads(&[("save names", 1)]);
        assert!(grown(&range([usual()]), &range([saving(), usual(), saving()])).is_empty());
        // Of a pool whose threads wait ten seconds for more to do.
        let pool = |count| with_threads(&[(POOL, count)]);
        let after = range([pool(3), pool(2), pool(1), usual()]);
        assert!(grown(&range([usual()]), &after).is_empty());
    }

    #[test]
    fn a_pool_with_a_bound_is_no_leak() {
        let early = [0, 2, 1, 4, 3].map(|count| with_threads(&[(POOL, count), ("read files", 1)]));
        let late = [4, 3, 4].map(|count| with_threads(&[(POOL, count), ("read files", 1)]));
        assert!(grown(&range(early), &range(late)).is_empty());
    }

    #[test]
    fn a_pool_that_grows_is_a_leak_whatever_comes_and_goes_meanwhile() {
        // A thread is left every minute, and each moment has up to two that end.
        let at =
            |minute: usize| with_threads(&[(POOL, 1 + minute % 3), ("read files", 1 + minute)]);
        let (before, after) = (range((0..4).map(at)), range((12..15).map(at)));
        let told = grown(&before, &after);
        let expected = "read files: 4 at most, then 13 at least".to_owned();
        assert_eq!(told, [("threads", expected)]);
    }

    #[test]
    fn a_leak_of_descriptors_or_files_is_found_among_those_that_come_and_go() {
        let at = |moment: usize| {
            let mut held = usual();
            held.descriptors = counts(&[("socket", 2 + moment % 4), ("/dev/null", moment / 2)]);
            held.files.extend((0..moment / 3).map(|n| format!("state/left-{n}").into()));
            held.files.insert(format!("state/.writing-{moment}").into());
            held
        };
        let after = range((20..24).map(at));
        assert_eq!(checks(&range((0..4).map(at)), &after), ["descriptors", "files"]);
    }

    /// The recorded one: the first look fell into a second in which the interface was deleted, and
    /// when all was over each question for the open flows had the pool's thread wait for ten seconds
    /// more.
    #[test]
    fn a_soak_that_blamed_the_filter_is_judged_right() {
        let mut away = usual();
        away.pins.retain(|pin| !pin.starts_with("links"));
        let asked = || with_threads(&[(POOL, 1)]);
        let as_it_was = grown(&range([away]), &range([asked()]));
        assert_eq!(
            as_it_was.iter().map(|(check, _)| *check).collect::<Vec<_>>(),
            ["threads", "pins"]
        );
        // It is no measure while the interface is away, and the pool is left alone for a while.
        assert!(grown(&range([usual()]), &range([asked(), asked(), usual()])).is_empty());
    }

    #[test]
    fn a_pin_that_was_there_while_nothing_was_settled_is_known_later() {
        let mut left = usual();
        left.pins.insert("links/eth9-ingress".into());
        assert_eq!(checks(&range([usual(), usual()]), &range([left.clone(), left])), ["pins"]);
    }
}
