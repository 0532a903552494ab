//! The packets whose cost is measured.

use std::{fmt, net::IpAddr};

use intune_filter_bench_ebpf::FlowCycle;

use super::load::{Load, PORT, REJECTED};
use intune_filter_tests::prog_test_run::{Datagram, Flags};

/// The address family of packets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Family {
    /// IPv4.
    V4,
    /// IPv6.
    V6,
}

impl fmt::Display for Family {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if *self == Self::V4 { "IPv4" } else { "IPv6" })
    }
}

/// Treatment of packets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Packets of known flows.
    Established,
    /// Each opens a flow to a network of the policy.
    ToNetwork,
    /// Each opens a flow to an address that a name has led to.
    ToName,
    /// Dropped packets: no rule has their destinations.
    Denied,
    /// Dropped packets whose senders are told.
    Rejected,
}

impl Kind {
    /// Destinations in the tables that packets of the kind can go to.
    #[must_use]
    pub const fn destinations(self, load: &Load) -> u32 {
        match self {
            Self::ToName => load.hosts,
            Self::Established | Self::ToNetwork | Self::Denied | Self::Rejected => load.nets,
        }
    }
}

impl Kind {
    /// Whether packets of the kind pass.
    #[must_use]
    pub const fn passes(self) -> bool {
        matches!(self, Self::Established | Self::ToNetwork | Self::ToName)
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Established => "known flow",
            Self::ToNetwork => "new flow to a CIDR",
            Self::ToName => "new flow to a learned address",
            Self::Denied => "denied",
            Self::Rejected => "rejected",
        })
    }
}

/// Packets of a test run.
#[derive(Clone, Debug)]
pub struct Packets {
    /// Treatment of the packets.
    pub kind: Kind,
    /// Their family.
    pub family: Family,
    /// Differences between the packets.
    pub cycle: FlowCycle,
    /// The first of them.
    pub frame: Vec<u8>,
    back: Datagram,
}

impl Packets {
    /// Packets of `flows` flows, with 0 of ever new ones, to `remotes` destinations.
    #[must_use]
    pub fn new(kind: Kind, family: Family, flows: u32, remotes: u32) -> Self {
        let cycle = FlowCycle {
            flows: if flows == 0 { FlowCycle::FLOWS } else { flows },
            remotes,
            v6: u32::from(family == Family::V6),
            ..FlowCycle::default()
        };
        let host = if kind == Kind::Rejected { REJECTED } else { FlowCycle::FIRST_CLIENT };
        let (client, remote): (IpAddr, IpAddr) = match family {
            Family::V4 => ([10, 20, 0, host].into(), [192, 0, 2, 1].into()),
            Family::V6 => {
                let client = [0xfd00, 0x20, 0, 0, 0, 0, 0, u16::from(host)];
                (client.into(), [0x2001, 0xdb8, 0xffff, 0, 0, 0, 0, 1].into())
            }
        };
        let flags = if kind == Kind::Established { Flags::ACK } else { Flags::SYN };
        let frame = Datagram::new(client, remote).tcp(0x4000, PORT, flags).frame();
        Self { kind, family, cycle, frame, back: Datagram::new(remote, client) }
    }

    /// The packets on the way back.
    #[must_use]
    pub fn answered(mut self) -> Self {
        self.cycle.to_client = 1;
        self.frame = self.back.clone().tcp(PORT, 0x4000, Flags::ACK).frame();
        self
    }
}
