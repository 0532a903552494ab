//! Route lookups: whether an address is the gateway's own, the device that a source or a resolver is
//! behind, and what a packet's sender may begin.
//!
//! Each lookup is a global function, as those in [`super::global_fns`]: it has the hook's context,
//! and finds the rest in the hook's working memory.

use aya_ebpf::{
    bindings::{__sk_buff, bpf_fib_lookup, xdp_md},
    helpers::generated,
};

use super::kernel::{BpfDatapath, EXPLAIN, TC_EGRESS, TC_INGRESS, XDP};
use crate::{
    abi::V6,
    datapath::{FarEnd, Location, Route},
    verdict,
};

const AF_INET: u8 = 2;
const AF_INET6: u8 = 10;
/// Flag `BPF_FIB_LOOKUP_TBID`.
const TABLE: u32 = 8;
/// Number of the table local, `RT_TABLE_LOCAL`.
const TABLE_LOCAL: u32 = 255;

const _: () = assert!(size_of::<bpf_fib_lookup>() == size_of::<[u64; 8]>());

macro_rules! ask {
    ($context:ty, $hook:ident, $ask:ident) => {
        /// Runs [`crate::datapath::GatewayMaps::route`] on this hook.
        #[inline(never)]
        #[unsafe(no_mangle)]
        pub extern "C" fn $ask(context: *mut $context, ifindex: u32, flags: u32) -> u64 {
            ask(BpfDatapath::<$hook> { context: context.cast() }, ifindex, flags).word()
        }
    };
}

macro_rules! is_on_link {
    ($context:ty, $hook:ident, $is_on_link:ident) => {
        /// Runs [`verdict::is_on_link`] on this hook. False without working memory, which a run has
        /// claimed.
        #[inline(never)]
        #[unsafe(no_mangle)]
        pub extern "C" fn $is_on_link(context: *mut $context) -> u64 {
            let kernel = BpfDatapath::<$hook> { context: context.cast() };
            let scratch = BpfDatapath::<$hook>::scratch();
            u64::from(scratch.is_some_and(|scratch| verdict::is_on_link(scratch, kernel)))
        }
    };
}

macro_rules! tell_denial {
    ($context:ty, $hook:ident, $tell_denial:ident) => {
        /// Runs [`verdict::tell_denial`] over a packet from a client on this hook.
        #[inline(never)]
        #[unsafe(no_mangle)]
        pub extern "C" fn $tell_denial(context: *mut $context, ends: u64) -> u64 {
            let kernel = BpfDatapath::<$hook> { context: context.cast() };
            if let Some(scratch) = BpfDatapath::<$hook>::scratch() {
                verdict::tell_denial(scratch, kernel, ends, true);
            }
            0
        }
    };
}

tell_denial!(xdp_md, XDP, tell_denial_at_ingress);
tell_denial!(__sk_buff, TC_INGRESS, tell_denial_at_tc_ingress);

macro_rules! routes {
    (
        $context:ty, $hook:ident, $ask:ident, $own:ident, $routed:ident, $is_forged:ident,
        $is_believed:ident, $is_on_link:ident
    ) => {
        ask!($context, $hook, $ask);
        is_on_link!($context, $hook, $is_on_link);

        /// Runs [`verdict::own_location`] on this hook.
        #[inline(never)]
        #[unsafe(no_mangle)]
        pub extern "C" fn $own() -> u64 {
            let kernel = BpfDatapath::<$hook>::without_context();
            let location = |scratch| verdict::own_location(scratch, kernel);
            BpfDatapath::<$hook>::scratch().map_or(Location::ELSEWHERE, location).word()
        }

        /// Runs [`verdict::routed_location`] on this hook.
        #[inline(never)]
        #[unsafe(no_mangle)]
        pub extern "C" fn $routed(context: *mut $context) -> u64 {
            let kernel = BpfDatapath::<$hook> { context: context.cast() };
            let location = |scratch| verdict::routed_location(scratch, kernel);
            BpfDatapath::<$hook>::scratch().map_or(Location::ELSEWHERE, location).word()
        }

        /// Runs [`verdict::is_forged`] on this hook.
        #[inline(never)]
        #[unsafe(no_mangle)]
        pub extern "C" fn $is_forged(context: *mut $context) -> u64 {
            let kernel = BpfDatapath::<$hook> { context: context.cast() };
            let scratch = BpfDatapath::<$hook>::scratch();
            u64::from(scratch.is_none_or(|scratch| verdict::is_forged(scratch, kernel)))
        }

        /// Runs [`verdict::is_believed`] on this hook.
        #[inline(never)]
        #[unsafe(no_mangle)]
        pub extern "C" fn $is_believed(context: *mut $context, who: u64) -> u64 {
            let kernel = BpfDatapath::<$hook> { context: context.cast() };
            let scratch = BpfDatapath::<$hook>::scratch();
            u64::from(scratch.is_some_and(|scratch| verdict::is_believed(scratch, kernel, who)))
        }
    };
}

