//! The configuration's values. Every key has its default here, and `check` prints them all.

use std::{
    net::{IpAddr, Ipv4Addr, SocketAddr},
    path::PathBuf,
};

use ipnet::{IpNet, Ipv6Net};
use serde::{Deserialize, Deserializer, Serialize, de};

use super::{Limits, Seconds, Source, ToGateway, choice::choice};
use crate::{
    pattern::Pattern,
    ports::{PerProtocol, PortRange},
};

/// A configuration that has been read and checked against itself.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Config {
    /// The interfaces on the LAN side.
    pub interfaces: Vec<Interface>,
    /// Whether the daemon turns VLAN tag stripping off where a zone has a tag.
    pub manage_offloads: bool,
    /// What becomes of sources in no group.
    pub unlisted_clients: UnlistedClients,
    /// What becomes of packets to the gateway itself.
    pub to_gateway: ToGateway,
    /// What clients may do before the programs are attached.
    pub boot: Boot,
    /// Whether clients may ping the destinations that they may reach.
    pub icmp_echo: bool,
    /// The client groups.
    pub clients: Vec<ClientGroup>,
    /// Name resolution.
    pub dns: Dns,
    /// DHCP servers that clients may address directly, beside the gateway.
    pub dhcp_servers: Vec<IpAddr>,
    /// NAT64 prefixes under which IPv4 networks are reached too.
    pub nat64: Vec<Ipv6Net>,
    /// What one client may begin in a time.
    pub limits: Limits,
    /// How long after a start without learned addresses unknown destinations are audited instead of
    /// denied; zero is off.
    pub warm_up: Seconds,
    /// The tenant's location, such as `AMSUB0502`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tenant: Option<String>,
    /// The region whose names are used; `all` unless a tenant is given.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub region: Option<Region>,
    /// The site's own services, and overrides of built-in ones.
    pub services: Vec<SiteService>,
    /// Sizes of the maps that the kernel fills.
    pub maps: Maps,
    /// Where things are.
    pub paths: Paths,
    /// The metrics endpoint.
    pub metrics: Metrics,
    /// The file, for errors that are found later.
    #[serde(skip)]
    pub source: Source,
}

choice! {
    /// Where the program runs that judges packets.
    pub enum Mode {
        /// Native XDP if the driver has it, else generic.
        #[default]
        Auto = "auto",
        /// XDP in the driver.
        Native = "native",
        /// XDP after the driver.
        Generic = "generic",
        /// TC ingress.
        Tc = "tc",
    }
}

choice! {
    /// What becomes of sources in no group.
    pub enum UnlistedClients {
        /// They are denied: else a device escapes by changing its address.
        #[default]
        Deny = "deny",
        /// They pass, as if exempt.
        Allow = "allow",
    }
}

choice! {
    /// What clients may do before the programs are attached.
    pub enum Boot {
        /// Nothing.
        Closed = "closed",
        /// Everything.
        #[default]
        Open = "open",
    }
}

choice! {
    /// What becomes of a group's denied packets.
    pub enum GroupMode {
        /// They are denied.
        #[default]
        Enforce = "enforce",
        /// They are counted and pass.
        Audit = "audit",
        /// Nothing is judged.
        Exempt = "exempt",
    }
}

choice! {
    /// How a packet is denied.
    pub enum OnDeny {
        /// Silently.
        Drop = "drop",
        /// With a TCP reset or an ICMP error.
        #[default]
        Reject = "reject",
    }
}

choice! {
    /// What becomes of packets to a client that answer nothing.
    pub enum Inbound {
        /// They are denied.
        #[default]
        Deny = "deny",
        /// They pass.
        Allow = "allow",
    }
}

choice! {
    /// What becomes of a query for a name of no rule.
    pub enum DnsUnlisted {
        /// It is answered REFUSED.
        #[default]
        Refuse = "refuse",
        /// It is forwarded; its answer teaches nothing. Leaves DNS tunnelling open.
        Forward = "forward",
        /// It is dropped.
        Drop = "drop",
    }
}

choice! {
    /// A region of the service, or all of them.
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

/// An interface on the LAN side.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Interface {
    /// Its name.
    pub name: String,
    /// Where the program runs.
    pub mode: Mode,
    /// The tags that are judged, 0 for untagged frames; empty if the interface has none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub vlans: Vec<u16>,
}

