//! The maps. Sizes are defaults that userspace overrides; names are a contract with it.

use aya_ebpf::{
    btf_maps::{Array, ArrayOfMaps, HashMap, LpmTrie, LruHashMap, PerCpuArray, Queue, RingBuf},
    macros::btf_map,
};

use crate::{
    abi::{
        Active, COUNTER_ELEMENTS, Client, ClientKey, Counter, EdgeKey, Flow, FlowKey, FragmentKey,
        FragmentVerdict, GATEWAY_WORDS, GROUPS, Glob, Host, Info, KEPT_SLOTS, KeptOctets, LimitSet,
        Limits, NameNode, OwnKey, Pending, PendingKey, RULES, RuleCounter, Settings, Stream,
        StreamRead, V4, V6, ZONE_ELEMENTS, ZoneKey,
    },
    scratch::Scratch,
};

/// Elements of a policy's inner maps: only a template, each policy brings its own.
const INNER: usize = 1024;
/// Values of inner maps are arrays to BTF, never structs: Linux 6.1 looks for timers in structs,
/// and takes no other map in place of one where it looked. Those of a policy have no BTF.
type ClientOctets = [u8; size_of::<Client>()];
type NodeOctets = [u8; size_of::<NameNode>()];
type GlobOctets = [u8; size_of::<Glob>()];
const PORT_ELEMENTS: usize = crate::abi::PORTS as usize;

#[btf_map]
pub static ACTIVE: Array<Active, 1> = Array::new();
#[btf_map]
pub static ZONES: HashMap<ZoneKey, u32, 1024> = HashMap::new();
/// By interface, the zone of what has no tag, and one more; 0 if only `ZONES` knows.
#[btf_map]
pub static UNTAGGED: Array<u32, { crate::abi::UNTAGGED }> = Array::new();
#[btf_map]
pub static OWN_ADDRESSES: HashMap<V6, u32, 4096> = HashMap::new();
/// The same addresses by the devices that they are on.
#[btf_map]
pub static OWN_ON_DEVICE: HashMap<OwnKey, u32, 4096> = HashMap::new();
/// By zone, the device that the stack has its packets from; 0 if there is none.
#[btf_map]
pub static ZONE_DEVICES: Array<u32, ZONE_ELEMENTS> = Array::new();
#[btf_map]
pub static GATEWAY_PORTS: Array<u64, { GATEWAY_WORDS as usize }> = Array::new();
#[btf_map]
pub static SETTINGS: Array<Settings, 2> = Array::new();
#[btf_map]
pub static RULE_INFO: Array<Info, RULES> = Array::new();
#[btf_map]
pub static GROUP_INFO: Array<Info, GROUPS> = Array::new();

#[btf_map]
pub static CLIENTS4: ArrayOfMaps<LpmTrie<ClientKey<V4>, ClientOctets, INNER>, 2> =
    ArrayOfMaps::new();
#[btf_map]
pub static CLIENTS6: ArrayOfMaps<LpmTrie<ClientKey<V6>, ClientOctets, INNER>, 2> =
    ArrayOfMaps::new();
#[btf_map]
pub static NETS4: ArrayOfMaps<LpmTrie<V4, u64, INNER>, 2> = ArrayOfMaps::new();
#[btf_map]
pub static NETS6: ArrayOfMaps<LpmTrie<V6, u64, INNER>, 2> = ArrayOfMaps::new();
#[btf_map]
pub static ANSWERS4: ArrayOfMaps<LpmTrie<V4, u32, INNER>, 2> = ArrayOfMaps::new();
#[btf_map]
pub static ANSWERS6: ArrayOfMaps<LpmTrie<V6, u32, INNER>, 2> = ArrayOfMaps::new();
#[btf_map]
pub static PORTS: ArrayOfMaps<Array<u64, PORT_ELEMENTS>, 2> = ArrayOfMaps::new();
#[btf_map]
pub static EDGES: ArrayOfMaps<HashMap<EdgeKey, NodeOctets, INNER>, 2> = ArrayOfMaps::new();
#[btf_map]
pub static GLOBS: ArrayOfMaps<HashMap<u32, GlobOctets, INNER>, 2> = ArrayOfMaps::new();
#[btf_map]
pub static SERVERS: ArrayOfMaps<HashMap<V6, u32, INNER>, 2> = ArrayOfMaps::new();

