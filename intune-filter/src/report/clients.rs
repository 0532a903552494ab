//! `clients`: an element each.

use std::net::IpAddr;

use serde::Serialize;

use crate::events::{Place, Traffic};

/// A client that has a flow or was denied something.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Client {
    /// Its address.
    pub client: IpAddr,
    /// Where it is.
    #[serde(flatten)]
    pub place: Place,
    /// Its group.
    pub group: Option<String>,
    /// How many of its flows are alive.
    pub flows: u64,
    /// What those have carried.
    #[serde(flatten)]
    pub traffic: Traffic,
    /// Reported denials since the daemon's start; `None` without a daemon.
    pub denied: Option<u64>,
    /// How many of them passed, since the group is audited.
    pub audited: Option<u64>,
    /// Seconds since it was last heard of.
    pub last_seen_s: u64,
    /// The denial that was reported last.
    pub last_denied: Option<LastDenied>,
}

/// The denial of a client's that was reported last.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct LastDenied {
    /// [`intune_filter_ebpf::abi::Reason::as_str`].
    pub reason: String,
    /// Where it was to go.
    pub destination: Option<IpAddr>,
    /// Its port, of TCP and UDP.
    pub port: Option<u16>,
    /// The protocol.
    pub protocol: String,
    /// The name that led to the destination last.
    pub name: Option<String>,
    /// Seconds ago.
    pub ago_s: u64,
}
