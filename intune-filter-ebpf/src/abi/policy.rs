//! Layouts of the maps of a policy, which userspace fills. Each policy is a fresh set of maps.

use super::{
    Limit, NameNode, PROVEN_FOR, RuleMask, TransportProtocol, V6, layout, limit::SLACK,
    protocol::position,
};

/// Key of `ZONES`: an interface and a VLAN.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct ZoneKey {
    /// Interface index.
    pub ifindex: u32,
    /// VLAN id; 0 for untagged and priority-tagged frames.
    pub vlan: u32,
}
layout!(ZoneKey, 8, u32, u32);

/// Data of the LPM key of `CLIENTS4` and `CLIENTS6`: a source in a zone. Prefix lengths count the
/// 32 bits of the zone too.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct ClientKey<A> {
    /// Zone, native byte order: always matched whole.
    pub zone: u32,
    /// Source address.
    pub address: A,
}
layout!(ClientKey<super::V4>, 8, u32, super::V4);
layout!(ClientKey<super::V6>, 20, u32, super::V6);

/// [`Client::mode`]: packets that the policy denies are dropped or rejected.
pub const MODE_ENFORCE: u8 = 0;
/// [`Client::mode`]: packets that the policy denies are counted, and pass.
pub const MODE_AUDIT: u8 = 1;
/// [`Client::mode`]: all packets pass.
pub const MODE_EXEMPT: u8 = 2;

/// Bits of [`Client::flags`].
pub mod client_flags {
    /// Denied packets are answered (`on_deny: reject`).
    pub const REJECT: u8 = 1;
    /// Unsolicited packets to the client pass (`inbound: allow`).
    pub const INBOUND: u8 = 2;
    /// The group's senders have one of its hardware addresses (`macs`).
    pub const MACS: u8 = 4;
    /// The element stands for whatever is on-link in its zone: the group has a source if the routes
    /// lead to it by the zone's device, with no router in between.
    pub const ON_LINK: u8 = 8;
    /// Unsolicited packets to the client pass if a rule of [`super::inbound_zone`] lets them in.
    pub const INBOUND_RULES: u8 = 16;
}

/// Zone of the elements of `CLIENTS4` and `CLIENTS6` with the rules by which packets reach the clients of
/// a zone.
#[inline(always)]
#[must_use]
pub const fn inbound_zone(zone: u16) -> u16 {
    const { assert!(ZONE_ELEMENTS <= INBOUND_ZONES as usize) };
    INBOUND_ZONES | zone
}

/// Bit of [`inbound_zone`].
const INBOUND_ZONES: u16 = 1 << 15;

/// Value of `CLIENTS4` and `CLIENTS6`: the group that a source belongs to.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Client {
    /// The group's rules.
    pub rules: RuleMask,
    /// The group's number, below [`super::GROUPS`].
    pub group: u32,
    /// [`MODE_ENFORCE`], [`MODE_AUDIT`] or [`MODE_EXEMPT`].
    pub mode: u8,
    /// Bits of [`client_flags`].
    pub flags: u8,
    /// Number of devices behind the address, at least 1: the client's limits are that many times as
    /// large.
    pub devices: u16,
}
layout!(Client, 32, RuleMask, u32, u8, u8, u16);

/// Ports: 65536 of TCP, then 65536 of UDP. Each has a class, one octet, and all ports of a class have
/// the same rules. Class 0 has none.
pub const PORTS: u32 = 2 << 16;
const _: () = assert!(PORTS as usize == TransportProtocol::ALL.len() << 16);

/// Elements of `PORTS`, each of which has the classes of eight ports, the first lowest: values of an
/// array take eight octets each.
pub const PORT_WORDS: u32 = PORTS / 8;

/// Classes of ports at most: elements of `PORT_CLASSES` for each of the two slots.
pub const PORT_CLASSES: u32 = 256;

/// Returns the index of a class in `PORT_CLASSES`, in the slot `set`.
#[inline(always)]
#[must_use]
pub const fn port_class_at(set: u32, class: u8) -> u32 {
    set * PORT_CLASSES + class as u32
}

/// Place of the class of a [`port_index`]: the index in `PORTS`, and how many bits it is from the
/// lowest.
#[inline(always)]
#[must_use]
pub const fn port_class(index: u32) -> (u32, u32) {
    (index / 8, index % 8 * 8)
}

/// Index of a port among [`PORTS`]. `port` is in host byte order.
#[inline(always)]
#[must_use]
pub const fn port_index(protocol: u8, port: u16) -> u32 {
    position(protocol) << 16 | port as u32
}

