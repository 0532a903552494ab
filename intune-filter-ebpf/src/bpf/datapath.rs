//! Implementation of [`crate::datapath`] over the kernel's maps, clock and helpers.

use core::arch::asm;

use aya_ebpf::{bindings::BPF_ANY, helpers::generated};

use super::{
    family::visit_value,
    global_fns, kept,
    kernel::{BpfDatapath, EXPLAIN, TC_EGRESS, TC_INGRESS},
    maps, report, route,
};
use crate::{
    abi::{
        Active, DENIALS, DEVICE_LAYER3, EdgeKey, FIRST_DENIAL, FlowKey, Glob, GroupCounter, MacKey,
        NameNode, OwnKey, Reason, Settings, Stream, Taking, V6, ZoneKey, gateway_port,
        group_counter, port_class, port_class_at, source_check,
    },
    datapath::{
        Clock, Counters, GatewayMaps, PolicyMaps, RateDecision, RateLimits, Route, Routes,
        RuleEvent, StreamMaps, WorkingMemory,
    },
    maps::{KeyedAccess, keyed},
    memory::RuleCell,
    scratch::{AllowanceKind, Scratch},
};

impl<const HOOK: u8> Clock for BpfDatapath<HOOK> {
    #[inline(always)]
    fn now(self) -> u64 {
        // SAFETY: the helper has no arguments.
        unsafe { generated::bpf_ktime_get_boot_ns() }
    }

    #[inline(always)]
    fn tick(self) -> u64 {
        // SAFETY: the helper has no arguments; the kernel makes it a load.
        let jiffies = unsafe { generated::bpf_jiffies64() };
        let Some(tick) = maps::SCRATCH_TICK.get_ptr_mut(0) else {
            return self.now();
        };
        // SAFETY: each word is read and written at once. A reader that finds the tick of one CPU
        // beside the time of another is out by one tick more.
        unsafe {
            let (at, time) = (&raw mut (*tick).jiffies, &raw mut (*tick).time);
            if at.read_volatile() == jiffies {
                return time.read_volatile();
            }
            let now = self.now();
            time.write_volatile(now);
            at.write_volatile(jiffies);
            now
        }
    }
}

impl<const HOOK: u8> WorkingMemory for BpfDatapath<HOOK> {
    #[inline(always)]
    fn is_read_only(self) -> bool {
        Self::READ_ONLY
    }

    #[inline(always)]
    fn claim<'s>(self) -> Option<&'s Scratch>
    where
        Self: 's,
    {
        let scratch = Self::scratch()?;
        // Not atomic: programs of one CPU nest, they do not interleave.
        // SAFETY: the word is in the map's value.
        unsafe {
            if scratch.claimed.get().read_volatile() != 0 {
                return None;
            }
            scratch.claimed.get().write_volatile(1);
        }
        Some(scratch)
    }

    #[inline(always)]
    fn release(self, scratch: &Scratch) {
        // SAFETY: the word is in the map's value, and this run has claimed it.
        unsafe { scratch.claimed.get().write_volatile(0) }
    }
}

impl<const HOOK: u8> PolicyMaps for BpfDatapath<HOOK> {
    #[inline(always)]
    fn active(self) -> Option<Active> {
        maps::ACTIVE.get(0).copied().filter(|active| active.generation != 0)
    }

    #[inline(always)]
    fn zone(self, ifindex: u32, vlan: u16) -> Option<u16> {
        // An interface that the array lacks may be in the hash, and one that the array has is there
        // too.
        if vlan == 0
            && let Some(zone) = maps::IFINDEX_ZONE.get(ifindex)
            && *zone != 0
        {
            return Some((*zone - 1) as u16);
        }
        let key = ZoneKey { ifindex, vlan: u32::from(vlan) };
        // SAFETY: the value is one word, copied at once.
        unsafe { maps::ZONES.get(&key) }.map(|zone| *zone as u16)
    }

    #[inline(always)]
    fn settings<'s>(self, set: u32) -> Option<&'s Settings>
    where
        Self: 's,
    {
        maps::SETTINGS.get(set)
    }

    #[inline(always)]
    fn port(self, set: u32, index: u32, rules: &RuleCell) {
        let (word, shift) = port_class(index);
        let classes = maps::PORTS.get_value(set, &word).copied().unwrap_or_default();
        match maps::PORT_CLASSES.get(port_class_at(set, (classes >> shift) as u8)) {
            Some(mask) => rules.set(mask),
            None => rules.clear(),
        }
    }

    #[inline(always)]
    fn server(self, set: u32, address: &V6) -> u32 {
        let value = maps::SERVERS.get_value_ptr_mut(set, address);
        // SAFETY: the value is one word of a map that is never written while it is in use.
        value.map_or(0, |bits| unsafe { *bits })
    }

