//! The programs. Each passes its packet if what it does comes to what the filter finds at that
//! point of its way, so that no time is told of something else.

use aya_ebpf::{bindings::xdp_action, macros::xdp, programs::XdpContext};
use intune_filter_ebpf::{
    abi::{FlowKey, V4, V6},
    bpf::{
        frame::XdpFrame,
        kernel::{BpfDatapath, XDP},
    },
    datapath::{DatapathOf, PolicyMaps as _, WorkingMemory as _},
    packet::{ETHERTYPE_IPV4, ETHERTYPE_IPV6, Frame, ParseKnown},
    scratch::Scratch,
};

use crate::operations::{self, At, Family, Often, Operation};

/// The zone that packets come from.
const ZONE: u16 = 1;

macro_rules! programs {
    ($($name:ident: $operation:ty,)*) => {
        $(
            #[xdp(frags)]
            pub fn $name(ctx: XdpContext) -> u32 {
                measure::<$operation>(&ctx)
            }
        )*
    };
}

programs! {
    read: operations::Nothing,
    zone: Often<operations::Zone>,
    active: Often<operations::Policy>,
    settings: Often<operations::Switches>,
    now: Often<operations::Now>,
    tick: Often<operations::Tick>,
    length: Often<operations::Length>,
    note: operations::Note,
    no_flow: operations::NoFlow,
    no_new_flow: operations::NoNewFlow,
    own: operations::NotOwn,
    client: operations::Client,
    network: operations::Network<true>,
    no_network: operations::Network<false>,
    host: operations::Host<true>,
    no_host: operations::Host<false>,
    port: Often<operations::Port>,
    routes: operations::Routes,
    back: operations::Back,
    believed: operations::Believed,
    open: operations::Open,
    allowance: Often<operations::Allowance>,
    record: operations::Record,
    count: Often<operations::Count>,
    count_rule: Often<operations::CountRule>,
}

/// Reads headers of which nothing is unusual.
#[xdp(frags)]
pub fn usual(ctx: XdpContext) -> u32 {
    verdict(look(&ctx).is_some_and(|looks_usual| looks_usual))
}

/// Finds that something about the headers is unusual.
#[xdp(frags)]
pub fn unusual(ctx: XdpContext) -> u32 {
    verdict(look(&ctx).is_some_and(|looks_usual| !looks_usual))
}

#[inline(always)]
fn look(ctx: &XdpContext) -> Option<bool> {
    let packet = XdpFrame::new(ctx);
    let frame = Frame::parse(&packet, None)?;
    // Whoever reads headers does something by them.
    match frame.ethertype {
        ETHERTYPE_IPV4 => Some(V4::parse_known(&packet, frame.payload).is_some_and(|usual| {
            usual.destination.0 ^ u32::from(usual.destination_port) != usual.length
        })),
        ETHERTYPE_IPV6 => Some(V6::parse_known(&packet, frame.payload).is_some_and(|usual| {
            usual.destination.0[3] ^ u32::from(usual.destination_port) != usual.length
        })),
        _ => None,
    }
}

/// Claims the working memory, reads the headers into it, looks up which policy is in force, and does
/// one thing.
#[inline(always)]
fn measure<O: Operation>(ctx: &XdpContext) -> u32 {
    let packet = XdpFrame::new(ctx);
    let kernel = BpfDatapath::<XDP>::new(ctx);
    let Some(frame) = Frame::parse(&packet, None) else {
        return verdict(false);
    };
    let Some(scratch) = kernel.claim() else {
        return verdict(false);
    };
    let ifindex = ctx.ingress_ifindex() as u32;
    let offset = frame.payload;
    let done = match frame.ethertype {
        ETHERTYPE_IPV4 => one::<V4, O>(kernel, &packet, scratch, ifindex, offset),
        ETHERTYPE_IPV6 => one::<V6, O>(kernel, &packet, scratch, ifindex, offset),
        _ => false,
    };
    kernel.release(scratch);
    verdict(done)
}

#[inline(always)]
fn one<A: Family, O: Operation>(
    kernel: BpfDatapath<XDP>,
    packet: &XdpFrame,
    scratch: &Scratch,
    ifindex: u32,
    offset: u32,
) -> bool
where
    BpfDatapath<XDP>: DatapathOf<A>,
{
    if A::parse(packet, &scratch.headers, &scratch.message, offset).is_err() {
        return false;
    }
    let Some(active) = kernel.active() else {
        return false;
    };
    // SAFETY: the headers were read in this run.
    let datagram = unsafe { &*A::datagram(scratch) };
    let key = FlowKey {
        zone: ZONE,
        protocol: datagram.protocol,
        reserved: 0,
        client_port: datagram.transport.source_port,
        remote_port: datagram.transport.destination_port,
        client: datagram.source,
        remote: datagram.destination,
    };
    O::perform(&At { kernel, packet, scratch, ifindex, set: active.generation & 1, key })
}

#[inline(always)]
const fn verdict(as_expected: bool) -> u32 {
    if as_expected { xdp_action::XDP_PASS } else { xdp_action::XDP_ABORTED }
}