/// [`Settings::dns_unlisted`]: a query for a name of no rule is answered REFUSED.
pub const UNLISTED_REFUSE: u32 = 0;
/// [`Settings::dns_unlisted`]: a query for a name of no rule is forwarded; its answer teaches
/// nothing.
pub const UNLISTED_FORWARD: u32 = 1;
/// [`Settings::dns_unlisted`]: a query for a name of no rule is dropped.
pub const UNLISTED_DROP: u32 = 2;
/// [`Settings::dns_unlisted`]: a query for a name of no rule is answered NXDOMAIN, or without data
/// if names of the client's rules are below the name.
pub const UNLISTED_NXDOMAIN: u32 = 3;

/// [`Settings::to_gateway`]: packets to the gateway's addresses on the client's own network pass.
pub const GATEWAY_PASS: u32 = 0;
/// [`Settings::to_gateway`]: packets to the gateway are judged like any other.
pub const GATEWAY_POLICY: u32 = 1;
/// [`Settings::to_gateway`]: packets to the gateway's addresses on the client's own network pass if
/// their port is in `GATEWAY_PORTS`.
pub const GATEWAY_PORTS: u32 = 2;

/// Number of elements of `GATEWAY_PORTS`: for each of the two slots, one bit for each of [`PORTS`].
pub const GATEWAY_WORDS: u32 = 2 * PORTS / u64::BITS;

/// Returns the index in `GATEWAY_PORTS`, and the mask, of a [`port_index`] in the slot `set`.
#[inline(always)]
#[must_use]
pub const fn gateway_port(set: u32, port: u32) -> (u32, u64) {
    ((set & 1) * (GATEWAY_WORDS / 2) + port / u64::BITS, 1 << (port % u64::BITS))
}

/// Bit of a value of `ZONE_DEVICES`, beside the device's index: packets have no hardware addresses there
/// (layer 3), and the route to a source is all that the kernel tells of the sender.
pub const DEVICE_LAYER3: u32 = 1 << 31;

/// Number of elements of `ZONE_LIMITS` and `ZONE_DEVICES`: configured zones count from 1.
pub const ZONE_ELEMENTS: usize = 1025;

/// Number of elements of `SOURCE_CHECKS`: for each of the two slots, one for each zone.
pub const SOURCE_CHECK_ELEMENTS: u32 = 2 * ZONE_ELEMENTS as u32;

/// Returns the index in `SOURCE_CHECKS` of a zone in the slot `set`.
#[inline(always)]
#[must_use]
pub const fn source_check(set: u32, zone: u32) -> u32 {
    (set & 1) * ZONE_ELEMENTS as u32 + zone
}

/// Bits of an element of `SOURCE_CHECKS`, and of what the kernel tells of a packet's sender: an
/// element has those that are let pass.
pub mod sender {
    /// The kernel was asked. Alone: it tells nothing, since it does not forward for the zone's
    /// device.
    pub const ASKED: u32 = 1;
    /// The routes lead to the source by the zone's device.
    pub const HERE: u32 = 2;
    /// The routes lead to the source by another device.
    pub const APART: u32 = 4;
    /// The routes lead nowhere, or to the gateway itself.
    pub const NOWHERE: u32 = 8;
    /// The sender has the hardware address of the neighbour that the routes lead to, or one that its
    /// group lists. Of no use in an element.
    pub const PROVEN: u32 = 16;
    /// The neighbour is a router before the source. Of no use in an element.
    pub const ROUTED: u32 = 32;
}

/// Key of `GROUP_MACS`: a hardware address that a group's senders have.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct MacKey {
    /// Hardware address.
    pub mac: [u8; 6],
    /// The group's number.
    pub group: u16,
}
layout!(MacKey, 8, [u8; 6], u16);

/// Key of `OWN_ON_DEVICE`: an address of the gateway, and the device that has it.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct OwnKey {
    /// Device index.
    pub device: u32,
    /// Address; IPv4 mapped.
    pub address: V6,
}
layout!(OwnKey, 20, u32, V6);

