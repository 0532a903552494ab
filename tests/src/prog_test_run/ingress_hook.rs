//! Programs that judge incoming frames, and what those of layer 3 get of a frame.

use anyhow::{Context as _, Result, ensure};
use intune_filter::kernel::Hook;

use super::{datagram::ETHERNET, fate::Fate};

/// Program that judges incoming frames.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IngressHook {
    /// The one at XDP, by test runs: what a driver runs.
    Xdp,
    /// The one at XDP in the network stack, on frames that are sent.
    Generic,
    /// The one at TC: by test runs, and, once attached, on frames that are sent where the kernel
    /// makes no test run.
    Tc,
    /// Those at TC of an interface of layer 3, by test runs over frames without their Ethernet headers:
    /// see [`bare`].
    Layer3,
}

impl IngressHook {
    /// All.
    pub const ALL: [Self; 3] = [Self::Xdp, Self::Generic, Self::Tc];
    /// Programs that test runs suffice for.
    pub const TEST_RUNS: [Self; 2] = [Self::Xdp, Self::Tc];

    /// The hook whose program it is.
    pub(super) const fn of_kernel(self) -> Hook {
        match self {
            Self::Xdp | Self::Generic => Hook::Ingress,
            Self::Tc => Hook::TcIngress,
            Self::Layer3 => Hook::TcIngressL3,
        }
    }

    /// The hook of packets to clients.
    pub(super) const fn to_clients(self) -> Hook {
        if matches!(self, Self::Layer3) { Hook::EgressL3 } else { Hook::Egress }
    }
}

/// Returns a frame without its Ethernet header, as the programs of layer 3 get it.
///
/// A test run always takes an Ethernet header off, for which it takes the first octets whatever they are,
/// has the EtherType from there, and puts the octets back before the program runs. The program therefore
/// gets the whole packet, and for its EtherType the octets 12 and 13: the beginning of an IPv4 source, or
/// the third pair of octets of an IPv6 one. They have to be the frame's EtherType.
pub(super) fn bare(frame: &[u8]) -> Result<&[u8]> {
    let packet = frame.get(ETHERNET..).context("the frame has an Ethernet header")?;
    ensure!(packet.get(12..14) == frame.get(12..14), "the source does not name the EtherType");
    Ok(packet)
}

/// Returns what becomes of a frame with the answer in a frame of its own.
pub(super) fn with_header(frame: &[u8], fate: Fate) -> Fate {
    let Fate::Answered(packet) = fate else { return fate };
    let header = [&frame[6..12], &frame[..6], &frame[12..14]];
    Fate::Answered([&header.concat(), &packet[..]].concat())
}
