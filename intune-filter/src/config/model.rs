//! Defines the configuration's values with the default of every key; `check` prints them all.

use std::{net::IpAddr, path::PathBuf};

use ipnet::{IpNet, Ipv6Net};
use serde::{Deserialize, Serialize};

use super::{
    Choice, Inbound, KeyLines, Limits, MacAddress, Metrics, Network, OtherVlans, Resolver, Seconds,
    ToGateway, choice::choice,
};
use crate::{
    pattern::Pattern,
    ports::{PerProtocol, PortRange},
};

/// Configuration that has been read and checked against itself.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Config {
    /// Interfaces on the LAN side.
    pub interfaces: Vec<Interface>,
    /// Whether the daemon turns VLAN tag stripping off where a zone has a tag.
    pub manage_offloads: bool,
    /// Treatment of sources in no group.
    pub unlisted_clients: UnlistedClients,
    /// Treatment of packets to the gateway itself.
    pub to_gateway: ToGateway,
    /// Treatment of frames with a VLAN tag that no zone has.
    #[serde(default)]
    pub other_vlans: OtherVlans,
    /// Traffic of clients that passes before the programs are attached.
    pub boot: Boot,
    /// Whether clients may ping the destinations that they may reach.
    pub icmp_echo: bool,
    /// Client groups.
    pub clients: Vec<ClientGroup>,
    /// Resolvers and learning from their answers.
    pub dns: Dns,
    /// DHCP servers that clients may address directly, beside the gateway.
    pub dhcp_servers: Vec<IpAddr>,
    /// NAT64 prefixes by which clients reach IPv4 networks and addresses.
    pub nat64: Vec<Ipv6Net>,
    /// Rate limits of one client.
    pub limits: Limits,
    /// Time after a start without learned addresses during which unknown destinations are audited
    /// instead of denied; zero turns it off.
    pub warm_up: Seconds,
    /// Location of the tenant, such as `AMSUB0502`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tenant: Option<String>,
    /// Region whose names are allowed; `all` unless a tenant is given.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub region: Option<Region>,
    /// What the site takes of the catalogue.
    #[serde(flatten)]
    pub choice: Choice,
    /// Services of the site, and overrides of built-in ones.
    pub services: Vec<SiteService>,
    /// Capacities of the maps that the kernel fills.
    pub maps: MapSizes,
    /// Directories and files.
    pub paths: Paths,
    /// Metrics endpoint.
    pub metrics: Metrics,
    /// File and lines of the configuration, for errors that are found later.
    #[serde(skip)]
    pub source: KeyLines,
}

choice! {
    /// Hook of the program that judges packets.
    pub enum Mode {
        /// Native XDP if the driver supports it and answers arrive, else generic XDP.
        #[default]
        Auto = "auto",
        /// Native XDP, in the driver.
        Native = "native",
        /// Generic XDP, in the network stack.
        Generic = "generic",
        /// TC ingress.
        Tc = "tc",
    }
}

choice! {
    /// Sources that are denied for the way that the routes lead to them.
    pub enum SourceCheck {
        /// Those that the routes lead to by another interface, or nowhere.
        #[default]
        Strict = "strict",
        /// Those that the routes lead nowhere to, or to the gateway itself.
        Loose = "loose",
        /// None.
        Off = "off",
    }
}

choice! {
    /// Treatment of sources in no group.
    pub enum UnlistedClients {
        /// Denied: else a device escapes by changing its address.
        #[default]
        Deny = "deny",
        /// Passed, as if exempt.
        Allow = "allow",
    }
}

choice! {
    /// Traffic of clients that passes before the programs are attached.
    pub enum Boot {
        /// No traffic, by the boot guard.
        Closed = "closed",
        /// All traffic.
        #[default]
        Open = "open",
    }
}

choice! {
    /// Treatment of a group's packets that the policy denies.
    pub enum GroupMode {
        /// Denied.
        #[default]
        Enforce = "enforce",
        /// Counted, and passed.
        Audit = "audit",
        /// Not judged at all.
        Exempt = "exempt",
    }
}