/// Element of `SETTINGS`: options of a policy.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Settings {
    /// Treatment of queries for names of no rule, such as [`UNLISTED_REFUSE`].
    pub dns_unlisted: u32,
    /// 1 if sources in no group pass, as if exempt.
    pub allow_unlisted_clients: u32,
    /// Treatment of packets to the gateway itself, such as [`GATEWAY_PASS`].
    pub to_gateway: u32,
    /// 1 if echo requests to an allowed destination pass.
    pub icmp_echo: u32,
    /// Lower bound of the time to live of a learned address, in seconds.
    pub ttl_min: u32,
    /// Upper bound of the time to live of a learned address, in seconds.
    pub ttl_max: u32,
    /// Time added to the time to live, in seconds.
    pub ttl_grace: u32,
    /// Number of elements of `CLIENT_LIMITS` in use, a power of two.
    pub limit_sets: u32,
    /// 1 if frames with a VLAN tag that no zone has are denied.
    pub deny_other_vlans: u32,
    /// 1 if elements of `ANSWER_ACL6` name a NAT64 prefix: the form below it of a learned IPv4 address
    /// is a destination too.
    pub nat64: u32,
    /// Root of the names' trie; its `below` has the rules of every name (the pattern `*`).
    pub root: NameNode,
    /// End of the warm-up: CLOCK_BOOTTIME, nanoseconds; 0 for none. Until then, packets of enforced
    /// clients that are denied because their destination is not known pass as if audited.
    pub warm_up_until: u64,
    /// Rules that have names: packets of the warm-up are on a port of one of them.
    pub warm_up_rules: RuleMask,
    /// Rules that clients may send by: the others only let packets in.
    pub outbound_rules: RuleMask,
    /// DNS queries, and separately connections to resolvers, of one client.
    pub limit_queries: Limit,
    /// Limit of one client's new flows.
    pub limit_flows: Limit,
    /// Limit of DNS queries, and of connections to resolvers, of sources that share the buckets of
    /// their zone: see [`super::LIMIT_ZONE`].
    pub zone_queries: Limit,
    /// Limit of new flows of sources that share the bucket of their zone.
    pub zone_flows: Limit,
    /// Limit of DNS queries, and of connections to resolvers, of all sources of one hardware address.
    pub mac_queries: Limit,
    /// Limit of new flows of all sources of one hardware address.
    pub mac_flows: Limit,
}
layout!(
    Settings, 280, u32, u32, u32, u32, u32, u32, u32, u32, u32, u32, NameNode, u64, RuleMask,
    RuleMask, Limit, Limit, Limit, Limit, Limit, Limit
);

impl Settings {
    /// Returns nanoseconds from now within which every valid due time lies: at least the longest window,
    /// with the time for which a proof counts.
    #[inline(always)]
    #[must_use]
    pub const fn limit_horizon(&self) -> u64 {
        const { assert!(PROVEN_FOR < SLACK) };
        let [one, other] = [&self.limit_flows, &self.limit_queries];
        SLACK + (one.window | other.window | self.mac_flows.window | self.mac_queries.window)
    }
}

/// Bit of a value of `SERVERS`: a trusted resolver.
pub const SERVER_RESOLVER: u32 = 1;
/// Bit of a value of `SERVERS`: a DHCP server that clients may address (`dhcp_servers`).
pub const SERVER_DHCP: u32 = 2;

/// Bit of a value of `SERVERS`: a resolver whose answers come in by the devices alone that
/// `RESOLVER_DEVICES` has for it.
pub const SERVER_VIA: u32 = 4;

/// Key of `RESOLVER_DEVICES`: a device by which answers of a resolver with [`SERVER_VIA`] come in.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ResolverDevice {
    /// Device index.
    pub device: u32,
    /// Address of the resolver; IPv4 mapped.
    pub resolver: V6,
}
layout!(ResolverDevice, 20, u32, V6);

/// Zones of one device that a packet's sender is looked for in, at most.
pub const ZONES_OF_DEVICE: u32 = 8;

/// Key of `DEVICE_ZONES`: a device from which packets of a zone are forwarded, and which of its zones,
/// counted from 0 on. Ports of a bridge share one, and members of a bond.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct DeviceZone {
    /// Device index.
    pub device: u32,
    /// Number of the zone among the device's.
    pub nth: u32,
}
layout!(DeviceZone, 8, u32, u32);

/// Octets of [`Title::text`].
pub const TITLE_CAPACITY: usize = 96;

/// Element of `RULE_TITLES` and `GROUP_TITLES`: name of a rule or group, so that a process without the
/// configuration can tell what the kernel enforces.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Title {
    /// Name in UTF-8, padded with zeros. That of a rule is `SERVICE/RULE`.
    pub text: [u8; TITLE_CAPACITY],
}
layout!(Title, TITLE_CAPACITY, [u8; TITLE_CAPACITY]);
