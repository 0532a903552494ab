//! Events as types: a line of JSON each, for `events` and whoever follows.

use std::net::IpAddr;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// Something that has happened. One line of JSON on the way to whoever asked.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Event {
    /// When.
    pub time: Timestamp,
    /// What.
    #[serde(flatten)]
    pub what: What,
}

/// What has happened.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "lowercase")]
pub enum What {
    /// A packet was denied, or would have been.
    Denied(Denied),
    /// A DNS answer has led a name to addresses.
    Learned(Learned),
    /// There was no room for addresses of a DNS answer, or for some of them.
    Full(Learned),
    /// A flow was opened.
    Opened(Flow),
    /// A flow has ended.
    Closed(Closed),
    /// Whoever follows was too slow for this many events.
    Lost {
        /// How many.
        count: u64,
    },
}

/// Where a packet came in or went out: a zone.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Place {
    /// The interface; none if the zone has none any more.
    pub interface: Option<String>,
    /// The VLAN id, 0 for untagged frames.
    pub vlan: u16,
}

/// A denied packet.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Denied {
    /// The client; none of a frame that is no datagram.
    pub client: Option<IpAddr>,
    /// The far end, also of a packet that came from it.
    pub destination: Option<IpAddr>,
    /// `tcp`, `udp`, `icmp`, `icmpv6`, or a number.
    pub protocol: String,
    /// The far end's port, of TCP and UDP.
    pub port: Option<u16>,
    /// The client's port, of TCP and UDP.
    pub client_port: Option<u16>,
    /// [`intune_filter_ebpf::abi::Reason::as_str`].
    pub reason: String,
    /// The name that led to the destination last.
    pub name: Option<String>,
    /// The service that has the destination, but for another group or other ports.
    pub service: Option<String>,
    /// The client's group.
    pub group: Option<String>,
    /// Whether it passed all the same, since its group is audited.
    pub audited: bool,
    /// Whether it was on its way to the client.
    pub inbound: bool,
    /// Where it was seen.
    #[serde(flatten)]
    pub place: Place,
}

/// A name that was resolved.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Learned {
    /// The name.
    pub name: String,
    /// Where it led to.
    pub addresses: Vec<IpAddr>,
    /// The services that have the name.
    pub services: Vec<String>,
    /// Who has asked.
    pub client: IpAddr,
    /// After how many seconds the first of the addresses is forgotten.
    pub expires_in_s: u64,
}

/// A flow.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Flow {
    /// The client.
    pub client: IpAddr,
    /// The client's port, or an echo's identifier.
    pub client_port: u16,
    /// The far end.
    pub destination: IpAddr,
    /// `tcp`, `udp`, `icmp` or `icmpv6`.
    pub protocol: String,
    /// The far end's port, of TCP and UDP.
    pub port: Option<u16>,
    /// The name that led to the destination last.
    pub name: Option<String>,
    /// The service that allows it.
    pub service: Option<String>,
    /// The client's group.
    pub group: Option<String>,
    /// Whether policy would have denied it, and its group is audited.
    pub audited: bool,
    /// Whether the far end has opened it.
    pub inbound: bool,
    /// Where it was seen.
    #[serde(flatten)]
    pub place: Place,
}

/// A flow that has ended.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Closed {
    /// The flow.
    #[serde(flatten)]
    pub flow: Flow,
    /// What went through it until then.
    #[serde(flatten)]
    pub traffic: Traffic,
    /// How it has ended: [`intune_filter_ebpf::abi::Ending::as_str`].
    pub ending: String,
    /// How long it lasted, in seconds: to the last packet that was counted.
    pub duration_s: f64,
}

/// What a flow has carried, in octets of layer 3.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Traffic {
    /// Packets from the client.
    pub packets_out: u64,
    /// Octets from the client.
    pub bytes_out: u64,
    /// Packets to the client.
    pub packets_in: u64,
    /// Octets to the client.
    pub bytes_in: u64,
}

impl From<&intune_filter_ebpf::abi::Flow> for Traffic {
    fn from(flow: &intune_filter_ebpf::abi::Flow) -> Self {
        Self {
            packets_out: flow.client_packets,
            bytes_out: flow.client_bytes,
            packets_in: flow.remote_packets,
            bytes_in: flow.remote_bytes,
        }
    }
}

impl std::ops::AddAssign for Traffic {
    fn add_assign(&mut self, more: Self) {
        self.packets_out += more.packets_out;
        self.bytes_out += more.bytes_out;
        self.packets_in += more.packets_in;
        self.bytes_in += more.bytes_in;
    }
}

impl What {
    /// The client that it is about.
    #[must_use]
    pub const fn client(&self) -> Option<IpAddr> {
        match self {
            Self::Denied(denied) => denied.client,
            Self::Learned(learned) | Self::Full(learned) => Some(learned.client),
            Self::Opened(flow) => Some(flow.client),
            Self::Closed(closed) => Some(closed.flow.client),
            Self::Lost { .. } => None,
        }
    }
}
