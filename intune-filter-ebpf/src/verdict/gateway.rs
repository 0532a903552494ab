//! Packets to the gateway itself: the addresses that a client reaches, and the sources that are
//! believed.
//!
//! A client reaches the gateway's addresses on its own network; the gateway's other addresses, such
//! as the one on the WAN, are judged by the policy like any destination. A map that userspace keeps
//! tells the two apart; for an address that is not in the map yet, the routes do.
//!
//! A packet to a socket of the gateway has to come from the device that the routes to its source
//! lead to: a resolver on the gateway accepts answers from any sender that uses its server's
//! address.

use super::{
    Run,
    sender::{self, ask},
};
use crate::{
    abi::{
        Address as _, GATEWAY_PASS, GATEWAY_PORTS, SERVER_RESOLVER, V4, V6, has_ports, port_index,
        sender as bits,
    },
    datapath::{Datapath, Location, Route, Routes},
    packet::{Datagram, Fragment, Packet, UDP},
    scratch::{Family, Scratch},
};

impl<W: Datapath, P: Packet> Run<'_, W, P> {
    /// Returns the location of the destination, by the map of own addresses.
    #[inline(always)]
    pub(super) fn own_location(&self) -> Location {
        self.datapath.own_location(self.scratch)
    }

    /// Whether the gateway accepts packets to its address on the client's network (`to_gateway`).
    #[inline(always)]
    pub(super) fn is_let_in<A: Family>(&self, datagram: &Datagram<A>) -> bool {
        let Some(settings) = self.settings() else {
            return false;
        };
        if settings.to_gateway != GATEWAY_PORTS {
            return settings.to_gateway == GATEWAY_PASS;
        }
        let port = u16::from_be(datagram.transport.destination_port);
        datagram.fragment != Fragment::Later
            && has_ports(datagram.protocol)
            && self.datapath.is_gateway_port(self.set(), port_index(datagram.protocol, port))
    }

    /// Whether a packet to the gateway has a source that its interface cannot have. The unspecified
    /// source and DHCP requests are never forged: their sender has no address that could be
    /// checked.
    #[inline(always)]
    pub(super) fn is_forged<A: Family>(&self, datagram: &Datagram<A>) -> bool {
        !datagram.source.is_unspecified()
            && !is_dhcp(datagram)
            && self.datapath.is_forged(self.scratch)
    }
}

/// Whether the datagram is for a DHCP server (RFC 2131): a client that has come from elsewhere
/// still uses the address that it had there. Over IPv6, clients use their link-local addresses.
#[inline(always)]
fn is_dhcp<A: Family>(datagram: &Datagram<A>) -> bool {
    const SERVER: u16 = 67_u16.to_be();
    const CLIENT: u16 = 68_u16.to_be();
    let ports = (datagram.transport.source_port, datagram.transport.destination_port);
    A::BITS == V4::BITS
        && datagram.protocol == UDP
        && datagram.fragment != Fragment::Later
        && ports == (CLIENT, SERVER)
}

/// Returns the location of the destination of the packet in the working memory, by the map of own
/// addresses.
#[inline(always)]
pub fn own_location<W: Datapath>(scratch: &Scratch, datapath: W) -> Location {
    // SAFETY: the scratch memory is this run's alone.
    let destination = unsafe { &*scratch.headers.destination.get() };
    if !datapath.is_own(destination) {
        return Location::ELSEWHERE;
    }
    let device = datapath.device(scratch.ctx.zone.get() as u16);
    let here = device != 0 && datapath.is_own_on(scratch, device, destination);
    if here { Location::HERE } else { Location::APART }
}

/// Returns the source of a route lookup for packets of a client. The kernel forwards nothing from a
/// link-local IPv6 source, and so tells no route for one.
#[inline(always)]
pub(super) fn routable(client: V6) -> V6 {
    if !is_mapped(client) && client.is_of_link() { V6::default() } else { client }
}

#[inline(always)]
const fn is_mapped(V6([a, b, c, _]): V6) -> bool {
    a | b == 0 && c == 0xffff_u32.to_be()
}

