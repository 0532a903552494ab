//! Defines the types of events, each a line of JSON for `events` and followers of the stream.

use std::net::IpAddr;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// Event, sent as one line of JSON.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Event {
    /// Time of the event.
    pub time: Timestamp,
    /// Kind of the event, with its details.
    #[serde(flatten)]
    pub what: What,
}

/// Kind of an event, with its details.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "lowercase")]
pub enum What {
    /// Packet that was denied, or passed although denied by policy since its group is audited.
    Denied(Denied),
    /// DNS answer that led a name to addresses.
    Learned(Learned),
    /// DNS answer with addresses for which there was no room.
    Full(Learned),
    /// DNS answer that differs from earlier ones: the addresses that those gave are taken back.
    #[serde(rename = "answer_conflict")]
    Conflict(Learned),
    /// Flow that was opened.
    Opened(Flow),
    /// Flow that has ended.
    Closed(Closed),
    /// Gap in the events of a follower that was too slow.
    Lost {
        /// Number of lost events.
        count: u64,
    },
}

/// Zone in which a packet came in or went out.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ZoneName {
    /// Interface; `None` if the zone has none any more.
    pub interface: Option<String>,
    /// VLAN id, 0 for untagged frames.
    pub vlan: u16,
}

/// Denied packet.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Denied {
    /// Client; `None` for a frame without an IP datagram.
    pub client: Option<IpAddr>,
    /// Remote address, also of a packet that came from there.
    pub destination: Option<IpAddr>,
    /// `tcp`, `udp`, `icmp`, `icmpv6`, or a number.
    pub protocol: String,
    /// Remote port, of TCP and UDP.
    pub port: Option<u16>,
    /// Port of the client, of TCP and UDP.
    pub client_port: Option<u16>,
    /// Reason of the verdict: [`intune_filter_ebpf::abi::Reason::as_str`].
    pub reason: String,
    /// Name that a denied DNS query asks for; of another packet, the name that led to the destination
    /// last.
    pub name: Option<String>,
    /// Type of record that a denied DNS query asks for, such as `AAAA`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub qtype: Option<String>,
    /// Nearest service: that of the destination, although for another group or other ports.
    pub service: Option<String>,
    /// Group of the client.
    pub group: Option<String>,
    /// Whether the packet passed all the same, since its group is audited.
    pub audited: bool,
    /// Whether the packet was on its way to the client.
    pub inbound: bool,
    /// Zone of the packet.
    #[serde(flatten)]
    pub place: ZoneName,
}

/// Name that was resolved.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Learned {
    /// Name of the question.
    pub name: String,
    /// Addresses that the name led to.
    pub addresses: Vec<IpAddr>,
    /// Names that its service records led to.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub targets: Vec<String>,
    /// Services with a rule for the name.
    pub services: Vec<String>,
    /// Client that sent the query.
    pub client: IpAddr,
    /// Seconds until the first of the addresses and targets is forgotten.
    pub expires_in_s: u64,
}

/// Flow of a client.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Flow {
    /// Address of the client.
    pub client: IpAddr,
    /// Port of the client, or identifier of an echo.
    pub client_port: u16,
    /// Remote address.
    pub destination: IpAddr,
    /// `tcp`, `udp`, `icmp` or `icmpv6`.
    pub protocol: String,
    /// Remote port, of TCP and UDP.
    pub port: Option<u16>,
    /// Most recent name that led to the destination.
    pub name: Option<String>,
    /// Service that allows the flow.
    pub service: Option<String>,
    /// Group of the client.
    pub group: Option<String>,
    /// Whether policy would have denied the flow, which passes since its group is audited.
    pub audited: bool,
    /// Whether the remote side opened the flow.
    pub inbound: bool,
    /// Zone of the flow.
    #[serde(flatten)]
    pub place: ZoneName,
}

/// Flow that has ended.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Closed {
    /// Ended flow.
    #[serde(flatten)]
    pub flow: Flow,
    /// Traffic of the flow up to its end.
    #[serde(flatten)]
    pub traffic: Traffic,
    /// Ending of the flow: [`intune_filter_ebpf::abi::Ending::as_str`].
    pub ending: String,
    /// Seconds from the flow's opening to its last counted packet.
    pub duration_s: f64,
}

/// Traffic of a flow, in octets of layer 3.
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
    /// Returns the client that the event concerns.
    #[must_use]
    pub const fn client(&self) -> Option<IpAddr> {
        match self {
            Self::Denied(denied) => denied.client,
            Self::Learned(learned) | Self::Full(learned) | Self::Conflict(learned) => {
                Some(learned.client)
            }
            Self::Opened(flow) => Some(flow.client),
            Self::Closed(closed) => Some(closed.flow.client),
            Self::Lost { .. } => None,
        }
    }
}
