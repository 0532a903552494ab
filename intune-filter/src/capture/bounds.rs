//! Bounds the memory of the tables that packets fill, as the kernel's maps are bounded.

use std::{cell::RefCell, collections::HashMap, hash::Hash};

use intune_filter_ebpf::{
    abi::{Flow, FlowKey, Host},
    host::Tables,
    verdict::lifetime,
};

/// Addresses at most, of which something is remembered.
pub(super) const ADDRESSES: usize = 1 << 16;

/// Entries of each table at most.
const ENTRIES: usize = 1 << 17;

/// Packets between two looks.
pub(super) const INTERVAL: u64 = 1 << 12;

/// Makes room in every table that is full: of flows and addresses the expired ones go first, then those
/// that were not used for longest; of the others all entries. Returns the number of entries that were
/// not expired.
pub(super) fn enforce(tables: &Tables) -> u64 {
    let now = tables.now.get();
    let mut lost = flows(&tables.flows4, now) + flows(&tables.flows6, now);
    lost += flows(&tables.new_flows4, now) + flows(&tables.new_flows6, now);
    lost += hosts(&tables.hosts4, now) + hosts(&tables.hosts6, now);
    lost += empty(&tables.pending) + empty(&tables.streams) + empty(&tables.streams_read);
    lost + empty(&tables.fragments) + empty(&tables.limits) + empty_at(&tables.kept, ENTRIES / 256)
}

fn flows<A: Copy + Eq + Hash>(table: &RefCell<HashMap<FlowKey<A>, Flow>>, now: u64) -> u64 {
    let mut table = table.borrow_mut();
    if table.len() < ENTRIES {
        return 0;
    }
    table.retain(|key, flow| {
        now.saturating_sub(flow.last_seen) <= lifetime(key.protocol, flow.flags)
    });
    older_half(&mut table, |flow| flow.last_seen)
}

fn hosts<A: Copy + Eq + Hash>(table: &RefCell<HashMap<A, Host>>, now: u64) -> u64 {
    let mut table = table.borrow_mut();
    if table.len() < ENTRIES {
        return 0;
    }
    table.retain(|_, host| host.expires > now);
    older_half(&mut table, |host| host.expires)
}

/// Removes the half with the lowest value, where more than three quarters are in use.
fn older_half<K: Copy + Eq + Hash, V>(table: &mut HashMap<K, V>, value: impl Fn(&V) -> u64) -> u64 {
    let before = table.len();
    if before < ENTRIES / 4 * 3 {
        return 0;
    }
    let mut values: Vec<u64> = table.values().map(&value).collect();
    let middle = values.len() / 2;
    let (_, median, _) = values.select_nth_unstable(middle);
    let median = *median;
    let mut room = before / 2;
    table.retain(|_, one| {
        let stays = value(one) > median || value(one) == median && room > 0;
        room = room.saturating_sub(usize::from(stays));
        stays
    });
    (before - table.len()) as u64
}

fn empty<K, V>(table: &RefCell<HashMap<K, V>>) -> u64 {
    empty_at(table, ENTRIES)
}

fn empty_at<K, V>(table: &RefCell<HashMap<K, V>>, most: usize) -> u64 {
    let mut table = table.borrow_mut();
    if table.len() < most {
        return 0;
    }
    let lost = table.len() as u64;
    table.clear();
    lost
}
