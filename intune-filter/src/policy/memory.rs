//! How much kernel memory the maps take, for `check`: an estimate from the kernel's element
//! layouts, on the safe side.

use intune_filter_ebpf::{
    abi::{
        COUNTER_ELEMENTS, Client, ClientKey, Counter, EdgeKey, Flow, FlowKey, FragmentKey,
        FragmentVerdict, GATEWAY_WORDS, GROUPS, Glob, Host, Info, KEPT_SLOTS, KeptOctets, LimitSet,
        Limits, NameNode, OwnKey, PORTS, Pending, PendingKey, RULES, RuleCounter, Stream,
        StreamRead, UNTAGGED, V4, V6, ZONE_ELEMENTS, ZoneKey, limit_sets,
    },
    scratch::Scratch,
};

use super::Policy;
use crate::config::Maps;

/// `struct htab_elem` before its key.
const HASH_ELEMENT: u64 = 48;
/// `struct bucket`.
const HASH_BUCKET: u64 = 16;
/// `struct bpf_htab`, and an element to spare for each of a few CPUs.
const HASH_HEADER: u64 = 2048;
/// `struct bpf_array`, and `struct bpf_queue_stack` with its element to spare.
const ARRAY_HEADER: u64 = 512;
/// `struct bpf_ringbuf_map` and the pages before a ring's data.
const RING_HEADER: u64 = 20 << 10;
/// Octets of the ring buffer of what the programs log, as aya makes it.
const LOGS: u64 = 128 << 10;
/// `struct lpm_trie_node` before its data, with the RCU head that kernels before 6.13 have.
const TRIE_NODE: u64 = 40;

/// The kernel memory of one map, or of one kind of map.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MapMemory {
    /// The map's name.
    pub name: &'static str,
    /// Its capacity.
    pub entries: u64,
    /// Octets.
    pub bytes: u64,
}

/// The memory of every map but a few of some hundred octets. Of a policy's maps there are two sets
/// while one replaces the other, and both are counted; per-CPU maps are counted for `cpus` of them.
#[must_use]
pub fn map_memory(maps: &Maps, policy: &Policy, cpus: u32) -> Vec<MapMemory> {
    let cpus = u64::from(cpus);
    let (k4, k6) = (size::<FlowKey<V4>>(), size::<FlowKey<V6>>());
    let flow = size::<Flow>();
    vec![
        hash("HOSTS4", maps.hosts4, size::<V4>(), size::<Host>()),
        hash("HOSTS6", maps.hosts6, size::<V6>(), size::<Host>()),
        array("HOSTS_ORDER4", maps.hosts4.into(), size::<V4>()),
        array("HOSTS_ORDER6", maps.hosts6.into(), size::<V6>()),
        hash("FLOWS4", maps.flows4, k4, flow),
        hash("FLOWS6", maps.flows6, k6, flow),
        hash("NEW_FLOWS4", maps.new_flows, k4, flow),
        hash("NEW_FLOWS6", maps.new_flows, k6, flow),
        hash("DNS_PENDING", maps.pending, size::<PendingKey>(), size::<Pending>()),
        hash("STREAMS", 4096, k6, size::<Stream>()),
        hash("STREAMS_READ", 1024, k6, size::<StreamRead>()),
        array("KEPT_OCTETS", u64::from(KEPT_SLOTS), size::<KeptOctets>()),
        array("CLIENT_LIMITS", limit_sets(maps.clients).into(), size::<LimitSet>()),
        array("ZONE_LIMITS", ZONE_ELEMENTS as u64, size::<Limits>()),
        hash("FRAGMENTS", maps.fragments, size::<FragmentKey>(), size::<FragmentVerdict>()),
        MapMemory {
            name: "EVENTS",
            entries: maps.events.into(),
            bytes: u64::from(maps.events) + RING_HEADER,
        },
        twice(trie("CLIENTS4", policy.clients4.len(), size::<ClientKey<V4>>(), size::<Client>())),
        twice(trie("CLIENTS6", policy.clients6.len(), size::<ClientKey<V6>>(), size::<Client>())),
        twice(trie("NETS4", policy.nets4.len(), size::<V4>(), 8)),
        twice(trie("NETS6", policy.nets6.len(), size::<V6>(), 8)),
        twice(trie("ANSWERS4", policy.answers4.len(), size::<V4>(), 4)),
        twice(trie("ANSWERS6", policy.answers6.len(), size::<V6>(), 4)),
        twice(array("PORTS", u64::from(PORTS), 8)),
        twice(hash("EDGES", count(policy.edges.len()), size::<EdgeKey>(), size::<NameNode>())),
        twice(hash("GLOBS", count(policy.globs.len()), 4, size::<Glob>())),
        twice(hash("SERVERS", count(policy.servers.len()), size::<V6>(), 4)),
        array("RULE_INFO", RULES as u64, size::<Info>()),
        array("GROUP_INFO", GROUPS as u64, size::<Info>()),
        MapMemory { name: "AYA_LOGS", entries: LOGS, bytes: LOGS + RING_HEADER },
        hash("ZONES", 1024, size::<ZoneKey>(), 4),
        // Elements of arrays begin at every eighth octet.
        array("UNTAGGED", UNTAGGED as u64, 8),
        hash("OWN_ADDRESSES", 4096, size::<V6>(), 4),
        hash("OWN_ON_DEVICE", 4096, size::<OwnKey>(), 4),
        array("ZONE_DEVICES", ZONE_ELEMENTS as u64, 8),
        array("GATEWAY_PORTS", GATEWAY_WORDS.into(), 8),
        per_cpu("COUNTERS", COUNTER_ELEMENTS as u64, size::<Counter>(), cpus),
        per_cpu("RULE_COUNTERS", RULES as u64, size::<RuleCounter>(), cpus),
        per_cpu("SCRATCH_XDP", 1, size::<Scratch>(), cpus),
        per_cpu("SCRATCH_TC", 1, size::<Scratch>(), cpus),
        per_cpu("SCRATCH_TC_INGRESS", 1, size::<Scratch>(), cpus),
        per_cpu("SCRATCH_EXPLAIN", 1, size::<Scratch>(), cpus),
    ]
}

const fn size<T>() -> u64 {
    size_of::<T>() as u64
}

fn count(entries: usize) -> u32 {
    u32::try_from(entries).unwrap_or(u32::MAX)
}

fn hash(name: &'static str, entries: u32, key: u64, value: u64) -> MapMemory {
    let entries = u64::from(entries.max(1));
    let element = HASH_ELEMENT + key.next_multiple_of(8) + value.next_multiple_of(8);
    let bytes = HASH_HEADER + entries * element + entries.next_power_of_two() * HASH_BUCKET;
    MapMemory { name, entries, bytes }
}

/// A trie has a node between where two others part.
fn trie(name: &'static str, entries: usize, key: u64, value: u64) -> MapMemory {
    let entries = entries as u64;
    let node = (TRIE_NODE + key + value).next_multiple_of(32);
    MapMemory { name, entries, bytes: 2 * entries * node }
}

const fn array(name: &'static str, entries: u64, value: u64) -> MapMemory {
    MapMemory { name, entries, bytes: ARRAY_HEADER + entries * value }
}

/// An array with a value for each CPU, and a pointer to them.
const fn per_cpu(name: &'static str, entries: u64, value: u64, cpus: u64) -> MapMemory {
    array(name, entries, value * cpus + 8)
}

const fn twice(map: MapMemory) -> MapMemory {
    MapMemory { bytes: 2 * map.bytes, ..map }
}
