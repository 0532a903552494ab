//! Remembers the interfaces that were judged, and finds those that the configuration names no more although
//! it still names what they were called: another interface has their name, or none has.
//!
//! The kernel knows them by index. Most keep it when they are renamed, and when they leave their namespace
//! and return; what is held back by its index is so from its first packet on.

use std::collections::{BTreeMap, BTreeSet};

use super::{rules::GuardRules, table};
use crate::{
    config::Zone,
    system::{Interface, netlink::Snapshot},
};

/// Interfaces that are away and remembered, at most: the last that have gone.
const AWAY: usize = 64;

/// Interfaces that were judged, by index, and what the configuration called them.
#[derive(Debug, Default)]
pub(crate) struct Strays {
    judged: BTreeMap<u32, Option<String>>,
    zones: Vec<Zone>,
}

impl Strays {
    /// Returns what the table of an earlier daemon remembers, under its zones.
    #[must_use]
    pub(crate) fn remembered(zones: Vec<Zone>, snapshot: &Snapshot) -> Self {
        let indices = table::indices(snapshot).into_iter();
        Self { judged: indices.map(|index| (index, None)).collect(), zones }
    }

    /// Notes which interfaces are judged now, and returns the indices of those that were and are not the
    /// configuration's any more. An interface whose zone has left the configuration is forgotten.
    pub(crate) fn observe(
        &mut self,
        zones: &[Zone],
        snapshot: &Snapshot,
        is_judged: impl Fn(&Interface) -> bool,
    ) -> BTreeSet<u32> {
        let now = GuardRules::devices(zones, snapshot);
        if self.zones != zones {
            let before = GuardRules::devices(&self.zones, snapshot);
            self.judged.retain(|index, _| now.contains_key(index) || !before.contains_key(index));
            self.zones = zones.to_vec();
        }
        for (index, zone) in &now {
            if snapshot.interface(&zone.interface).is_some_and(&is_judged) {
                self.judged.insert(*index, Some(zone.to_string()));
            }
        }
        let mut strays: BTreeSet<u32> =
            self.judged.keys().filter(|index| !now.contains_key(index)).copied().collect();
        let away: Vec<u32> =
            strays.iter().filter(|index| snapshot.by_index(**index).is_none()).copied().collect();
        // Indices grow.
        for index in away.iter().take(away.len().saturating_sub(AWAY)) {
            self.judged.remove(index);
            strays.remove(index);
        }
        strays
    }

    /// Says of each stray that is there what becomes of its packets, and the remedy.
    #[must_use]
    pub(crate) fn told(&self, strays: &BTreeSet<u32>, snapshot: &Snapshot, closed: bool) -> String {
        let lines = strays.iter().filter_map(|index| {
            let name = snapshot.by_index(*index)?.present_name();
            let was = self.judged.get(index)?.as_deref();
            Some(fate(name, was, closed))
        });
        lines.collect::<Vec<_>>().join("\n")
    }
}

/// Returns a line for each interface that the table holds back.
#[must_use]
pub(crate) fn held(snapshot: &Snapshot) -> Vec<String> {
    let held = table::held(snapshot).into_iter();
    let there = held.filter_map(|index| snapshot.by_index(index));
    there.map(|interface| fate(interface.present_name(), None, true)).collect()
}

fn fate(name: &str, was: Option<&str>, closed: bool) -> String {
    let was = was.map_or_else(String::new, |was| format!(" as {was}"));
    let fate = if closed {
        "nothing is forwarded from or to it (boot: closed)"
    } else {
        "what comes in by it passes UNJUDGED"
    };
    format!(
        "{name} was judged{was} and is the configuration's no more: {fate}; expected {name} in \
         `interfaces`, its old name back, or `intune-filter detach` and a new start"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn snapshot(interfaces: &[(&str, u32)]) -> Snapshot {
        Snapshot {
            interfaces: interfaces.iter().map(|(name, at)| Interface::bare(name, *at)).collect(),
            vlan_devices: [(9, (3, 20))].into(),
            ..Snapshot::default()
        }
    }

    fn zone(interface: &str, vlan: u16) -> Zone {
        Zone { number: 1, interface: interface.into(), vlan, source_check: Default::default() }
    }

    #[test]
    fn what_was_judged_and_has_another_name_is_a_stray_until_somebody_acts() {
        let mut strays = Strays::default();
        let zones = [zone("eth1", 0)];
        let mut of = |interfaces: &[(&str, u32)], judged: bool| {
            strays
                .observe(&zones, &snapshot(interfaces), |_| judged)
                .into_iter()
                .collect::<Vec<_>>()
        };
        assert_eq!(of(&[("eth1", 3)], false), [0; 0]);
        assert_eq!(of(&[("other", 3)], false), [0; 0], "it was never judged");
        assert_eq!(of(&[("eth1", 3)], true), [0; 0]);
        assert_eq!(of(&[("lan9", 3), ("eth1", 7)], true), [3], "another has the name");
        assert_eq!(of(&[("eth1", 7)], true), [3], "it is away");
        assert_eq!(of(&[("lan9", 3), ("other", 7)], true), [3, 7], "none has the name");
        assert_eq!(of(&[("eth1", 3), ("other", 7)], true), [7], "its old name");
        let told = strays.told(&[7].into(), &snapshot(&[("other", 7)]), true);
        assert!(told.starts_with("other was judged as eth1 and is"), "{told}");
        assert!(told.contains("nothing is forwarded") && told.contains("other in `interfaces`"));
        let told = strays.told(&[7].into(), &snapshot(&[("other", 7)]), false);
        assert!(told.contains("UNJUDGED"), "{told}");
        assert_eq!(strays.told(&[7].into(), &snapshot(&[]), true), "");
    }

    #[test]
    fn what_leaves_the_configuration_is_no_stray() {
        let mut strays = Strays::default();
        let both = [zone("eth1", 0), zone("eth1", 20), zone("eth2", 0)];
        let there = snapshot(&[("eth1", 3), ("guests", 9), ("eth2", 4)]);
        assert!(strays.observe(&both, &there, |_| true).is_empty());
        let swapped = snapshot(&[("lan9", 3), ("guests", 9), ("eth2", 4), ("eth1", 7)]);
        // A VLAN's device is one by the interface below it.
        let found = strays.observe(&both, &swapped, |_| true);
        assert_eq!(found.into_iter().collect::<Vec<_>>(), [3, 9]);
        let found = strays.observe(&[zone("eth1", 0)], &swapped, |_| true);
        assert_eq!(found.into_iter().collect::<Vec<_>>(), [3, 9], "eth2 was taken out");
        let found = strays.observe(&[zone("eth1", 0), zone("lan9", 0)], &swapped, |_| true);
        assert_eq!(found.into_iter().collect::<Vec<_>>(), [9], "lan9 is named");
    }

    #[test]
    fn few_that_are_away_are_remembered() {
        let mut strays = Strays::default();
        for index in 1..=200 {
            strays.observe(&[zone("eth1", 0)], &snapshot(&[("eth1", index)]), |_| true);
        }
        assert_eq!(strays.judged.len(), AWAY + 1);
        assert!(strays.judged.contains_key(&199) && !strays.judged.contains_key(&100));
    }
}
