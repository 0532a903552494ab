//! Floors: what a program costs that does no more than any filter of flows has to.

use aya_ebpf::{
    bindings::{BPF_ANY, TC_ACT_OK, xdp_action},
    btf_maps::{HashMap, LruHashMap, PerCpuArray},
    macros::{btf_map, classifier, xdp},
    programs::{TcContext, XdpContext},
};
use intune_filter_ebpf::abi::{Counter, Flow, FlowKey, V4, V6};

#[btf_map]
pub static FLOOR4: HashMap<FlowKey<V4>, u64, 1024> = HashMap::new();
#[btf_map]
pub static FLOOR6: HashMap<FlowKey<V6>, u64, 1024> = HashMap::new();
#[btf_map]
pub static FLOOR_LRU4: LruHashMap<FlowKey<V4>, Flow, 8192> = LruHashMap::new();
#[btf_map]
pub static FLOOR_LRU6: LruHashMap<FlowKey<V6>, Flow, 8192> = LruHashMap::new();
#[btf_map]
pub static FLOOR_COUNTER: PerCpuArray<Counter, 1> = PerCpuArray::new();

/// Nothing at all.
#[xdp(frags)]
pub fn empty(_: XdpContext) -> u32 {
    xdp_action::XDP_PASS
}

/// Nothing at all, at TC.
#[classifier]
pub fn empty_tc(_: TcContext) -> i32 {
    TC_ACT_OK as i32
}

/// Reads the headers into a key.
#[xdp(frags)]
pub fn parse(ctx: XdpContext) -> u32 {
    let (data, end) = (ctx.data(), ctx.data_end());
    let parsed = match ether_type(data, end) {
        Some(IPV4) => key4(data, end).map(|key| u32::from(key.remote_port) ^ key.remote.0),
        Some(IPV6) => key6(data, end).map(|key| u32::from(key.remote_port) ^ key.remote.0[3]),
        _ => None,
    };
    // Whoever reads headers does something by them.
    if parsed == Some(0) { xdp_action::XDP_DROP } else { xdp_action::XDP_PASS }
}

/// Reads the headers, looks the flow up in a hash, and counts.
#[xdp(frags)]
pub fn lookup(ctx: XdpContext) -> u32 {
    judge(ctx.data(), ctx.data_end())
}

/// The lookup at TC.
#[classifier]
pub fn lookup_tc(ctx: TcContext) -> i32 {
    let known = judge(ctx.data(), ctx.data_end()) == xdp_action::XDP_PASS;
    if known { TC_ACT_OK as i32 } else { -1 }
}

/// Reads the headers and puts a flow into an LRU hash.
#[xdp(frags)]
pub fn insert(ctx: XdpContext) -> u32 {
    let (data, end) = (ctx.data(), ctx.data_end());
    let flow = Flow::default();
    let done = match ether_type(data, end) {
        Some(IPV4) => key4(data, end)
            .is_some_and(|key| FLOOR_LRU4.insert(&key, &flow, u64::from(BPF_ANY)).is_ok()),
        Some(IPV6) => key6(data, end)
            .is_some_and(|key| FLOOR_LRU6.insert(&key, &flow, u64::from(BPF_ANY)).is_ok()),
        _ => false,
    };
    if done { xdp_action::XDP_PASS } else { xdp_action::XDP_DROP }
}

const IPV4: u16 = 0x0800;
const IPV6: u16 = 0x86dd;
const IP: usize = 14;

#[inline(always)]
fn judge(data: usize, end: usize) -> u32 {
    let known = match ether_type(data, end) {
        // SAFETY: nobody writes the values.
        Some(IPV4) => key4(data, end).is_some_and(|key| unsafe { FLOOR4.get(&key) }.is_some()),
        // SAFETY: as above.
        Some(IPV6) => key6(data, end).is_some_and(|key| unsafe { FLOOR6.get(&key) }.is_some()),
        _ => false,
    };
    let Some(counter) = FLOOR_COUNTER.get_ptr_mut(0) else {
        return xdp_action::XDP_DROP;
    };
    // SAFETY: the element is this CPU's.
    unsafe {
        (*counter).packets += 1;
        (*counter).bytes += (end - data) as u64;
    }
    if known { xdp_action::XDP_PASS } else { xdp_action::XDP_DROP }
}

#[inline(always)]
fn ether_type(data: usize, end: usize) -> Option<u16> {
    read::<u16>(data, end, 12).map(u16::from_be)
}

#[inline(always)]
fn key4(data: usize, end: usize) -> Option<FlowKey<V4>> {
    const LENGTH: usize = IP + 24;
    if data + LENGTH > end || read::<u8>(data, end, IP)? != 0x45 {
        return None;
    }
    Some(FlowKey {
        zone: 1,
        protocol: read(data, end, IP + 9)?,
        reserved: 0,
        client_port: read(data, end, IP + 20)?,
        remote_port: read(data, end, IP + 22)?,
        client: V4(read(data, end, IP + 12)?),
        remote: V4(read(data, end, IP + 16)?),
    })
}

#[inline(always)]
fn key6(data: usize, end: usize) -> Option<FlowKey<V6>> {
    const LENGTH: usize = IP + 44;
    if data + LENGTH > end {
        return None;
    }
    Some(FlowKey {
        zone: 1,
        protocol: read(data, end, IP + 6)?,
        reserved: 0,
        client_port: read(data, end, IP + 40)?,
        remote_port: read(data, end, IP + 42)?,
        client: V6(read(data, end, IP + 8)?),
        remote: V6(read(data, end, IP + 24)?),
    })
}

#[inline(always)]
fn read<T: Copy>(data: usize, end: usize, offset: usize) -> Option<T> {
    let at = data + offset;
    if at + size_of::<T>() > end {
        return None;
    }
    // SAFETY: the value is inside the packet, and made of integers.
    Some(unsafe { (at as *const T).read_unaligned() })
}
