//! Packets to the gateway itself: the addresses that a client reaches, and the sources that may send
//! them.
//!
//! A client reaches the addresses of its own network; others, such as the one on the WAN, are
//! judged by the policy like any destination. Which is which a map says that userspace keeps; of
//! an address that the map does not have yet the routes say it.
//!
//! Whatever reaches a socket of the gateway's has to come from where the routes lead back to: a
//! resolver on the gateway takes answers from whoever sends them in its server's name.

use super::Run;
use crate::{
    abi::{
        Address as _, GATEWAY_PASS, GATEWAY_PORTS, SERVER_RESOLVER, V4, V6, has_ports, port_index,
    },
    datapath::{Datapath, Location, Route, Routes},
    packet::{Datagram, Fragment, Packet, UDP},
    scratch::{Family, Scratch},
};

impl<W: Datapath, P: Packet> Run<'_, W, P> {
    /// Location of the destination, by the map.
    #[inline(always)]
    pub(super) fn own_location(&self) -> Location {
        self.datapath.own_location(self.scratch)
    }

    /// Whether the gateway lets in packets for its address on the client's network.
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

    /// Whether what the gateway would take says to come from where it cannot. Who has no address
    /// yet, or asks for one, says nothing that could be believed.
    #[inline(always)]
    pub(super) fn is_forged<A: Family>(&self, datagram: &Datagram<A>) -> bool {
        !datagram.source.is_unspecified()
            && !is_dhcp(datagram)
            && self.datapath.is_forged(self.scratch)
    }
}

/// Whether it is for a DHCP server (RFC 2131): a client that comes from elsewhere still has the
/// address that it had there. Over IPv6 clients use their link-local addresses.
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

/// Location of the destination of the packet in the working memory, by the map of own addresses.
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

#[inline(always)]
const fn is_mapped(V6([a, b, c, _]): V6) -> bool {
    a | b == 0 && c == 0xffff_u32.to_be()
}

/// Route to an address, from the source in the working memory.
#[inline(always)]
fn ask<W: Datapath>(scratch: &Scratch, datapath: W, ifindex: u32, to: V6, routes: Routes) -> Route {
    // SAFETY: the scratch memory is this run's alone.
    unsafe { scratch.ctx.route_to.get().write(to) };
    datapath.route(scratch, ifindex, routes)
}

/// The interface to ask for: the device that the stack has the zone's packets from, or the one that
/// the packet came in on.
#[inline(always)]
fn interface(scratch: &Scratch, device: u32) -> u32 {
    if device == 0 { scratch.ctx.ifindex.get() as u32 } else { device }
}

/// Location of the destination of the packet in the working memory, by the routes.
///
/// The full lookup says "not forwarded" for local destinations and for those without a route
/// alike. Where tables are apart, main has a unicast route for the former (the subnet's, or the
/// default one) and none for the latter, so that a packet that policy routing by a mark would
/// forward is never taken for a local one. As long as a namespace has no rules of its own, the
/// kernel keeps IPv4's local routes in the table main, and says "not forwarded" there too. The
/// way back to the client, looked for in the table local, tells that case from the other; then
/// there is no policy routing either, and what is not forwarded is the gateway's to answer.
///
/// The network that a local address is in is its subnet's route, or else that of its neighbours.
#[inline(always)]
pub fn routed_location<W: Datapath>(scratch: &Scratch, datapath: W) -> Location {
    // SAFETY: the scratch memory is this run's alone.
    let (source, destination) =
        unsafe { (*scratch.headers.source.get(), *scratch.headers.destination.get()) };
    let device = datapath.device(scratch.ctx.zone.get() as u16);
    let ifindex = interface(scratch, device);
    // The kernel forwards nothing from a link-local IPv6 source, hence denies knowledge.
    let anybody = V6::default();
    let from = if !is_mapped(source) && source.is_of_link() { anybody } else { source };
    // SAFETY: as above.
    unsafe { scratch.ctx.route_from.get().write(from) };
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
    // The first that is neither the network's own address nor its broadcast address, whatever the
    // prefix's length; and one more, if that is the gateway's too.
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
/// one that the routes lead to by another device than the zone's. What the kernel does not say is
/// no reason.
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
    // SAFETY: as above.
    unsafe { scratch.ctx.route_from.get().write(V6::default()) };
    let back = ask(scratch, datapath, device, *source, Routes::All);
    if back == Route::UNTOLD {
        return false;
    }
    if back == Route::NOT_FORWARDED {
        // An own address that the map does not have yet. Of IPv4 the stack itself takes none.
        return !is_mapped(*source)
            && ask(scratch, datapath, device, *source, Routes::Main).leads();
    }
    // Routes may be chosen by the interface that packets come in on, or several be as good.
    back != Route::to(device)
        && ask(scratch, datapath, device, *source, Routes::Out) != Route::to(device)
}
