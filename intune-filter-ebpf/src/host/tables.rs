//! Tables of the host in place of the kernel's maps, and the verdicts over frames by them.

use core::cell::{Cell, RefCell};
use std::{
    collections::{HashMap, HashSet},
    vec::Vec,
};

use super::Trie;
use crate::{
    abi::{
        Active, AnswerEvent, Client, Counted, Counter, DeniedEvent, DeviceZone, EdgeKey, Flow,
        FlowEvent, FlowKey, FragmentKey, FragmentVerdict, Glob, GroupCounter, Host, KeptOctets,
        LimitKey, Limits, MacKey, NameNode, OwnKey, Pending, PendingKey, QueryEvent,
        ResolverDevice, RuleCounter, RuleMask, SegmentEvent, Settings, Stream, StreamRead, V4, V6,
        ZoneKey,
    },
    datapath::WorkingMemory as _,
    dns,
    maps::{KeyedAccess, KeyedMap, keyed},
    packet::{BarePacket, Packet},
    scratch::Scratch,
    verdict::{self, Arrival, Verdict},
};

/// Maps of one policy.
#[derive(Clone, Debug, Default)]
pub struct PolicyMaps {
    /// Content of `CLIENTS4`: keys are the zone's four octets in native order, then the address's.
    pub clients4: Trie<Client>,
    /// Content of `CLIENTS6`.
    pub clients6: Trie<Client>,
    /// As `NETS4`.
    pub nets4: Trie<RuleMask>,
    /// As `NETS6`.
    pub nets6: Trie<RuleMask>,
    /// As `ANSWER_ACL4`.
    pub answers4: Trie<u32>,
    /// Content of `ANSWER_ACL6`.
    pub answers6: Trie<u32>,
    /// As `PORTS`, one element a port.
    pub ports: Vec<u8>,
    /// As `PORT_CLASSES`.
    pub port_classes: Vec<RuleMask>,
    /// As `EDGES`.
    pub edges: HashMap<EdgeKey, NameNode>,
    /// Content of `GLOBS`.
    pub globs: Vec<Glob>,
    /// Content of `SERVERS`.
    pub servers: HashMap<V6, u32>,
    /// Content of the policy's half of `GATEWAY_PORTS`: indices of open ports.
    pub gateway_ports: HashSet<u32>,
    /// Content of the policy's half of `SOURCE_CHECKS`, by zone.
    pub source_checks: HashMap<u16, u32>,
    /// Content of `GROUP_MACS`.
    pub group_macs: HashSet<MacKey>,
    /// Element of `SETTINGS`.
    pub settings: Settings,
}

/// Tables of the host in place of the kernel's maps. Public fields are those that userspace writes.
#[derive(Debug, Default)]
pub struct Tables {
    /// CLOCK_BOOTTIME, nanoseconds.
    pub now: Cell<u64>,
    /// Element of `ACTIVE`.
    pub active: Cell<Active>,
    /// Content of `ZONES`.
    pub zones: HashMap<ZoneKey, u32>,
    /// Content of `OWN_ADDRESSES`.
    pub own_addresses: HashSet<V6>,
    /// Content of `OWN_ON_DEVICE`.
    pub own_on_device: HashSet<OwnKey>,
    /// Content of `RESOLVER_DEVICES`.
    pub resolver_devices: RefCell<HashMap<ResolverDevice, u32>>,
    /// Content of `DEVICE_ZONES`.
    pub device_zones: RefCell<HashMap<DeviceZone, u32>>,
    /// Content of `ZONE_DEVICES`.
    pub devices: HashMap<u16, u32>,
    /// Indices of devices that are gone, whose routes the tables do not tell.
    pub gone: HashSet<u32>,
    /// Addresses that the routes make the gateway's own, with the index of the device of their
    /// network.
    pub local_routes: HashMap<V6, u32>,
    /// Hardware addresses of neighbours: words whose first octet is lowest in memory.
    pub neighbours: HashMap<V6, u64>,
    /// Routers before addresses.
    pub next_hops: HashMap<V6, V6>,
    /// Addresses that a route rejects.
    pub rejected_routes: HashSet<V6>,
    /// Devices of further routes that are as good as those of `routes`.
    pub other_routes: HashSet<(V6, u32)>,
    /// Device indices of routes, by mapped addresses.
    pub routes: Trie<u32>,
    /// Maps of the policies, by slot.
    pub policies: [PolicyMaps; 2],
    /// Content of `HOSTS4`.
    pub hosts4: RefCell<HashMap<V4, Host>>,
    /// Content of `HOSTS6`.
    pub hosts6: RefCell<HashMap<V6, Host>>,
    /// Content of `FLOWS4`.
    pub flows4: RefCell<HashMap<FlowKey<V4>, Flow>>,
    /// Content of `FLOWS6`.
    pub flows6: RefCell<HashMap<FlowKey<V6>, Flow>>,
    /// Content of `NEW_FLOWS4`.
    pub new_flows4: RefCell<HashMap<FlowKey<V4>, Flow>>,
    /// Content of `NEW_FLOWS6`.
    pub new_flows6: RefCell<HashMap<FlowKey<V6>, Flow>>,
    /// Content of `DNS_PENDING`.
    pub pending: RefCell<HashMap<PendingKey, Pending>>,
    /// Content of `STREAMS`.
    pub streams: RefCell<HashMap<FlowKey<V6>, Stream>>,
    /// Content of `STREAMS_READ`.
    pub streams_read: RefCell<HashMap<FlowKey<V6>, StreamRead>>,
    /// Content of `KEPT_OCTETS`.
    pub kept: RefCell<HashMap<u32, KeptOctets>>,
    /// Content of `CLIENT_LIMITS`, with a bucket for every key, and of `ZONE_LIMITS`.
    pub limits: RefCell<HashMap<LimitKey, Limits>>,
    /// Content of `FRAGMENTS`.
    pub fragments: RefCell<HashMap<FragmentKey, FragmentVerdict>>,
    /// Content of `COUNTERS`, by index.
    pub counters: RefCell<HashMap<u32, Counter>>,
    /// Content of `RULE_COUNTERS`.
    pub rule_counters: RefCell<HashMap<u8, RuleCounter>>,
    /// Content of `GROUP_COUNTERS`, with an element for every key.
    pub group_counters: RefCell<HashMap<u32, GroupCounter>>,
    /// What is left of allowances, by [`crate::scratch::AllowanceKind`]; of others, always enough.
    pub allowances: RefCell<HashMap<u32, u64>>,
    /// Times of denials that were told of within clients' shares, by their hashes.
    pub told: RefCell<HashMap<u64, u64>>,
    /// Records of `DNS_EVENTS` about denied queries.
    pub queries: RefCell<Vec<QueryEvent>>,
    /// Records of `EVENTS` about denied packets.
    pub denied: RefCell<Vec<DeniedEvent>>,
    /// Records of `EVENTS` about flows.
    pub flow_events: RefCell<Vec<FlowEvent>>,
    /// Records of `DNS_EVENTS` about answers that taught nothing, each with its message.
    pub untaught: RefCell<Vec<(AnswerEvent, Vec<u8>)>>,
    /// Records of `EVENTS` about answers, each with its message.
    pub answers: RefCell<Vec<(AnswerEvent, Vec<u8>)>>,
    /// Records of `EVENTS` about segments, each with its data.
    pub segments: RefCell<Vec<(SegmentEvent, Vec<u8>)>>,
    /// Maximum number of entries of each of `hosts4` and `hosts6`; 0 for no limit.
    pub hosts_capacity: usize,
    pub(super) scratch: Scratch,
}