    #[inline(always)]
    fn edge<R>(self, set: u32, key: &EdgeKey, visit: impl FnOnce(&NameNode) -> R) -> Option<R> {
        let value = maps::EDGES.get_value_ptr_mut(set, key)?.cast::<NameNode>();
        // SAFETY: the value is a node, aligned as all of a hash map's, and the map is never written
        // while it is in use.
        Some(visit(unsafe { &*value }))
    }

    #[inline(always)]
    fn glob<R>(self, set: u32, index: u32, visit: impl FnOnce(&Glob) -> R) -> Option<R> {
        let value = maps::GLOBS.get_value_ptr_mut(set, &index)?.cast::<Glob>();
        // SAFETY: the value is a glob, aligned as all of a hash map's, and the map is never written
        // while it is in use.
        Some(visit(unsafe { &*value }))
    }
}

impl<const HOOK: u8> GatewayMaps for BpfDatapath<HOOK> {
    #[inline(always)]
    fn is_own(self, address: &V6) -> bool {
        maps::OWN_ADDRESSES.get_ptr(address).is_some()
    }

    #[inline(always)]
    fn is_own_on(self, scratch: &Scratch, device: u32, address: &V6) -> bool {
        // SAFETY: the memory is this run's.
        let key = unsafe {
            let key = scratch.ctx.own.get();
            key.write(OwnKey { device, address: *address });
            &*key
        };
        maps::OWN_ON_DEVICE.get_ptr(key).is_some()
    }

    #[inline(always)]
    fn device(self, zone: u16) -> u32 {
        maps::ZONE_DEVICES.get(u32::from(zone)).copied().unwrap_or_default() & !DEVICE_LAYER3
    }

    #[inline(always)]
    fn is_layer3(self, zone: u16) -> bool {
        maps::ZONE_DEVICES.get(u32::from(zone)).is_some_and(|device| device & DEVICE_LAYER3 != 0)
    }

    #[inline(always)]
    fn has_mac(self, scratch: &Scratch, set: u32, group: u32) -> bool {
        let [a, b, c, d, e, f, ..] = scratch.ctx.client_mac.get().to_ne_bytes();
        // SAFETY: the memory is this run's.
        let key = unsafe {
            let key = scratch.ctx.mac_key.get();
            key.write(MacKey { mac: [a, b, c, d, e, f], group: group as u16 });
            &*key
        };
        maps::GROUP_MACS.get_value_ptr_mut(set, key).is_some()
    }

    #[inline(always)]
    fn source_check(self, set: u32, zone: u16) -> u32 {
        let index = source_check(set, u32::from(zone));
        maps::SOURCE_CHECKS.get(index).copied().unwrap_or_default()
    }

    #[inline(always)]
    fn is_gateway_port(self, set: u32, index: u32) -> bool {
        let (word, bit) = gateway_port(set, index);
        maps::GATEWAY_PORTS.get(word).is_some_and(|ports| *ports & bit != 0)
    }

    #[inline(always)]
    fn route(self, _: &Scratch, ifindex: u32, routes: Routes) -> Route {
        let word = match HOOK {
            TC_INGRESS => route::ask_at_tc_ingress(self.context.cast(), ifindex, routes as u32),
            TC_EGRESS => route::ask_at_egress(self.context.cast(), ifindex, routes as u32),
            EXPLAIN => route::ask_to_explain(self.context.cast(), ifindex, routes as u32),
            _ => route::ask_at_ingress(self.context.cast(), ifindex, routes as u32),
        };
        Route::from_word(word)
    }
}

impl<const HOOK: u8> StreamMaps for BpfDatapath<HOOK> {
    #[inline(always)]
    fn stream<R>(self, key: &FlowKey<V6>, visit: impl FnOnce(&mut Stream) -> R) -> Option<R> {
        visit_value::<HOOK, _, R>(maps::STREAMS.get_ptr_mut(key), visit)
    }

    #[inline(always)]
    fn open_stream(self, key: &FlowKey<V6>, stream: &Stream) {
        if !Self::READ_ONLY {
            // An LRU map makes room for itself; without an entry, the connection's segments are
            // denied.
            let _ = maps::STREAMS.insert(key, stream, u64::from(BPF_ANY));
        }
    }

    #[inline(always)]
    fn own_kept(self, slot: u32, owner: u64) -> Option<bool> {
        if Self::READ_ONLY { Some(false) } else { kept::own(slot, owner) }
    }

    #[inline(always)]
    fn settle_kept(self, slot: u32, owner: u64) {
        if !Self::READ_ONLY {
            kept::settle(slot, owner);
        }
    }

    #[inline(always)]
    fn is_kept_of(self, slot: u32, owner: u64) -> bool {
        kept::is_of(slot, owner)
    }