choice! {
    /// Manner in which a packet is denied.
    pub enum OnDeny {
        /// Dropped silently.
        Drop = "drop",
        /// Rejected with a TCP reset or an ICMP error.
        #[default]
        Reject = "reject",
    }
}

choice! {
    /// Treatment of a query for a name that no rule has.
    pub enum DnsUnlisted {
        /// Answered NXDOMAIN, or without data if names of the client's rules are below the name.
        #[default]
        Nxdomain = "nxdomain",
        /// Answered REFUSED.
        Refuse = "refuse",
        /// Forwarded without learning from the answer. Leaves DNS tunnelling open.
        Forward = "forward",
        /// Dropped.
        Drop = "drop",
    }
}

choice! {
    /// Region of the service, or all regions.
    pub enum Region {
        /// North America.
        NorthAmerica = "north-america",
        /// Europe.
        Europe = "europe",
        /// Asia and the Pacific.
        AsiaPacific = "asia-pacific",
        /// Every region.
        #[default]
        All = "all",
    }
}

/// Interface on the LAN side.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Interface {
    /// Name of the interface.
    pub name: String,
    /// Hook of the program that judges its packets.
    pub mode: Mode,
    /// VLAN ids that are judged, 0 for untagged frames; empty if the interface carries no tags.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub vlans: Vec<u16>,
    /// Sources that are denied for the way that the routes lead to them.
    #[serde(default)]
    pub source_check: SourceCheck,
}

/// Clients with one policy.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClientGroup {
    /// Name of the group.
    pub name: String,
    /// Interface, or `INTERFACE.VLAN`, of the group's clients; every zone if absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub on: Option<String>,
    /// Networks of the clients' addresses.
    pub networks: Vec<Network>,
    /// Services and sets of services that the group may reach.
    pub services: Vec<String>,
    /// Treatment of packets that the policy denies.
    pub mode: GroupMode,
    /// Manner in which packets are denied.
    pub on_deny: OnDeny,
    /// Treatment of packets to a client that belong to no flow of the client's.
    pub inbound: Inbound,
    /// Devices behind one address, from 1: a factor for the limits of an address.
    pub devices_per_address: u32,
    /// Hardware addresses that its senders have; empty if they are not looked at.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub macs: Vec<MacAddress>,
}

impl ClientGroup {
    /// Returns the prefixes among its networks, each with its place in the list.
    pub fn prefixes(&self) -> impl Iterator<Item = (usize, IpNet)> {
        let networks = self.networks.iter().enumerate();
        networks.filter_map(|(at, network)| Some((at, network.prefix()?)))
    }

    /// Whether it has whatever is on-link.
    #[must_use]
    pub fn is_on_link(&self) -> bool {
        self.networks.contains(&Network::OnLink)
    }

    /// Returns what any device on its clients' network can do, if the group is exempt and lists no
    /// hardware addresses.
    #[must_use]
    pub fn taken(&self) -> Option<String> {
        (self.mode == GroupMode::Exempt && self.macs.is_empty()).then(|| {
            format!(
                "exempt judges nothing, and every device on the network of {} can take an address of \
                 the group: macs denies all others",
                self.name
            )
        })
    }
}

/// Resolvers and learning from their answers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Dns {
    /// Resolvers that clients may ask, and whose answers are learned from.
    pub resolvers: Vec<Resolver>,
    /// Treatment of queries for names that no rule has.
    pub unlisted: DnsUnlisted,
    /// Whether the daemon resolves exact names itself, ahead of the clients.
    pub resolve: bool,
    /// Private prefixes whose addresses answers may contain.
    pub allow_private: Vec<IpNet>,
    /// Lifetime of learned addresses.
    pub ttl: Ttl,
}

/// Bounds for the lifetime of a learned address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ttl {
    /// Lower bound for the TTL.
    pub min: Seconds,
    /// Upper bound for the TTL.
    pub max: Seconds,
    /// Time added to the bounded TTL.
    pub grace: Seconds,
}