impl Tables {
    /// Judges a frame from a client.
    pub fn ingress(&self, frame: &[u8], arrival: Arrival) -> Verdict {
        self.ingress_of(frame, arrival)
    }

    /// Judges a packet from a client on an interface of layer 3.
    pub fn ingress_layer3(&self, packet: BarePacket<'_>, arrival: Arrival) -> Verdict {
        self.ingress_of(packet, arrival)
    }

    fn ingress_of(&self, packet: impl Packet + Copy, arrival: Arrival) -> Verdict {
        let verdict = verdict::ingress(&packet, self, arrival);
        if verdict.action.is_answered() {
            self.release(&self.scratch);
        }
        verdict
    }

    /// Returns the DNS message that refuses the query in the frame judged last, whose verdict has
    /// to be [`verdict::Action::Refuse`].
    #[must_use]
    pub fn refusal(&self) -> Vec<u8> {
        let (scratch, end) = (&self.scratch, self.scratch.reply.question_end.get());
        let length = dns::refuse(scratch, self, end, dns::choose_refusal(scratch));
        (0..length).map(|at| scratch.message.octet(at) as u8).collect()
    }

    /// Judges a frame to a client.
    pub fn egress(&self, frame: &[u8], arrival: Arrival) -> Verdict {
        verdict::egress(&frame, self, arrival)
    }

    /// Judges a packet to a client on an interface of layer 3.
    pub fn egress_layer3(&self, packet: BarePacket<'_>, arrival: Arrival) -> Verdict {
        verdict::egress(&packet, self, arrival)
    }

    /// Returns the number of packets counted for a reason, or of occurrences counted.
    #[must_use]
    pub fn counted(&self, what: impl Into<Counted>) -> u64 {
        let counter = what.into().counter();
        self.counters.borrow().get(&counter).map_or(0, |counter| counter.packets)
    }

    pub(super) fn policy(&self, set: u32) -> &PolicyMaps {
        &self.policies[(set & 1) as usize]
    }
}

/// Tables that are looked up and written to by their keys, and no more.
macro_rules! keyed {
    ($($map:ident: $field:ident;)+) => {
        $(impl KeyedAccess<keyed::$map> for &Tables {
            fn copy_of(
                self,
                key: &<keyed::$map as KeyedMap>::Key,
            ) -> Option<<keyed::$map as KeyedMap>::Value> {
                self.$field.borrow().get(key).copied()
            }

            fn write(
                self,
                key: &<keyed::$map as KeyedMap>::Key,
                value: &<keyed::$map as KeyedMap>::Value,
            ) {
                self.$field.borrow_mut().insert(*key, *value);
            }
        })+
    };
}

keyed! {
    DEVICE_ZONES: device_zones;
    DNS_PENDING: pending;
    FRAGMENTS: fragments;
    RESOLVER_DEVICES: resolver_devices;
    STREAMS_READ: streams_read;
}
