//! Particulars of an address family: its link scope, and the flows that its ICMP errors quote.

use crate::{
    abi::{Address, FlowKey, V4, V6},
    packet::{Datagram, IGMP, Network as _, Packet, Quoted, quoted_v4, quoted_v6},
    scratch::Family,
};

/// Address family with its link scope and ICMP quotes.
pub(super) trait Links: Family {
    /// Whether a datagram has link scope: it is for hosts of this link, or for its router as such,
    /// and a router never forwards it. `is_gateway` says whether the destination is the gateway's.
    fn is_link_scope(datagram: &Datagram<Self>, is_gateway: impl FnOnce() -> bool) -> bool;
    /// Returns the key of the flow that an ICMP error from a client quotes.
    fn quoted_by_client(
        packet: &impl Packet,
        datagram: &Datagram<Self>,
        zone: u16,
    ) -> Option<FlowKey<Self>>;
    /// Returns the key of the flow that an ICMP error to a client quotes.
    fn quoted_to_client(
        packet: &impl Packet,
        datagram: &Datagram<Self>,
        zone: u16,
    ) -> Option<FlowKey<Self>>;
}

impl Links for V4 {
    #[inline(always)]
    fn is_link_scope(datagram: &Datagram<Self>, _: impl FnOnce() -> bool) -> bool {
        let destination = u32::from_be(datagram.destination.0);
        // Limited broadcast (RFC 919) and the local network control block (RFC 5771).
        destination == u32::MAX
            || destination >> 8 == 0x00e0_0000
            // IGMPv1 and v2 report to the group itself, with time to live 1 (RFC 2236).
            || datagram.protocol == IGMP && datagram.hop_limit == 1 && destination >> 28 == 14
    }

    #[inline(always)]
    fn quoted_by_client(
        packet: &impl Packet,
        datagram: &Datagram<Self>,
        zone: u16,
    ) -> Option<FlowKey<Self>> {
        let (offset, length) = (datagram.transport_offset, datagram.transport_length);
        let quoted = quoted_v4(packet, datagram.transport.flags, offset, length)?;
        by_client(&quoted, datagram, zone)
    }

    #[inline(always)]
    fn quoted_to_client(
        packet: &impl Packet,
        datagram: &Datagram<Self>,
        zone: u16,
    ) -> Option<FlowKey<Self>> {
        let (offset, length) = (datagram.transport_offset, datagram.transport_length);
        let quoted = quoted_v4(packet, datagram.transport.flags, offset, length)?;
        to_client(&quoted, datagram.destination, zone)
    }
}

impl Links for V6 {
    #[inline(always)]
    fn is_link_scope(datagram: &Datagram<Self>, is_gateway: impl FnOnce() -> bool) -> bool {
        let first = u32::from_be(datagram.destination.0[0]) >> 16;
        // Interface-local and link-local multicast, whatever its flags (RFC 4291 section 2.7).
        if matches!(first & 0xff0f, 0xff01 | 0xff02) {
            return true;
        }
        let kind = datagram.transport.flags;
        if datagram.protocol != Self::ICMP {
            return false;
        }
        // MLDv1 reports to the group itself, with hop limit 1 (RFC 2710 section 3).
        let report = matches!(kind, 131 | 132) && datagram.hop_limit == 1 && first >> 8 == 0xff;
        // Router and neighbour discovery: 255 proves that no router passed it (RFC 4861).
        let discovery = matches!(kind, 133..=136) && datagram.hop_limit == 255;
        report || discovery && (datagram.destination.is_link_local() || is_gateway())
    }

    #[inline(always)]
    fn quoted_by_client(
        packet: &impl Packet,
        datagram: &Datagram<Self>,
        zone: u16,
    ) -> Option<FlowKey<Self>> {
        let (offset, length) = (datagram.transport_offset, datagram.transport_length);
        let quoted = quoted_v6(packet, datagram.transport.flags, offset, length)?;
        by_client(&quoted, datagram, zone)
    }

    #[inline(always)]
    fn quoted_to_client(
        packet: &impl Packet,
        datagram: &Datagram<Self>,
        zone: u16,
    ) -> Option<FlowKey<Self>> {
        let (offset, length) = (datagram.transport_offset, datagram.transport_length);
        let quoted = quoted_v6(packet, datagram.transport.flags, offset, length)?;
        to_client(&quoted, datagram.destination, zone)
    }
}

/// Returns the key of the flow that an error from a client quotes, if the receiver of the error has
/// sent the quoted datagram to the client: to any other receiver, the error would carry the quoted
/// octets past the policy.
#[inline(always)]
fn by_client<A: Family>(
    quoted: &Quoted<A>,
    datagram: &Datagram<A>,
    zone: u16,
) -> Option<FlowKey<A>> {
    let client = datagram.source;
    let tells = quoted.destination == client && quoted.source == datagram.destination;
    tells.then_some(FlowKey {
        zone,
        protocol: quoted.protocol,
        reserved: 0,
        client_port: quoted.destination_port,
        remote_port: quoted.source_port,
        client,
        remote: quoted.source,
    })
}

/// Returns the key of the flow that an error to a client quotes, if the client has sent the quoted
/// datagram.
#[inline(always)]
fn to_client<A: Family>(quoted: &Quoted<A>, client: A, zone: u16) -> Option<FlowKey<A>> {
    (quoted.source == client).then_some(FlowKey {
        zone,
        protocol: quoted.protocol,
        reserved: 0,
        client_port: quoted.source_port,
        remote_port: quoted.destination_port,
        client,
        remote: quoted.destination,
    })
}
