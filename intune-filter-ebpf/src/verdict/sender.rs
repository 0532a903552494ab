//! Senders: whether a packet can come from its source where it came in, and from whom.
//!
//! One reverse lookup answers that, of the route to the packet's source: it leads back by the device on
//! which the packet came in, by another, or nowhere. The interface's `source_check` says what of that is
//! denied. The first packet of a flow is asked for, and whatever else takes an entry in a table; packets
//! of a known flow are not.
//!
//! The lookup also tells the neighbour by which the routes lead to the source, and its hardware address.
//! A sender that has this address is *proven*, and has limits of its own; any other is not, and shares
//! those of its zone. The neighbour table is written by ARP and neighbour discovery, and so by whoever
//! answers first: it keeps things fair, and proves nothing. A group that lists its hardware addresses
//! (`macs`) is proof against everybody who does not use one of these.
//!
//! On a device of layer 3 there are no hardware addresses: whoever is at the other end, or whichever peer
//! the device's own keys admit the source for, is whom the routes lead to. There the route proves the
//! sender, and each of its addresses has limits of its own, like those of a routed network.
//!
//! That a sender is proven is noted in its bucket, and counts for a moment: whoever opens many flows is
//! asked for once.
//!
//! Routes may depend on the interface that packets come in on, and several may be equally good: a source
//! that another device leads to is asked for once more, by the routes out of the zone's device alone.
//! Where the kernel tells no route, since it does not forward for the device, nothing is denied.

use crate::{
    abi::{LIMIT_ADDRESS, LIMIT_PROVEN, LIMIT_ROUTED, Reason, V6, client_flags, sender},
    datapath::{Datapath, Member, Route, Routes},
    scratch::Scratch,
};

/// Looks up the route to an address, from the source that `route_from` has.
#[inline(always)]
pub(super) fn ask<W: Datapath>(
    scratch: &Scratch,
    datapath: W,
    ifindex: u32,
    to: V6,
    routes: Routes,
) -> Route {
    // SAFETY: the scratch memory is this run's alone.
    unsafe { scratch.ctx.route_to.get().write(to) };
    datapath.route(scratch, ifindex, routes)
}

/// Returns what the kernel tells of the sender of the packet in the working memory, bits of
/// [`sender`]. Asks once for each packet.
#[inline(always)]
pub(super) fn told<W: Datapath>(scratch: &Scratch, datapath: W) -> u32 {
    let known = scratch.ctx.sender.get() as u32;
    if known != 0 {
        return known;
    }
    let told = sender::ASKED | look_up(scratch, datapath);
    scratch.ctx.sender.set(u64::from(told));
    told
}

#[inline(always)]
fn look_up<W: Datapath>(scratch: &Scratch, datapath: W) -> u32 {
    // SAFETY: the scratch memory is this run's alone.
    let source = unsafe { *scratch.headers.source.get() };
    let device = datapath.device(scratch.ctx.zone.get() as u16);
    if device == 0 {
        return 0;
    }
    let noted = noted(scratch, datapath, source);
    if noted != 0 {
        return noted;
    }
    // SAFETY: as above.
    unsafe { scratch.ctx.route_from.get().write(V6::default()) };
    let layer3 = datapath.is_layer3(scratch.ctx.zone.get() as u16);
    let here = || {
        let told = neighbour(scratch, layer3);
        note(scratch, datapath, told);
        told
    };
    let back = ask(scratch, datapath, device, source, Routes::All);
    if back == Route::to(device) {
        return here();
    }
    if back == Route::UNTOLD {
        return 0;
    }
    if !back.leads() {
        return sender::NOWHERE;
    }
    if ask(scratch, datapath, device, source, Routes::Out) == Route::to(device) {
        return here();
    }
    sender::APART
}

