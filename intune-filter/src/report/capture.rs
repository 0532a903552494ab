//! Defines the JSON of `explain --pcap`.

use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use super::Judged;

/// Result of `explain --pcap`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct CaptureExplained {
    /// Number of the contract, [`super::SCHEMA`].
    pub schema: u32,
    /// Policy that judged.
    pub judged: Judged,
    /// Edition of the catalogue.
    pub edition: String,
    /// Notes about the verdicts and their sources, for people.
    pub notes: Vec<String>,
    /// Verdicts over the packets.
    #[serde(flatten)]
    pub verdicts: CapturedVerdicts,
}

/// Verdicts over the packets of a capture.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct CapturedVerdicts {
    /// Packets of the capture.
    pub packets: u64,
    /// Octets that were captured.
    pub octets: u64,
    /// Milliseconds from the first packet to the last.
    pub duration_ms: u64,
    /// Packets that were judged; one between two zones counts on both sides.
    pub totals: CapturedTotals,
    /// Packets of no client, or within one network.
    pub outside: u64,
    /// Frames that are no IP.
    pub other: u64,
    /// Packets that were not captured whole: what is missing was taken for zeros.
    pub cut: u64,
    /// Segments of DNS over TCP that were not read: messages of several segments teach nothing here.
    pub segments: u64,
    /// Flows, addresses and the like that were forgotten for want of room.
    pub forgotten: u64,
    /// Packets without a row, for want of room.
    pub left_out: u64,
    /// Traffic by client, destination, port and verdict, the denied first.
    pub traffic: Vec<CapturedTraffic>,
}

/// Numbers of packets by verdict.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct CapturedTotals {
    /// Packets that pass.
    pub allowed: u64,
    /// Packets that pass only because of an audit or the warm-up.
    pub audited: u64,
    /// Packets that are denied.
    pub denied: u64,
}

/// Packets between a client and one destination, with one verdict.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CapturedTraffic {
    /// Address of the client.
    pub client: IpAddr,
    /// Group of the client.
    pub group: Option<String>,
    /// Name that led to the other end, or that the client asked for.
    pub name: Option<String>,
    /// Address of the other end, if no name is known.
    pub address: Option<IpAddr>,
    /// Protocol: a word, or its number.
    pub protocol: String,
    /// Port of the destination.
    pub port: Option<u16>,
    /// Whether the packets are to the client.
    pub to_client: bool,
    /// `allow` or `deny`: what happens.
    pub verdict: String,
    /// `allow` or `deny`: what would happen without audit and warm-up.
    pub policy_verdict: String,
    /// Whether the packets pass only because of an audit or the warm-up.
    pub audited: bool,
    /// Reason of the first packet's verdict.
    pub reason: String,
    /// Rule that allows the first packet, or is nearest.
    pub rule: Option<String>,
    /// Number of packets.
    pub packets: u64,
    /// Their octets.
    pub octets: u64,
    /// Milliseconds from the capture's first packet to the first of these.
    pub first_ms: u64,
    /// Milliseconds to the last of these.
    pub last_ms: u64,
}