    #[inline(always)]
    fn keep_octet(self, slot: u32, number: u32, octet: u64) {
        kept::keep(slot, number, octet);
    }

    #[inline(always)]
    fn kept_octet(self, slot: u32, number: u32) -> u64 {
        kept::octet(slot, number)
    }
}

impl<const HOOK: u8> RateLimits for BpfDatapath<HOOK> {
    #[inline(always)]
    fn conform(self, request: &Taking) -> RateDecision {
        if Self::READ_ONLY {
            global_fns::peek_limit(request)
        } else {
            global_fns::take_token(request)
        }
    }

    #[inline(always)]
    fn noted_proof(self, request: &Taking) -> usize {
        global_fns::proof_of(request) as usize
    }

    #[inline(always)]
    fn note_proof(self, request: &Taking) {
        if !Self::READ_ONLY {
            global_fns::note_proof(request);
        }
    }

    #[inline(always)]
    fn may_reply(self, now: u64) -> bool {
        Self::READ_ONLY || report::take(AllowanceKind::Replies, now)
    }
}

impl<const HOOK: u8> Counters for BpfDatapath<HOOK> {
    #[inline(always)]
    fn count_at(self, counter: u32, packets: u32, bytes: u32) {
        if Self::READ_ONLY {
            return;
        }
        if let Some(counter) = maps::COUNTERS.get_ptr_mut(counter) {
            // SAFETY: the element is this CPU's.
            unsafe {
                (*counter).packets += u64::from(packets);
                (*counter).bytes += u64::from(bytes);
            }
        }
    }

    #[inline(always)]
    fn count_group(self, set: u32, group: u8, reason: Reason, audited: bool, packets: u64) {
        // Userspace has made an element for each group.
        let Some(counter) = maps::GROUP_COUNTERS.get_ptr_mut(&group_counter(set, group)) else {
            return;
        };
        let index = (reason as u64).wrapping_sub(u64::from(FIRST_DENIAL));
        let index = (index & (DENIALS as u64 - 1)) + u64::from(audited) * DENIALS as u64;
        const _: () = assert!(size_of::<GroupCounter>() == 2 * DENIALS * 8);
        // SAFETY: the element is this CPU's. The mask is right before the access for the verifier.
        unsafe {
            asm!("{at} &= 63", "{at} <<= 3", "{at} += {base}", "{word} = *(u64 *)({at} + 0)",
                "{word} += {packets}", "*(u64 *)({at} + 0) = {word}",
                at = inout(reg) index => _, base = in(reg) counter, packets = in(reg) packets,
                word = out(reg) _, options(nostack));
        }
    }

    #[inline(always)]
    fn count_rule(self, rule: u8, event: RuleEvent, packets: u32, bytes: u32) {
        if Self::READ_ONLY {
            return;
        }
        if let Some(counter) = maps::RULE_COUNTERS.get_ptr_mut(u32::from(rule)) {
            // SAFETY: the element is this CPU's.
            unsafe {
                if event == RuleEvent::Denied {
                    (*counter).denied += u64::from(packets);
                    return;
                }
                if event == RuleEvent::Audited {
                    (*counter).audited += u64::from(packets);
                    return;
                }
                (*counter).packets += u64::from(packets);
                (*counter).bytes += u64::from(bytes);
                if event == RuleEvent::Opened {
                    (*counter).flows += 1;
                }
            }
        }
    }
}

/// Access to the maps that are looked up and written to by their keys, and no more.
macro_rules! rows {
    ($(
        $name:ident: $kind:ident $scope:ident, $key:ty => $value:ident, $entries:expr
        $(, set by $setting:literal)?;
    )+) => {
        $(access!($kind $scope $name, $key, $value);)+
    };
}

macro_rules! access {
    (Hash Pinned $name:ident, $key:ty, $value:ident) => {
        access!(LruHash Pinned $name, $key, $value);
    };
    (LruHash Pinned $name:ident, $key:ty, $value:ident) => {
        impl<const HOOK: u8> KeyedAccess<keyed::$name> for BpfDatapath<HOOK> {
            #[inline(always)]
            fn copy_of(self, key: &$key) -> Option<$value> {
                // SAFETY: the value is copied at once. An element that is reused meanwhile gives words
                // of two values, which the logic that reads it has to see.
                unsafe { maps::$name.get(key) }.copied()
            }

            #[inline(always)]
            fn write(self, key: &$key, value: &$value) {
                if !Self::READ_ONLY {
                    // An LRU map makes room for itself; without an entry the logic denies.
                    let _ = maps::$name.insert(key, value, u64::from(BPF_ANY));
                }
            }
        }
    };
    ($kind:ident $scope:ident $name:ident, $key:ty, $value:ident) => {};
}

/// Keys and values as the table names them.
mod table {
    use super::*;
    use crate::abi::*;

    crate::maps::table!(rows);
}
