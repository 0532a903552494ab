//! Table of the object's maps: kind, lifetime, types and size of each.
//!
//! The statics of the object, the sizes that the configuration sets, the sum of memory, the pins
//! and the fingerprint of the ABI derive from the table.

/// Number of slots of `STAGES_XDP` and of `STAGES_TC`.
pub const STAGE_SLOTS: u32 = 4;

/// Slot of the stage that answers a denied packet.
pub const STAGE_REPLY: u32 = 0;

/// Calls a macro with the rows of the table: name, kind and [`Scope`], key and value type, number
/// of elements, and the key under `maps` of the configuration that sets the number. For a map of
/// scope `Policy` other than an array, the number is a template: each policy brings inner maps of
/// its own size.
macro_rules! table {
    ($rows:ident) => {
        $rows! {
            HOSTS4: Hash Pinned, V4 => Host, 65536, set by "hosts4";
            HOSTS6: Hash Pinned, V6 => Host, 65536, set by "hosts6";
            HOST_COUNTS: Array Pinned, u32 => u64, crate::abi::HOST_COUNTS;
            HOSTS_ORDER4: Queue Pinned, () => V4, 65536, set by "hosts4";
            HOSTS_ORDER6: Queue Pinned, () => V6, 65536, set by "hosts6";
            FLOWS4: LruHash Pinned, FlowKey<V4> => Flow, 65536, set by "flows4";
            FLOWS6: LruHash Pinned, FlowKey<V6> => Flow, 65536, set by "flows6";
            NEW_FLOWS4: LruHash Pinned, FlowKey<V4> => Flow, 8192, set by "new_flows";
            NEW_FLOWS6: LruHash Pinned, FlowKey<V6> => Flow, 8192, set by "new_flows";
            DNS_PENDING: LruHash Pinned, PendingKey => Pending, 8192, set by "pending";
            STREAMS: LruHash Pinned, FlowKey<V6> => Stream, 4096;
            STREAMS_READ: LruHash Pinned, FlowKey<V6> => StreamRead, 1024;
            KEPT_OCTETS: Array Pinned, u32 => KeptOctets, crate::abi::KEPT_SLOTS;
            CLIENT_LIMITS: Array Pinned, u32 => LimitSet, 4096, set by "clients";
            ZONE_LIMITS: Array Pinned, u32 => Limits,
                crate::abi::ZONE_ELEMENTS as u32 * crate::abi::LIMIT_SHARES;
            FRAGMENTS: LruHash Pinned, FragmentKey => FragmentVerdict, 8192, set by "fragments";
            EVENTS: RingBuf Pinned, () => u8, 1 << 20, set by "events";
            CLIENTS4: LpmTrie Policy, ClientKey<V4> => Client, 1024;
            CLIENTS6: LpmTrie Policy, ClientKey<V6> => Client, 1024;
            NETS4: LpmTrie Policy, V4 => RuleMask, 1024;
            NETS6: LpmTrie Policy, V6 => RuleMask, 1024;
            ANSWER_ACL4: LpmTrie Policy, V4 => u32, 1024;
            ANSWER_ACL6: LpmTrie Policy, V6 => u32, 1024;
            PORTS: Array Policy, u32 => u64, crate::abi::PORT_WORDS;
            EDGES: Hash Policy, EdgeKey => NameNode, 1024;
            GLOBS: Hash Policy, u32 => Glob, 1024;
            SERVERS: Hash Policy, V6 => u32, 1024;
            GROUP_MACS: Hash Policy, MacKey => u32, 1024;
            ACTIVE: Array Pinned, u32 => Active, 1;
            SETTINGS: Array Pinned, u32 => Settings, 2;
            RULE_TITLES: Array Pinned, u32 => Title, crate::abi::RULES as u32;
            GROUP_TITLES: Array Pinned, u32 => Title, crate::abi::GROUPS as u32;
            ZONES: Hash Pinned, ZoneKey => u32, 1024;
            IFINDEX_ZONE: Array Pinned, u32 => u32, crate::abi::IFINDEX_ZONE as u32;
            OWN_ADDRESSES: Hash Pinned, V6 => u32, 4096;
            OWN_ON_DEVICE: Hash Pinned, OwnKey => u32, 4096;
            RESOLVER_DEVICES: Hash Pinned, ResolverDevice => u32, 512;
            ZONE_DEVICES: Array Pinned, u32 => u32, crate::abi::ZONE_ELEMENTS as u32;
            DEVICE_ZONES: Hash Pinned, DeviceZone => u32, 512;
            PORT_CLASSES: Array Pinned, u32 => RuleMask, 2 * crate::abi::PORT_CLASSES;
            SOURCE_CHECKS: Array Pinned, u32 => u32, crate::abi::SOURCE_CHECK_ELEMENTS;
            GATEWAY_PORTS: Array Pinned, u32 => u64, crate::abi::GATEWAY_WORDS;
            DNS_EVENTS: RingBuf Pinned, () => u8, 1 << 18, set by "events";
            COUNTERS: PerCpuArray Pinned, u32 => Counter, crate::abi::COUNTER_ELEMENTS as u32;
            RULE_COUNTERS: PerCpuArray Pinned, u32 => RuleCounter, crate::abi::RULES as u32;
            GROUP_COUNTERS: PerCpuHash Pinned, u32 => GroupCounter, crate::abi::GROUP_COUNTERS;
            STAGES_XDP: ProgramArray Stages, u32 => u32, crate::maps::STAGE_SLOTS;
            STAGES_TC: ProgramArray Stages, u32 => u32, crate::maps::STAGE_SLOTS;
            SCRATCH_TICK: Array Scratch, u32 => Tick, 1;
            SCRATCH_ALLOWANCE: PerCpuArray Scratch, u32 => Allowance, crate::scratch::ALLOWANCES;
            SCRATCH_TOLD: Array Scratch, u32 => u64, crate::scratch::TOLD;
            SCRATCH_REPLY_MARK: PerCpuArray Scratch, u32 => u32, 1;
            SCRATCH_XDP: PerCpuArray Scratch, u32 => Scratch, 1;
            SCRATCH_TC: PerCpuArray Scratch, u32 => Scratch, 1;
            SCRATCH_TC_INGRESS: PerCpuArray Scratch, u32 => Scratch, 1;
            SCRATCH_EXPLAIN: PerCpuArray Scratch, u32 => Scratch, 1;
        }
    };
}
#[cfg(all(target_arch = "bpf", feature = "bpf"))]
pub(crate) use table;

