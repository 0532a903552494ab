//! Writes, lists and removes the table by nft.

use std::collections::BTreeSet;

use anyhow::{Context as _, Result};
use serde_json::Value;

use super::rules::{DESTRUCTION, DEVICES, GuardRules, HELD, JUDGED, TABLE, removal};
use crate::system::{netlink::Snapshot, nft};

/// Kind of the table that was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Persistent,
    Plain,
}

/// Writes the table, as persistent if nft and the kernel support that.
pub(super) fn write(gate: &GuardRules) -> Result<Kind> {
    let refused = match nft::load(&gate.ruleset(true)) {
        Ok(()) => return Ok(Kind::Persistent),
        Err(error) => error,
    };
    let plain = match refused {
        nft::Error::Refused(_) => nft::load(&gate.ruleset(false)).map(|()| Kind::Plain),
        other => Err(other),
    };
    plain.context("`boot: closed` is NOT kept")
}

/// Removes the table. A missing table is no error.
///
/// # Errors
/// The table may still be there.
pub(crate) fn open() -> Result<()> {
    let removed = nft::load(&removal()).or_else(|error| match error {
        nft::Error::Refused(_) => nft::load(DESTRUCTION).map_err(|_| error),
        other => Err(other),
    });
    match removed {
        // Without nft there was no table.
        Ok(()) | Err(nft::Error::NotInstalled) => Ok(()),
        Err(error) => Err(error).with_context(|| {
            format!("cannot open the gate of `boot: closed` (`nft delete table inet {TABLE}` does)")
        }),
    }
}

/// Whether the table exists; `None` if that is unknown.
#[must_use]
pub(crate) fn presence() -> Option<bool> {
    match nft::ask_soon(&["list", "table", "inet", TABLE]) {
        Ok(_) => Some(true),
        Err(nft::Error::NotInstalled) => Some(false),
        Err(nft::Error::Refused(text)) if text.contains("No such file") => Some(false),
        Err(_) => None,
    }
}

pub(super) fn is_there() -> bool {
    presence() == Some(true)
}

/// Lists the table without its variable parts; `None` if there is none.
pub(super) fn listed() -> Option<Value> {
    let mut listing = listing()?;
    listing.get_mut("nftables")?.as_array_mut()?.retain(|object| object.get("metainfo").is_none());
    steady(&mut listing);
    Some(listing)
}

fn listing() -> Option<Value> {
    let text = nft::ask_soon(&["--json", "list", "table", "inet", TABLE]).ok()?;
    serde_json::from_str(&text).ok()
}

/// Returns the indices of the interfaces that the table holds back.
#[must_use]
pub(super) fn held(snapshot: &Snapshot) -> BTreeSet<u32> {
    listing().map(|listing| elements(&listing, &[HELD], snapshot)).unwrap_or_default()
}

/// Returns the indices of all interfaces that were judged, as far as the table knows; not those of a
/// bridge or bond, which passed for its members.
#[must_use]
pub(super) fn indices(snapshot: &Snapshot) -> BTreeSet<u32> {
    listing().map(|listing| elements(&listing, &[DEVICES, HELD], snapshot)).unwrap_or_default()
}

/// Returns the indices in sets of a listing, where nft shows names.
fn elements(listing: &Value, sets: &[&str], snapshot: &Snapshot) -> BTreeSet<u32> {
    let index = |element: &Value| match element.as_str() {
        Some(name) => snapshot
            .interfaces
            .iter()
            .find(|interface| interface.present_name() == name)
            .map(|interface| interface.index)
            .or_else(|| name.parse().ok()),
        None => element.as_u64().and_then(|index| index.try_into().ok()),
    };
    let objects = listing.get("nftables").and_then(Value::as_array).into_iter().flatten();
    let found = objects.filter_map(|object| object.get("set")).filter(|set| {
        set.get("name").and_then(Value::as_str).is_some_and(|name| sets.contains(&name))
    });
    let elements = found.filter_map(|set| set.get("elem")?.as_array()).flatten();
    elements.filter_map(index).collect()
}

/// Removes handles and counters, and the names by which nft shows interface indices.
fn steady(value: &mut Value) {
    match value {
        Value::Object(object) => {
            for key in ["handle", "packets", "bytes"] {
                object.remove(key);
            }
            if object
                .get("name")
                .is_some_and(|name| [JUDGED, DEVICES, HELD].iter().any(|set| name == set))
                && let Some(elements) = object.get_mut("elem")
            {
                *elements = elements.as_array().map_or(0, Vec::len).into();
            }
            object.values_mut().for_each(steady);
        }
        Value::Array(array) => array.iter_mut().for_each(steady),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::system::Interface;

    #[test]
    fn interfaces_of_a_set_are_numbers_or_names() {
        let mut snapshot = Snapshot {
            interfaces: vec![Interface::bare("lan9", 3), Interface::bare("eth1", 7)],
            ..Snapshot::default()
        };
        snapshot.keep_name("old", 3);
        let listing = json!({"nftables": [
            {"set": {"name": "judged", "elem": ["eth1", 12]}},
            {"set": {"name": "held", "elem": ["lan9", "gone", "15"]}},
            {"set": {"name": "clients", "elem": ["eth1"]}}
        ]});
        assert_eq!(elements(&listing, &[HELD], &snapshot), [3, 15].into());
        assert_eq!(elements(&listing, &[JUDGED, HELD], &snapshot), [3, 7, 12, 15].into());
    }

    #[test]
    fn what_changes_by_itself_is_left_out() {
        let listing = |packets: u64, interface: Value, drop: Value| {
            let mut listing = json!({"nftables": [
                {"set": {"name": "judged", "handle": packets, "elem": [interface]}},
                {"set": {"name": "clients", "elem": ["eth1"]}},
                {"rule": {"expr": [{"counter": {"packets": packets, "bytes": 9}}, drop]}}
            ]});
            steady(&mut listing);
            listing
        };
        let drop = json!({"drop": null});
        let before = listing(0, json!("eth1"), drop.clone());
        assert_eq!(before, listing(7, json!(3), drop));
        assert_ne!(before, listing(0, json!("eth1"), json!({"accept": null})));
        assert!(before.to_string().contains(r#""elem":["eth1"]"#), "{before}");
    }
}
