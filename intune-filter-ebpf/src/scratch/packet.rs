//! Context of the packet at hand.

use core::cell::UnsafeCell;

use crate::{
    abi::{
        EdgeKey, Flow, FlowKey, FragmentKey, FragmentVerdict, MacKey, OwnKey, Pending, PendingKey,
        ResolverDevice, Stream, Taking, V4, V6,
    },
    memory::{RuleCell, VolatileU64},
};

/// Words of the largest value of a map that is copied.
pub const COPY_WORDS: usize = 12;

/// Facts, keys and values about a packet beside its headers. In memory rather than on the stack, of
/// which the kernel's programs have 512 octets in all.
#[repr(C)]
#[derive(Debug)]
pub struct PacketCtx {
    /// Key of a lookup in a trie: the prefix length, and up to five words.
    pub trie_key: UnsafeCell<[u32; 6]>,
    /// IPv4 address to be learned.
    pub address4: UnsafeCell<V4>,
    /// IPv6 address to be learned, or the mapped form of `address4`.
    pub address6: UnsafeCell<V6>,
    /// Key of a pending query.
    pub pending_key: UnsafeCell<PendingKey>,
    /// Pending query.
    pub pending: UnsafeCell<Pending>,
    /// Key of the packet's flow, for IPv4.
    pub key4: UnsafeCell<FlowKey<V4>>,
    /// Key of the packet's flow, for IPv6.
    pub key6: UnsafeCell<FlowKey<V6>>,
    /// Key of the sender's flow in the zone that the packet comes from, for IPv4.
    pub sender_key4: UnsafeCell<FlowKey<V4>>,
    /// As `sender_key4`, for IPv6.
    pub sender_key6: UnsafeCell<FlowKey<V6>>,
    /// Key of an edge of the names' trie.
    pub edge: UnsafeCell<EdgeKey>,
    /// Key of a fragmented datagram.
    pub fragment_key: UnsafeCell<FragmentKey>,
    /// Record of a fragmented datagram.
    pub fragment: UnsafeCell<FragmentVerdict>,
    /// Flow to be opened, or that has ended.
    pub flow: UnsafeCell<Flow>,
    /// The client as a word, see [`crate::datapath::Member::word`].
    pub member: VolatileU64,
    /// Kind of the flow's record, [`crate::abi::EventKind`].
    pub flow_kind: VolatileU64,
    /// Ending of the flow, [`crate::abi::Ending`].
    pub flow_ending: VolatileU64,
    /// Copy of a map's value, for runs that change no map.
    pub copy: UnsafeCell<[u64; COPY_WORDS]>,
    /// Key of a client's TCP connection to a resolver.
    pub stream_key: UnsafeCell<FlowKey<V6>>,
    /// TCP connection to be opened.
    pub stream: UnsafeCell<Stream>,
    /// Request for a token of the client's bucket.
    pub rate_request: UnsafeCell<Taking>,
    /// Time at which the packet was seen: CLOCK_BOOTTIME, nanoseconds.
    pub now: VolatileU64,
    /// 1 once no answered flow was found under the packet's key.
    pub no_answered_flow: VolatileU64,
    /// Terms of the flow that the packet is to open, 0 for none: origin, rule, flags and group.
    pub opening: VolatileU64,
    /// Generation of the policy in force.
    pub generation: VolatileU64,
    /// Interface index.
    pub ifindex: VolatileU64,
    /// Zone of the client.
    pub zone: VolatileU64,
    /// Index of the device from which the stack received the packet; 0 if the gateway itself sent it.
    pub came_by: VolatileU64,
    /// Zone that was allowed to send the packet, if it comes from another one than its client's; else 0.
    pub sent: VolatileU64,
    /// Side that a fragment to a client comes from, see [`FragmentVerdict::sender`]; else 0.
    pub side: VolatileU64,
    /// Remote of the flow that a packet to a client belongs to, or quotes.
    pub far_end: UnsafeCell<V6>,
    /// 1 if a resolver's packet came in by a device that no route to the resolver leads out of.
    pub astray: VolatileU64,
    /// Offset in the message of the question of the query at hand, behind which nothing of another
    /// message was read; 0 if none was read.
    pub question_at: VolatileU64,
    /// Keyed hash of that question.
    pub question: VolatileU64,
    /// Packets that the frame stands for.
    pub packets: VolatileU64,
    /// Offset of the IP header in the frame.
    pub network_offset: VolatileU64,
    /// The client's hardware address, the first octet lowest in memory.
    pub client_mac: VolatileU64,
    /// What the kernel tells of the sender, bits of [`crate::abi::sender`]; 0 until it was asked.
    pub sender: VolatileU64,
    /// 1 if the packet's flow is known, and has another hardware address than the sender.
    pub moved: VolatileU64,
    /// Reason for which the sender may not begin one more, as a number.
    pub refusal: VolatileU64,
    /// Hardware address of the neighbour that the last route lookup led to, as `client_mac`; 0 if the
    /// kernel knows none.
    pub neighbour: VolatileU64,
    /// Not 0 if the last route lookup led to a router.
    pub routed: VolatileU64,
    /// A verdict, as [`crate::verdict::Verdict`] packs it.
    pub verdict: VolatileU64,
    /// Rules whose destination it is, as far as a verdict tells of them.
    pub rules: RuleCell,
    /// The client's rules.
    pub client_rules: RuleCell,
    /// Rules among whose networks its destination is.
    pub network_rules: RuleCell,
    /// Rules of the names that led to its destination.
    pub learned_rules: RuleCell,
    /// Rules of a port.
    pub port_rules: RuleCell,
    /// A question to the routing table.
    pub route: UnsafeCell<[u64; 8]>,
    /// Destination of a route lookup.
    pub route_to: UnsafeCell<V6>,
    /// Source of a route lookup, for routing rules by source; unspecified without one.
    pub route_from: UnsafeCell<V6>,
    /// Key of a lookup of a group's hardware addresses.
    pub mac_key: UnsafeCell<MacKey>,
    /// Key of a lookup of the gateway's addresses on a device.
    pub own: UnsafeCell<OwnKey>,
    /// Key of a lookup of the devices by which a resolver's answers come in.
    pub resolver_device: UnsafeCell<ResolverDevice>,
}