/// Hash map that is looked up and written to by its key, and no more; a type of [`keyed`].
pub trait KeyedMap: Sized {
    /// Its key.
    type Key;
    /// Its value.
    type Value: Copy;

    /// A copy of the value under a key. Where the kernel may reuse an element meanwhile, its words are
    /// of one value and another: whoever reads it has to see that.
    #[inline(always)]
    fn get<W: KeyedAccess<Self>>(datapath: W, key: &Self::Key) -> Option<Self::Value> {
        datapath.copy_of(key)
    }

    /// Writes the value under a key, which may fail for want of room.
    #[inline(always)]
    fn put<W: KeyedAccess<Self>>(datapath: W, key: &Self::Key, value: &Self::Value) {
        datapath.write(key, value);
    }
}

/// Access to a [`KeyedMap`]. The kernel has it to each.
pub trait KeyedAccess<M: KeyedMap>: Copy {
    /// As [`KeyedMap::get`].
    fn copy_of(self, key: &M::Key) -> Option<M::Value>;
    /// As [`KeyedMap::put`].
    fn write(self, key: &M::Key, value: &M::Value);
}

/// Pinned hash maps as types.
#[expect(non_camel_case_types, reason = "maps have the names of statics")]
pub mod keyed {
    use super::KeyedMap;
    use crate::abi::*;

    macro_rules! types {
        ($(
            $name:ident: $kind:ident $scope:ident, $key:ty => $value:ident, $entries:expr
            $(, set by $setting:literal)?;
        )+) => {
            $(keyed!($kind $scope $name, $key, $value);)+
        };
    }