/// Returns what an earlier packet of the sender was told a moment ago; 0 if none was. A lookup is most of
/// what the first packet of a flow costs, and clients open many flows at once.
#[inline(always)]
fn noted<W: Datapath>(scratch: &Scratch, datapath: W, source: V6) -> u32 {
    let ctx = &scratch.ctx;
    let Some(settings) = datapath.settings(ctx.generation.get() as u32 & 1) else {
        return 0;
    };
    // SAFETY: the scratch memory is this run's alone.
    let request = unsafe { &mut *ctx.rate_request.get() };
    request.key.zone = ctx.zone.get() as u32;
    request.key.bits = LIMIT_ADDRESS;
    request.key.address = source;
    request.key.mac = ctx.client_mac.get();
    request.now = ctx.now.get();
    request.sets = u64::from(settings.limit_sets);
    request.horizon = settings.limit_horizon();
    match datapath.noted_proof(request) {
        LIMIT_PROVEN => sender::HERE | sender::PROVEN,
        LIMIT_ROUTED => sender::HERE | sender::PROVEN | sender::ROUTED,
        _ => 0,
    }
}

/// Notes that a sender is proven, for its packets of the next moment. The request is [`noted`]'s.
#[inline(always)]
fn note<W: Datapath>(scratch: &Scratch, datapath: W, told: u32) {
    if told & sender::PROVEN == 0 {
        return;
    }
    // SAFETY: the scratch memory is this run's alone.
    let request = unsafe { &mut *scratch.ctx.rate_request.get() };
    let is_routed = told & sender::ROUTED != 0;
    request.kind = if is_routed { LIMIT_ROUTED } else { LIMIT_PROVEN } as u64;
    datapath.note_proof(request);
}

/// Compares the sender with the neighbour that the lookup led to. At layer 3 the route is enough.
#[inline(always)]
fn neighbour(scratch: &Scratch, layer3: bool) -> u32 {
    let ctx = &scratch.ctx;
    let hardware = ctx.neighbour.get();
    // Without an entry the kernel leaves zeros, which a sender may use too.
    let proven = layer3 || hardware != 0 && hardware == ctx.client_mac.get();
    let proven = if proven { sender::PROVEN } else { 0 };
    let routed = if ctx.routed.get() != 0 { sender::ROUTED } else { 0 };
    sender::HERE | proven | routed
}

/// Whether what the kernel tells of a sender leaves open who it is: it forwards for the device, and the
/// sender has not the hardware address of the neighbour that the routes lead to.
#[inline(always)]
pub(super) const fn is_unproven(told: u32) -> bool {
    told & (sender::HERE | sender::APART | sender::NOWHERE) != 0 && told & sender::PROVEN == 0
}

/// Whether the sender of the packet in the working memory is let pass by the checks of its zone and
/// group; `who` is the [`Member`] that it is as a word. If not, the working memory has the reason.
///
/// Sources without a route of their own are believed: link-local ones, the unspecified one, and those
/// of DHCP requests, whose senders may have come from elsewhere ([`Member::BELIEVED`]).
#[inline(always)]
pub fn is_believed<W: Datapath>(scratch: &Scratch, datapath: W, who: u64) -> bool {
    let who = Member::from_word(who).unwrap_or_default();
    // SAFETY: the scratch memory is this run's alone.
    let source = unsafe { *scratch.headers.source.get() };
    if source.is_of_link() || source == V6::default() {
        scratch.ctx.sender.set(u64::from(sender::ASKED));
        return true;
    }
    let set = scratch.ctx.generation.get() as u32 & 1;
    let passes = datapath.source_check(set, scratch.ctx.zone.get() as u16);
    let checked = sender::APART | sender::NOWHERE;
    let told = told(scratch, datapath);
    if told & checked & !passes != 0 && who.flags & Member::BELIEVED == 0 {
        scratch.ctx.refusal.set(Reason::SourceInterface as u64);
        return false;
    }
    if who.flags & client_flags::MACS != 0 {
        if !datapath.has_mac(scratch, set, who.group) {
            scratch.ctx.refusal.set(Reason::SourceMac as u64);
            return false;
        }
        scratch.ctx.sender.set(u64::from(told | sender::PROVEN));
    }
    true
}