/// Clients that are treated alike.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClientGroup {
    /// Its name.
    pub name: String,
    /// The interface, or `INTERFACE.VLAN`, that it is behind; every zone if absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub on: Option<String>,
    /// The clients' addresses.
    pub networks: Vec<IpNet>,
    /// Services and sets of services that the group may reach.
    pub services: Vec<String>,
    /// What becomes of its denied packets.
    pub mode: GroupMode,
    /// How they are denied.
    pub on_deny: OnDeny,
    /// What becomes of packets to a client that answer nothing.
    pub inbound: Inbound,
    /// Devices behind one address of the group, from 1: its limits are that many times as large.
    pub devices_per_address: u32,
}

/// Name resolution.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Dns {
    /// The resolvers that clients may ask and whose answers are learned from.
    pub resolvers: Vec<IpAddr>,
    /// What becomes of queries for names of no rule.
    pub unlisted: DnsUnlisted,
    /// Whether the daemon resolves exact names itself, ahead of the clients.
    pub resolve: bool,
    /// Prefixes that answers may contain although they are private.
    pub allow_private: Vec<IpNet>,
    /// How long a learned address is kept.
    pub ttl: Ttl,
}

/// Bounds on how long a learned address is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ttl {
    /// At least this long.
    pub min: Seconds,
    /// At most this long.
    pub max: Seconds,
    /// And then this long on top.
    pub grace: Seconds,
}

/// A service of the site's own, or an override of a built-in one. See [`crate::policy::services`]
/// for what an override means.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SiteService {
    /// Its id; an override names a built-in service.
    pub id: String,
    /// What it is called.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub title: Option<String>,
    /// What it consists of, if it has one rule.
    #[serde(flatten)]
    pub parts: Parts,
    /// Its rules, if they are written one by one.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub rules: Vec<SiteRule>,
}

/// A rule of a [`SiteService`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SiteRule {
    /// Its id, unique in its service.
    pub id: String,
    /// What it consists of.
    #[serde(flatten)]
    pub parts: Parts,
}

/// Destinations and ports; `None` if the file does not name them.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Parts {
    /// Host names.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fqdns: Option<Vec<Pattern>>,
    /// Networks.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cidrs: Option<Vec<IpNet>>,
    /// Ports of each protocol.
    #[serde(flatten)]
    pub ports: PerProtocol<Option<Vec<PortRange>>>,
}

impl Parts {
    /// Whether the file names none of them.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.fqdns.is_none() && self.cidrs.is_none() && self.ports.all(Option::is_none)
    }
}

/// Sizes of the maps that the kernel fills, in entries.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Maps {
    /// Learned IPv4 addresses.
    pub hosts4: u32,
    /// Learned IPv6 addresses.
    pub hosts6: u32,
    /// IPv4 flows.
    pub flows4: u32,
    /// IPv6 flows.
    pub flows6: u32,
    /// Unanswered flows, of each family.
    pub new_flows: u32,
    /// DNS queries on their way.
    pub pending: u32,
    /// Clients whose limits are kept.
    pub clients: u32,
    /// Datagrams that come in fragments.
    pub fragments: u32,
    /// Octets of the ring buffer.
    pub events: u32,
}

impl Default for Maps {
    fn default() -> Self {
        Self {
            hosts4: 1 << 17,
            hosts6: 1 << 16,
            flows4: 3 << 15,
            flows6: 1 << 15,
            new_flows: 1 << 14,
            pending: 1 << 14,
            clients: 1 << 14,
            fragments: 1 << 13,
            events: 1 << 20,
        }
    }
}

/// Where things are.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Paths {
    /// What outlives a reboot.
    pub state_dir: PathBuf,
    /// The control socket's directory.
    pub runtime_dir: PathBuf,
    /// The pins' directory, on a BPF file system.
    pub pin_dir: PathBuf,
    /// A catalogue that replaces the built-in one.
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

/// The metrics endpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Metrics {
    /// Where it listens.
    #[serde(serialize_with = "off_or_address", deserialize_with = "address_or_off")]
    pub listen: Option<SocketAddr>,
}

impl Default for Metrics {
    fn default() -> Self {
        Self { listen: Some(SocketAddr::from((Ipv4Addr::LOCALHOST, 9469))) }
    }
}

#[expect(clippy::ref_option, reason = "serde passes a reference to the field")]
fn off_or_address<S: serde::Serializer>(
    listen: &Option<SocketAddr>,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    match listen {
        Some(address) => serializer.collect_str(address),
        None => serializer.serialize_str("off"),
    }
}

fn address_or_off<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<SocketAddr>, D::Error> {
    match &*String::deserialize(deserializer)? {
        "off" => Ok(None),
        address => address.parse().map(Some).map_err(de::Error::custom),
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
            services: Vec::new(),
            maps: Maps::default(),
            paths: Paths::default(),
            metrics: Metrics::default(),
            source: Source::default(),
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