    macro_rules! keyed {
        (Hash Pinned $name:ident, $key:ty, $value:ident) => {
            keyed!(LruHash Pinned $name, $key, $value);
        };
        (LruHash Pinned $name:ident, $key:ty, $value:ident) => {
            #[doc = concat!("Map `", stringify!($name), "`.")]
            #[derive(Clone, Copy, Debug)]
            pub struct $name;

            impl KeyedMap for $name {
                type Key = $key;
                type Value = $value;
            }
        };
        ($kind:ident $scope:ident $name:ident, $key:ty, $value:ident) => {};
    }

    table!(types);
}

#[cfg(not(target_arch = "bpf"))]
pub use rows::{MAPS, MapKind, MapRow, Scope};

#[cfg(not(target_arch = "bpf"))]
mod rows {
    use crate::{
        abi::{
            Active, Client, ClientKey, Counter, DeviceZone, EdgeKey, Flow, FlowKey, FragmentKey,
            FragmentVerdict, Glob, GroupCounter, Host, KeptOctets, LimitSet, Limits, MacKey,
            NameNode, OwnKey, Pending, PendingKey, ResolverDevice, RuleCounter, RuleMask, Settings,
            Stream, StreamRead, Title, V4, V6, ZoneKey,
        },
        scratch::{Allowance, Scratch, Tick},
    };

    /// Kind of a map; for a map of scope [`Scope::Policy`], kind of its inner maps.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub enum MapKind {
        /// `BPF_MAP_TYPE_ARRAY`.
        Array,
        /// `BPF_MAP_TYPE_HASH`.
        Hash,
        /// `BPF_MAP_TYPE_LRU_HASH`.
        LruHash,
        /// `BPF_MAP_TYPE_LPM_TRIE`.
        LpmTrie,
        /// `BPF_MAP_TYPE_PERCPU_ARRAY`.
        PerCpuArray,
        /// `BPF_MAP_TYPE_PERCPU_HASH` whose elements are made one by one.
        PerCpuHash,
        /// `BPF_MAP_TYPE_PROG_ARRAY`.
        ProgramArray,
        /// `BPF_MAP_TYPE_QUEUE`.
        Queue,
        /// `BPF_MAP_TYPE_RINGBUF`.
        RingBuf,
    }

    /// Lifetime of a map.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub enum Scope {
        /// Pinned, and adopted by the next process.
        Pinned,
        /// Pinned array of two maps, one per slot: each policy brings its own.
        Policy,
        /// Pinned beside one version of the programs, whose stages the map holds.
        Stages,
        /// Working memory of the programs, freed with them.
        Scratch,
    }

    /// Row of the table.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub struct MapRow {
        /// Name of the map.
        pub name: &'static str,
        /// Kind of the map.
        pub kind: MapKind,
        /// Lifetime of the map.
        pub scope: Scope,
        /// Octets of a key, without the prefix length of an LPM trie.
        pub key: u32,
        /// Octets of a value.
        pub value: u32,
        /// Types of key and value.
        pub types: &'static str,
        /// Default number of elements; for a ring buffer, octets.
        pub entries: u32,
        /// Key under `maps` of the configuration that sets the number of elements.
        pub setting: Option<&'static str>,
    }

    macro_rules! rows {
        ($(
            $name:ident: $kind:ident $scope:ident, $key:ty => $value:ident, $entries:expr
            $(, set by $setting:literal)?;
        )+) => {
            /// Every map of the object except the ring buffer of its log messages.
            pub const MAPS: &[MapRow] = &[$(MapRow {
                name: stringify!($name),
                kind: MapKind::$kind,
                scope: Scope::$scope,
                key: size_of::<$key>() as u32,
                value: size_of::<$value>() as u32,
                types: concat!(stringify!($key), " => ", stringify!($value)),
                entries: $entries,
                setting: setting!($($setting)?),
            },)+];
        };
    }

    macro_rules! setting {
        () => {
            None
        };
        ($setting:literal) => {
            Some($setting)
        };
    }

    table!(rows);
}
