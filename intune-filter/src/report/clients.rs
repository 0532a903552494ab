//! Defines the JSON of `clients`, an array.

use std::net::IpAddr;

use serde::Serialize;

use crate::events::{Traffic, ZoneName};

/// Client that has a flow or a denial.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Client {
    /// Address of the client.
    pub client: IpAddr,
    /// Zone of the client.
    #[serde(flatten)]
    pub place: ZoneName,
    /// Group of the client.
    pub group: Option<String>,
    /// Number of live flows.
    pub flows: u64,
    /// Traffic of the live flows.
    #[serde(flatten)]
    pub traffic: Traffic,
    /// Reported denials since the daemon's start; `None` without a daemon.
    pub denied: Option<u64>,
    /// Denials of an audited group, whose packets passed; `None` without a daemon.
    pub audited: Option<u64>,
    /// Seconds since the last packet of a flow, or the last denial.
    pub last_seen_s: u64,
    /// Last reported denial.
    pub last_denied: Option<LastDenied>,
}

/// Last reported denial of a client.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct LastDenied {
    /// Reason of the denial: [`intune_filter_ebpf::abi::Reason::as_str`].
    pub reason: String,
    /// Destination of the denied packet.
    pub destination: Option<IpAddr>,
    /// Destination port, of TCP and UDP.
    pub port: Option<u16>,
    /// IP protocol.
    pub protocol: String,
    /// Most recent name that led to the destination.
    pub name: Option<String>,
    /// Seconds since the denial.
    pub ago_s: u64,
}
