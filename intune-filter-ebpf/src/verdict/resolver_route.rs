//! Devices by which a resolver's answers come in: those that routes to the resolver lead out of.
//!
//! Whoever tells an accomplice the port and the id of a query needs one datagram with the resolver's
//! address to have an address of his choice learned. Most networks let such a datagram through, and
//! the next LAN of the gateway does.

use super::{
    gateway::{interface, routable},
    sender::ask,
};
use crate::{
    abi::{ResolverDevice, SERVER_VIA},
    datapath::{Datapath, Route, Routes},
    maps::{KeyedMap as _, keyed::RESOLVER_DEVICES},
    scratch::Scratch,
};

/// Whether the packet in the working memory, from a resolver to a client, came in by a device that no
/// route to the resolver leads out of; or, of a resolver for which the configuration names the
/// devices, by another.
///
/// The client's query takes the way that the routes have for the client. Where several are equally
/// good, or a mark chooses one, the answer may come by another: any by which the gateway itself would
/// reach the resolver.
#[inline(always)]
pub fn is_astray<W: Datapath>(scratch: &Scratch, datapath: W) -> bool {
    // SAFETY: the scratch memory is this run's alone.
    let (resolver, client) =
        unsafe { (*scratch.headers.source.get(), *scratch.headers.destination.get()) };
    let came_by = scratch.ctx.came_by.get() as u32;
    if has_named_devices(scratch, datapath) {
        // SAFETY: as above.
        let key = unsafe {
            let key = scratch.ctx.resolver_device.get();
            key.write(ResolverDevice { device: came_by, resolver });
            &*key
        };
        return RESOLVER_DEVICES::get(datapath, key).is_none();
    }
    let device = interface(scratch, datapath.device(scratch.ctx.zone.get() as u16));
    // SAFETY: as above.
    unsafe { scratch.ctx.route_from.get().write(routable(client)) };
    ask(scratch, datapath, device, resolver, Routes::All) != Route::to(came_by)
        && ask(scratch, datapath, came_by, resolver, Routes::Out) != Route::to(came_by)
}

/// Whether the configuration names the devices by which the answers of a resolver come in: that which the
/// packet in the working memory comes from.
#[inline(always)]
pub(super) fn has_named_devices<W: Datapath>(scratch: &Scratch, datapath: W) -> bool {
    // SAFETY: the scratch memory is this run's alone.
    let resolver = unsafe { *scratch.headers.source.get() };
    datapath.server(scratch.ctx.generation.get() as u32 & 1, &resolver) & SERVER_VIA != 0
}
