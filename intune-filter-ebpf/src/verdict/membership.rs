//! Membership: the group that has an address, by the groups' prefixes or by what is on-link.
//!
//! A group that says `on-link` has an element of no length in the trie of each of its zones: it comes last,
//! and asks the routes. What is on-link is therefore what the kernel itself delivers to without a router,
//! at this moment, whether a daemon runs or not. At ingress the answer is the sender's, which the first
//! packet of a flow is asked for anyway.

use super::{
    Run,
    sender::{ask, told},
};
use crate::{
    abi::{client_flags, sender},
    datapath::{Datapath, DatapathOf, Member, Route, Routes},
    packet::Packet,
    scratch::{Family, Scratch},
};

/// Returns the group of a client's address in the packet's zone, whose rules are put into the working
/// memory.
#[inline(always)]
pub(super) fn member<A: Family, W: DatapathOf<A>, P: Packet>(
    run: &Run<'_, W, P>,
    address: &A,
) -> Option<Member> {
    let found = run.datapath.client(run.scratch, run.set(), run.zone(), address)?;
    if found.flags & client_flags::ON_LINK == 0 {
        return Some(found);
    }
    // SAFETY: the scratch memory is this run's alone.
    unsafe { run.scratch.ctx.route_to.get().write(address.wide()) };
    run.datapath.is_on_link(run.scratch).then_some(found)
}

/// Whether the address in the working memory, the destination of a route lookup, is on-link in the
/// packet's zone.
#[inline(always)]
pub fn is_on_link<W: Datapath>(scratch: &Scratch, datapath: W) -> bool {
    // SAFETY: the scratch memory is this run's alone.
    let (address, source) = unsafe { (*scratch.ctx.route_to.get(), *scratch.headers.source.get()) };
    if address == source {
        let told = told(scratch, datapath);
        return told & (sender::HERE | sender::ROUTED) == sender::HERE;
    }
    let device = datapath.device(scratch.ctx.zone.get() as u16);
    // SAFETY: as above.
    unsafe { scratch.ctx.route_from.get().write(Default::default()) };
    let here = Route::to(device);
    let leads = device != 0
        && (ask(scratch, datapath, device, address, Routes::All) == here
            || ask(scratch, datapath, device, address, Routes::Out) == here);
    leads && scratch.ctx.routed.get() == 0
}