#[btf_map]
pub static HOSTS4: HashMap<V4, Host, 65536> = HashMap::new();
#[btf_map]
pub static HOSTS6: HashMap<V6, Host, 65536> = HashMap::new();
/// Learned addresses from the oldest on: where to look for an expired one when there is no room.
#[btf_map]
pub static HOSTS_ORDER4: Queue<V4, 65536> = Queue::new();
#[btf_map]
pub static HOSTS_ORDER6: Queue<V6, 65536> = Queue::new();
#[btf_map]
pub static FLOWS4: LruHashMap<FlowKey<V4>, Flow, 65536> = LruHashMap::new();
#[btf_map]
pub static FLOWS6: LruHashMap<FlowKey<V6>, Flow, 65536> = LruHashMap::new();
/// Flows of IPv4 that are not answered yet.
#[btf_map]
pub static NEW_FLOWS4: LruHashMap<FlowKey<V4>, Flow, 8192> = LruHashMap::new();
/// Flows of IPv6 that are not answered yet.
#[btf_map]
pub static NEW_FLOWS6: LruHashMap<FlowKey<V6>, Flow, 8192> = LruHashMap::new();
#[btf_map]
pub static FRAGMENTS: LruHashMap<FragmentKey, FragmentVerdict, 8192> = LruHashMap::new();
#[btf_map]
pub static DNS_PENDING: LruHashMap<PendingKey, Pending, 8192> = LruHashMap::new();
#[btf_map]
pub static STREAMS: LruHashMap<FlowKey<V6>, Stream, 4096> = LruHashMap::new();
#[btf_map]
pub static STREAMS_READ: LruHashMap<FlowKey<V6>, StreamRead, 1024> = LruHashMap::new();
#[btf_map]
pub static KEPT_OCTETS: Array<KeptOctets, { KEPT_SLOTS as usize }> = Array::new();

#[btf_map]
pub static CLIENT_LIMITS: Array<LimitSet, 4096> = Array::new();
#[btf_map]
pub static ZONE_LIMITS: Array<Limits, ZONE_ELEMENTS> = Array::new();

#[btf_map]
pub static COUNTERS: PerCpuArray<Counter, COUNTER_ELEMENTS> = PerCpuArray::new();
#[btf_map]
pub static RULE_COUNTERS: PerCpuArray<RuleCounter, RULES> = PerCpuArray::new();
#[btf_map]
pub static EVENTS: RingBuf<u8, { 1 << 20 }> = RingBuf::new();

/// What a CPU may do so often in a second: until when its due was added, and how much is left.
#[repr(C)]
pub struct Allowance {
    pub until: u64,
    pub left: u64,
}

/// Index in `SCRATCH_ALLOWANCE` of the allowance for reports of denials.
pub const REPORTS: u32 = 0;
/// Index in `SCRATCH_ALLOWANCE` of the allowance for answers to denied packets.
pub const REPLIES: u32 = 1;
/// Index in `SCRATCH_ALLOWANCE` of the allowance for reports of flows: whoever opens many takes
/// nothing from the reports of denials.
pub const FLOW_REPORTS: u32 = 2;

/// A time, and the system's tick at which it was asked for.
#[repr(C)]
pub struct Tick {
    pub jiffies: u64,
    pub time: u64,
}

#[btf_map]
pub static SCRATCH_TICK: Array<Tick, 1> = Array::new();
#[btf_map]
pub static SCRATCH_ALLOWANCE: PerCpuArray<Allowance, 3> = PerCpuArray::new();
#[btf_map]
pub static SCRATCH_XDP: PerCpuArray<Scratch, 1> = PerCpuArray::new();
#[btf_map]
pub static SCRATCH_TC: PerCpuArray<Scratch, 1> = PerCpuArray::new();
#[btf_map]
pub static SCRATCH_TC_INGRESS: PerCpuArray<Scratch, 1> = PerCpuArray::new();
/// The mark of the answer that a CPU sends back at this moment; 0 if it sends none.
#[btf_map]
pub static SCRATCH_TICKET: PerCpuArray<u32, 1> = PerCpuArray::new();
#[btf_map]
pub static SCRATCH_EXPLAIN: PerCpuArray<Scratch, 1> = PerCpuArray::new();