/// Returns the interface to look up routes for: the device on which the stack receives the zone's
/// packets or, if unknown, the interface that the packet came in on.
#[inline(always)]
pub(super) fn interface(scratch: &Scratch, device: u32) -> u32 {
    if device == 0 { scratch.ctx.ifindex.get() as u32 } else { device }
}

/// Returns the location of the destination of the packet in the working memory, by the routes.
///
/// The full lookup says "not forwarded" both for local destinations and for those without a route.
/// Where the tables local and main are separate, main has a unicast route for the former (the
/// subnet's or the default route) and none for the latter, so that a packet that policy routing by
/// a mark would forward is never taken for a local one. As long as a namespace has no rules of its
/// own, the kernel keeps the local IPv4 routes in the table main, and says "not forwarded" there
/// too. The route back to the client, looked up in the table local, tells that case from the other;
/// then there is no policy routing either, and a destination that is not forwarded is the
/// gateway's.
///
/// The network of a local address is that of its subnet's route, or else that of the route to a
/// neighbouring address.
#[inline(always)]
pub fn routed_location<W: Datapath>(scratch: &Scratch, datapath: W) -> Location {
    // SAFETY: the scratch memory is this run's alone.
    let (source, destination) =
        unsafe { (*scratch.headers.source.get(), *scratch.headers.destination.get()) };
    let device = datapath.device(scratch.ctx.zone.get() as u16);
    let ifindex = interface(scratch, device);
    // SAFETY: as above.
    unsafe { scratch.ctx.route_from.get().write(routable(source)) };
    if ask(scratch, datapath, ifindex, destination, Routes::All) != Route::NOT_FORWARDED {
        return Location::ELSEWHERE;
    }
    let subnet = ask(scratch, datapath, ifindex, destination, Routes::Main);
    if subnet.leads() {
        return subnet_location(subnet, device);
    }
    if !ask(scratch, datapath, ifindex, source, Routes::Local).leads() {
        return Location::ELSEWHERE;
    }
    let V6([a, b, c, d]) = destination;
    // Of the first two neighbours, one at least is neither the network's own address nor its
    // broadcast address, whatever the prefix length; the third is for the case that this one is the
    // gateway's too.
    for flipped in [3_u32, 1, 4] {
        let neighbour = V6([a, b, c, d ^ flipped.to_be()]);
        let subnet = ask(scratch, datapath, ifindex, neighbour, Routes::All);
        if subnet.leads() {
            return subnet_location(subnet, device);
        }
    }
    Location::APART
}

#[inline(always)]
fn subnet_location(subnet: Route, device: u32) -> Location {
    if device != 0 && subnet == Route::to(device) { Location::HERE } else { Location::APART }
}

/// Whether the source of the packet in the working memory is the gateway's own, a resolver's, or
/// one that the routes lead to by another device than the zone's. A source for which the kernel
/// tells no route is not forged.
#[inline(always)]
pub fn is_forged<W: Datapath>(scratch: &Scratch, datapath: W) -> bool {
    // SAFETY: the scratch memory is this run's alone.
    let source = unsafe { &*scratch.headers.source.get() };
    let device = datapath.device(scratch.ctx.zone.get() as u16);
    let of_link = source.is_of_link();
    // Another link may have the same link-local addresses.
    let own = if of_link && !is_mapped(*source) {
        device != 0 && datapath.is_own_on(scratch, device, source)
    } else {
        datapath.is_own(source)
    };
    let set = scratch.ctx.generation.get() as u32 & 1;
    if own || datapath.server(set, source) & SERVER_RESOLVER != 0 {
        return true;
    }
    if of_link || device == 0 {
        return false;
    }
    let told = sender::told(scratch, datapath);
    if told & bits::NOWHERE != 0 {
        // An own address that the map does not have yet. The stack itself drops IPv4 packets from
        // one.
        return !is_mapped(*source)
            && ask(scratch, datapath, device, *source, Routes::Main).leads();
    }
    told & bits::APART != 0
}
