//! Estimates the kernel memory of the maps for `check`, from the kernel's element layouts and on
//! the safe side.

use intune_filter_ebpf::{
    abi::limit_sets,
    maps::{MAPS, MapKind, MapRow, Scope},
};

use super::Policy;
use crate::config::MapSizes;

/// Octets of `struct htab_elem` before its key.
const HASH_ELEMENT: u64 = 48;
/// Octets of `struct bucket`.
const HASH_BUCKET: u64 = 16;
/// Octets of `struct bpf_htab`, and a spare element for each of a few CPUs.
const HASH_HEADER: u64 = 2048;
/// Octets of `struct bpf_array`, or `struct bpf_queue_stack` with its spare element.
const ARRAY_HEADER: u64 = 512;
/// Octets of `struct bpf_ringbuf_map`, and of the pages before a ring's data.
const RING_HEADER: u64 = 20 << 10;
/// Octets of aya's ring buffer for log messages of the programs.
const LOGS: u64 = 128 << 10;
/// Octets of `struct lpm_trie_node` before its data, with the RCU head of kernels before 6.13.
const TRIE_NODE: u64 = 40;
/// Octets from which a map is listed, unless its size depends on the policy.
const TOLD: u64 = 1024;

/// Kernel memory of one map.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MapMemory {
    /// Name of the map.
    pub name: &'static str,
    /// Capacity, in elements; of a ring buffer, in octets.
    pub entries: u64,
    /// Size in octets; for a policy's map, of both slots.
    pub bytes: u64,
}

/// Returns the memory of every map but a few of some hundred octets. A policy's maps are counted
/// twice, since two sets exist while one replaces the other; per-CPU maps are counted for `cpus`
/// CPUs.
#[must_use]
pub fn map_memory(maps: &MapSizes, policy: &Policy, cpus: u32) -> Vec<MapMemory> {
    let logs = MapMemory { name: "AYA_LOGS", entries: LOGS, bytes: LOGS + RING_HEADER };
    MAPS.iter()
        .map(|row| (row.scope, memory_of(row, entries(row, maps, policy), cpus.into())))
        .filter(|(scope, map)| *scope == Scope::Policy || map.bytes >= TOLD)
        .map(|(_, map)| map)
        .chain([logs])
        .collect()
}

/// Returns the maps whose capacity the configuration sets, each with its capacity.
#[must_use]
pub fn map_sizes(maps: &MapSizes) -> Vec<(&'static str, u32)> {
    MAPS.iter().filter_map(|row| Some((row.name, set_by(maps, row)?))).collect()
}

/// Returns the capacity that a key below `maps` of the configuration sets.
fn set_by(maps: &MapSizes, row: &MapRow) -> Option<u32> {
    Some(match row.setting? {
        "hosts4" => maps.hosts4,
        "hosts6" => maps.hosts6,
        "flows4" => maps.flows4,
        "flows6" => maps.flows6,
        "new_flows" => maps.new_flows,
        "pending" => maps.pending,
        "clients" => limit_sets(maps.clients),
        "fragments" => maps.fragments,
        // A ring of their own, so that neither denied queries nor anything else crowd the other out.
        "events" if row.name == "DNS_EVENTS" => maps.events / 4,
        "events" => maps.events,
        _ => return None,
    })
}

fn entries(row: &MapRow, maps: &MapSizes, policy: &Policy) -> u64 {
    if (row.scope == Scope::Policy || row.kind == MapKind::PerCpuHash)
        && let Some(entries) = of_policy(row.name, policy)
    {
        return entries as u64;
    }
    set_by(maps, row).unwrap_or(row.entries).into()
}

/// Returns the number of elements of a policy's map, if the number depends on the policy.
fn of_policy(name: &str, policy: &Policy) -> Option<usize> {
    Some(match name {
        "CLIENTS4" => policy.clients4.len(),
        "CLIENTS6" => policy.clients6.len(),
        "NETS4" => policy.nets4.len(),
        "NETS6" => policy.nets6.len(),
        "ANSWER_ACL4" => policy.answers4.len(),
        "ANSWER_ACL6" => policy.answers6.len(),
        "EDGES" => policy.edges.len(),
        "GLOBS" => policy.globs.len(),
        "SERVERS" => policy.servers.len(),
        "GROUP_MACS" => policy.group_macs.len(),
        // One in each slot, and one for what was before.
        "GROUP_COUNTERS" => 4 * policy.groups.len(),
        _ => return None,
    })
}

fn memory_of(row: &MapRow, entries: u64, cpus: u64) -> MapMemory {
    let (key, value) = (u64::from(row.key), u64::from(row.value));
    let word = value.next_multiple_of(8);
    let (entries, bytes) = match row.kind {
        MapKind::Hash | MapKind::LruHash => {
            let entries = entries.max(1);
            let element = HASH_ELEMENT + key.next_multiple_of(8) + word;
            let buckets = entries.next_power_of_two() * HASH_BUCKET;
            (entries, HASH_HEADER + entries * element + buckets)
        }
        // A trie has an inner node wherever two prefixes diverge.
        MapKind::LpmTrie => (entries, 2 * entries * (TRIE_NODE + key + value).next_multiple_of(32)),
        MapKind::Array | MapKind::ProgramArray => (entries, ARRAY_HEADER + entries * word),
        MapKind::Queue => (entries, ARRAY_HEADER + entries * value),
        // An array element holds a pointer, which leads to a value per CPU.
        MapKind::PerCpuArray => (entries, ARRAY_HEADER + entries * (word * cpus + 8)),
        // Made one by one: a policy has as many as it needs. The buckets are there at once.
        MapKind::PerCpuHash => {
            let element = HASH_ELEMENT + key.next_multiple_of(8) + 8 + word * cpus;
            let buckets = u64::from(row.entries).next_power_of_two() * HASH_BUCKET;
            (entries, HASH_HEADER + entries * element + buckets)
        }
        MapKind::RingBuf => (entries, entries + RING_HEADER),
    };
    let slots = if row.scope == Scope::Policy { 2 } else { 1 };
    MapMemory { name: row.name, entries, bytes: slots * bytes }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        catalogue::Catalogue,
        config::Config,
        policy::{RuleBits, compile},
    };

    #[test]
    fn every_setting_and_every_policys_map_of_the_table_is_known() {
        let text = include_str!("../../../config/config.yaml");
        let config = Config::parse("config.yaml", text).expect("the default is valid");
        let policy = compile(&config, Catalogue::builtin(), &RuleBits::new()).expect("it compiles");
        for row in MAPS {
            if let Some(setting) = row.setting {
                assert!(set_by(&config.maps, row).is_some(), "{}: maps.{setting}", row.name);
            }
            // An array has the same number of elements under every policy.
            if row.scope == Scope::Policy && row.kind != MapKind::Array {
                assert!(of_policy(row.name, &policy).is_some(), "{}", row.name);
            }
        }
    }
}