/// Service of the site, or an override of a built-in one: see [`crate::policy::overrides`] for the
/// effect of an override.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SiteService {
    /// Id of the service; an override has the id of a built-in service.
    pub id: String,
    /// Title for people.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub title: Option<String>,
    /// Destinations and ports of the only rule, if they are given without `rules`.
    #[serde(flatten)]
    pub parts: Parts,
    /// Rules, if they are given one by one.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub rules: Vec<SiteRule>,
    /// Whether it may have patterns that match names of strangers.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub allow_broad: bool,
}

/// Rule of a [`SiteService`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SiteRule {
    /// Id of the rule, unique in its service.
    pub id: String,
    /// Destinations and ports of the rule.
    #[serde(flatten)]
    pub parts: Parts,
}

/// Destinations and ports of a rule; `None` for a key that the file has not.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Parts {
    /// Name patterns.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fqdns: Option<Vec<Pattern>>,
    /// Prefixes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cidrs: Option<Vec<IpNet>>,
    /// Ports of each protocol.
    #[serde(flatten)]
    pub ports: PerProtocol<Option<Vec<PortRange>>>,
}

impl Parts {
    /// Whether the file has none of the keys.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.fqdns.is_none() && self.cidrs.is_none() && self.ports.all(Option::is_none)
    }
}

/// Capacities of the maps that the kernel fills, in entries; of the ring buffer, in octets.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MapSizes {
    /// Learned IPv4 addresses.
    pub hosts4: u32,
    /// Learned IPv6 addresses.
    pub hosts6: u32,
    /// IPv4 flows.
    pub flows4: u32,
    /// IPv6 flows.
    pub flows6: u32,
    /// Unanswered flows of one address family.
    pub new_flows: u32,
    /// Pending DNS queries.
    pub pending: u32,
    /// Clients with rate limits.
    pub clients: u32,
    /// Datagrams in fragments.
    pub fragments: u32,
    /// Octets of the ring buffer for events.
    pub events: u32,
}

impl Default for MapSizes {
    fn default() -> Self {
        Self {
            hosts4: 1 << 17,
            hosts6: 1 << 16,
            flows4: 92 << 10,
            flows6: 1 << 15,
            new_flows: 1 << 14,
            pending: 1 << 14,
            clients: 1 << 14,
            fragments: 7_000,
            events: 1 << 20,
        }
    }
}

/// Directories and files of the daemon.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Paths {
    /// Directory for state that outlives a reboot.
    pub state_dir: PathBuf,
    /// Directory of the control socket.
    pub runtime_dir: PathBuf,
    /// Directory of the pins, on a BPF file system.
    pub pin_dir: PathBuf,
    /// Catalogue file that replaces the built-in one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub catalogue: Option<PathBuf>,
}

impl Default for Paths {
    fn default() -> Self {
        Self {
            state_dir: "/var/lib/intune-filter".into(),
            runtime_dir: "/run/intune-filter".into(),
            pin_dir: "/sys/fs/bpf/intune-filter".into(),
            catalogue: None,
        }
    }
}

/// What a file means that names nothing; it passes no check.
impl Default for Config {
    fn default() -> Self {
        Self {
            interfaces: Vec::new(),
            manage_offloads: true,
            unlisted_clients: UnlistedClients::default(),
            to_gateway: ToGateway::default(),
            other_vlans: OtherVlans::default(),
            boot: Boot::default(),
            icmp_echo: true,
            clients: Vec::new(),
            dns: Dns::default(),
            dhcp_servers: Vec::new(),
            nat64: Vec::new(),
            limits: Limits::default(),
            warm_up: Seconds(0),
            tenant: None,
            region: None,
            choice: Choice::default(),
            services: Vec::new(),
            maps: MapSizes::default(),
            paths: Paths::default(),
            metrics: Metrics::default(),
            source: KeyLines::default(),
        }
    }
}

impl Default for Dns {
    fn default() -> Self {
        Self {
            resolvers: Vec::new(),
            unlisted: DnsUnlisted::default(),
            resolve: true,
            allow_private: Vec::new(),
            ttl: Ttl::default(),
        }
    }
}

impl Default for Ttl {
    fn default() -> Self {
        Self { min: Seconds(60), max: Seconds(86_400), grace: Seconds(30) }
    }
}
