//! Maps that the kernel fills: learned addresses, flows, pending queries, counters.

use super::{V4, V6, layout};

/// The only element of `ACTIVE`: which policy is in force.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Active {
    /// Counts policies, from 1; 0 is "none yet". Its lowest bit is the index of the set of
    /// maps in force, so that one aligned load decides everything for a packet.
    pub generation: u32,
    /// Zero.
    pub reserved: u32,
    /// Random, chosen when the map is made: keys the hash of pending questions.
    pub seed: u64,
}
layout!(Active, 16, u32, u32, u64);

/// Bits of [`Flow::flags`].
pub mod flow_flags {
    /// Policy would have denied it; its group is in audit mode.
    pub const AUDITED: u16 = 1;
    /// Opened from outside (`inbound: allow`).
    pub const INBOUND: u16 = 2;
    /// The client has sent FIN.
    pub const CLIENT_FIN: u16 = 4;
    /// The remote has sent FIN.
    pub const REMOTE_FIN: u16 = 8;
    /// Either has sent RST.
    pub const RESET: u16 = 16;
    /// Allowed without a rule: the group is exempt, or unlisted clients are let through.
    pub const UNRULED: u16 = 32;
    /// The remote has answered.
    pub const ANSWERED: u16 = 64;
    /// Its end was reported, or is not to be.
    pub const REPORTED: u16 = 128;
    /// Both bits: let through by the warm-up ([`super::Settings::warm_up_until`]), not by its
    /// group's mode. Its generation is 0, which no policy has, so that each of its packets is
    /// judged again.
    pub const WARM_UP: u16 = AUDITED | UNRULED;
}

/// Key of `FLOWS4`, `FLOWS6` and their `NEW_` twins, seen from the client in both directions.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct FlowKey<A> {
    /// The client's zone.
    pub zone: u16,
    /// IP protocol: 6, 17, 1 or 58.
    pub protocol: u8,
    /// Zero.
    pub reserved: u8,
    /// The client's port in network byte order; of an echo, its identifier.
    pub client_port: u16,
    /// The remote's port in network byte order; of an echo, 0.
    pub remote_port: u16,
    /// The client.
    pub client: A,
    /// The remote.
    pub remote: A,
}
layout!(FlowKey<V4>, 16, u16, u8, u8, u16, u16, V4, V4);
layout!(FlowKey<V6>, 40, u16, u8, u8, u16, u16, V6, V6);

/// Value of the flow maps. The client's counters are written on ingress alone and the remote's on
/// egress alone; they count the layer 3 octets.
///
/// They are plain additions: two CPUs that count in the same direction of one flow at the same
/// moment lose one of the two. A network card hands a flow's packets to one queue and so to one
/// CPU, hence that happens only while it changes its mind; four atomic additions would cost every
/// packet of every flow more than its lookup may. The counters by rule are exact: those are per
/// CPU.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Flow {
    /// When it was opened: CLOCK_BOOTTIME, nanoseconds.
    pub opened: u64,
    /// Last packet, to within a second: CLOCK_BOOTTIME, nanoseconds.
    pub last_seen: u64,
    /// Packets from the client.
    pub client_packets: u64,
    /// Octets from the client.
    pub client_bytes: u64,
    /// Packets to the client.
    pub remote_packets: u64,
    /// Octets to the client.
    pub remote_bytes: u64,
    /// TCP: sequence number behind the client's last octet, byte order of the host.
    pub client_end: u32,
    /// TCP: highest number that the client has acknowledged.
    pub client_acknowledged: u32,
    /// TCP: sequence number behind the remote's last octet.
    pub remote_end: u32,
    /// TCP: highest number that the remote has acknowledged.
    pub remote_acknowledged: u32,
    /// The policy that last allowed it, [`Active::generation`]; 0 during the warm-up.
    pub generation: u32,
    /// The client's group.
    pub group: u16,
    /// See [`flow_flags`].
    pub flags: u16,
    /// The rule that allows it, below [`super::RULES`]; [`super::NO_RULE`] if a flag says why there is
    /// none.
    pub rule: u8,
    /// Zero.
    pub reserved: u8,
    /// The client's hardware address, as the frame that opened the flow has it.
    pub client_mac: [u8; 6],
    /// Zero: room for what a flow's name was found to be, and for how long it is leased.
    pub name_state: [u64; 2],
}
layout!(
    Flow, 96, u64, u64, u64, u64, u64, u64, u32, u32, u32, u32, u32, u16, u16, u8, u8, [u8; 6],
    [u64; 2]
);

/// Key of `DNS_PENDING`: a query on its way. Addresses of both families, IPv4 mapped.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct PendingKey {
    /// The client's zone.
    pub zone: u16,
    /// The client's port, network byte order.
    pub port: u16,
    /// The message's id, network byte order.
    pub id: u16,
    /// IP protocol: 17, or 6 for TCP.
    pub protocol: u16,
    /// Client that asked.
    pub client: V6,
    /// Resolver that was asked.
    pub resolver: V6,
}
layout!(PendingKey, 40, u16, u16, u16, u16, V6, V6);

/// Value of `DNS_PENDING`.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Pending {
    /// Keyed hash of the question, octet for octet: a resolver echoes its letters' case.
    pub question: u64,
    /// When it was asked: CLOCK_BOOTTIME, nanoseconds.
    pub asked: u64,
    /// 1 once an answer has consumed it: further ones pass, and teach nothing.
    pub answered: u64,
}
layout!(Pending, 24, u64, u64, u64);

/// Key of `FRAGMENTS`: a datagram that came in fragments. IPv4 addresses mapped.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct FragmentKey {
    /// The zone that it came from or goes to.
    pub zone: u16,
    /// IP protocol for IPv4 (RFC 791 makes it part of the identification), 0 for IPv6.
    pub protocol: u16,
    /// Identification, network byte order.
    pub id: u32,
    /// Source.
    pub source: V6,
    /// Destination.
    pub destination: V6,
}
layout!(FragmentKey, 40, u16, u16, u32, V6, V6);

/// Value of `FRAGMENTS`: verdict over the first fragment.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FragmentVerdict {
    /// When the first fragment passed: CLOCK_BOOTTIME, nanoseconds.
    pub seen: u64,
    /// Octets of the datagram that hold headers: no later fragment may write there.
    pub headers: u32,
    /// 1 if the datagram is allowed.
    pub allowed: u8,
    /// The rule that allows it, or 255.
    pub rule: u8,
    /// The client's group, or 255.
    pub group: u8,
    /// 1 if it passes only because its group is audited.
    pub audited: u8,
}
layout!(FragmentVerdict, 16, u64, u32, u8, u8, u8, u8);

/// Element of `COUNTERS`, indexed by [`super::Reason`].
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counter {
    /// Packets.
    pub packets: u64,
    /// Octets of the frames.
    pub bytes: u64,
}
layout!(Counter, 16, u64, u64);

/// Element of `RULE_COUNTERS`, indexed by rule.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RuleCounter {
    /// Packets of its flows, both directions.
    pub packets: u64,
    /// Octets of its flows' frames, both directions.
    pub bytes: u64,
    /// Flows that it opened.
    pub flows: u64,
    /// Packets denied although their destination is one of the rule's.
    pub denied: u64,
}
layout!(RuleCounter, 32, u64, u64, u64, u64);