routes!(
    xdp_md,
    XDP,
    ask_at_ingress,
    own_location_at_ingress,
    routed_location_at_ingress,
    is_forged_at_ingress,
    is_believed_at_ingress,
    is_on_link_at_ingress
);
routes!(
    __sk_buff,
    TC_INGRESS,
    ask_at_tc_ingress,
    own_location_at_tc_ingress,
    routed_location_at_tc_ingress,
    is_forged_at_tc_ingress,
    is_believed_at_tc_ingress,
    is_on_link_at_tc_ingress
);
routes!(
    xdp_md,
    EXPLAIN,
    ask_to_explain,
    own_location_to_explain,
    routed_location_to_explain,
    is_forged_to_explain,
    is_believed_to_explain,
    is_on_link_to_explain
);

ask!(__sk_buff, TC_EGRESS, ask_at_egress);
is_on_link!(__sk_buff, TC_EGRESS, is_on_link_at_egress);

/// Runs [`verdict::is_astray`] at TC egress. True without working memory, which a run has claimed.
#[inline(never)]
#[unsafe(no_mangle)]
pub extern "C" fn is_astray_at_egress(context: *mut __sk_buff) -> u64 {
    let kernel = BpfDatapath::<TC_EGRESS> { context: context.cast() };
    let scratch = BpfDatapath::<TC_EGRESS>::scratch();
    u64::from(scratch.is_none_or(|scratch| verdict::is_astray(scratch, kernel)))
}

/// Runs [`verdict::far_end`] at TC egress.
#[inline(never)]
#[unsafe(no_mangle)]
pub extern "C" fn far_end_at_egress(context: *mut __sk_buff, zone: u32, opened: u32) -> u64 {
    let kernel = BpfDatapath::<TC_EGRESS> { context: context.cast() };
    let end = |scratch| verdict::far_end(scratch, kernel, zone as u16, opened != 0);
    BpfDatapath::<TC_EGRESS>::scratch().map_or(FarEnd::ELSEWHERE, end).word()
}

#[inline(always)]
fn ask<const HOOK: u8>(kernel: BpfDatapath<HOOK>, ifindex: u32, flags: u32) -> Route {
    const SUCCESS: i64 = 0;
    const BLACKHOLE: i64 = 1;
    const PROHIBIT: i64 = 3;
    const NOT_FWDED: i64 = 4;
    const NO_NEIGHBOUR: i64 = 7;
    /// At TC: there is a route, and the frame is longer than the route takes.
    const TOO_LONG: i64 = 8;
    let Some(scratch) = BpfDatapath::<HOOK>::scratch() else {
        return Route::UNTOLD;
    };
    let request = scratch.ctx.route.get().cast::<bpf_fib_lookup>();
    // SAFETY: the memory is this run's, and has the request's size; zero is valid for all of its
    // integers. The lookup writes into it.
    unsafe {
        let (to, from) = (&*scratch.ctx.route_to.get(), &*scratch.ctx.route_from.get());
        // Volatile: a call of memset is a loop, and the verifier walks it.
        for word in 0..8 {
            request.cast::<u64>().add(word).write_volatile(0);
        }
        let V6([a, b, c, d]) = *to;
        if a | b == 0 && c == 0xffff_u32.to_be() {
            (*request).family = AF_INET;
            (*request).__bindgen_anon_3.ipv4_src = from.0[3];
            (*request).__bindgen_anon_4.ipv4_dst = d;
        } else {
            (*request).family = AF_INET6;
            (*request).__bindgen_anon_3.ipv6_src = from.0;
            (*request).__bindgen_anon_4.ipv6_dst = [a, b, c, d];
        }
        (*request).ifindex = ifindex;
        if flags & TABLE != 0 {
            (*request).__bindgen_anon_5.tbid = TABLE_LOCAL;
        }
        // What the kernel writes there beside the interface: the next hop, if it is not the destination
        // itself, and, in the last six octets, the neighbour's hardware address.
        const NEXT_HOP: usize = 4;
        const HARDWARE: usize = 7;
        let words = request.cast::<u64>();
        let before = (words.add(NEXT_HOP).read(), words.add(NEXT_HOP + 1).read());
        let size = size_of::<bpf_fib_lookup>() as i32;
        let result = generated::bpf_fib_lookup(kernel.context, request, size, flags);
        let after = (words.add(NEXT_HOP).read(), words.add(NEXT_HOP + 1).read());
        scratch.ctx.routed.set((before.0 ^ after.0) | (before.1 ^ after.1));
        let hardware = u64::from_le(words.add(HARDWARE).read()) >> 16;
        scratch.ctx.neighbour.set(hardware.to_le());
        match result {
            SUCCESS | NO_NEIGHBOUR | TOO_LONG => Route::to((*request).ifindex),
            NOT_FWDED => Route::NOT_FORWARDED,
            BLACKHOLE..=PROHIBIT => Route::REJECTED,
            _ => Route::UNTOLD,
        }
    }
}
