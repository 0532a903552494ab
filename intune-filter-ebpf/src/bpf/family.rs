//! Implementation of the maps of one address family over the kernel's maps.

use aya_ebpf::{bindings::BPF_ANY, btf_maps::lpm_trie::Key};

use super::{
    hosts,
    kernel::{BpfDatapath, EXPLAIN},
    maps, rule_fns,
};
use crate::{
    abi::{ANSWER_ACCEPTED, Address, ClientKey, Flow, FlowKey, RULE_WORDS, RuleMask, V4, V6},
    datapath::{ClientMaps, FlowMaps, HostMaps, Insertion, Member},
    memory::RuleCell,
    scratch::{COPY_WORDS, Scratch},
};

/// Hands out a map's value, a flow or a stream: the map's own, or, read-only, a copy in the working
/// memory.
#[inline(always)]
pub(super) fn visit_value<const HOOK: u8, T: Copy, R>(
    value: Option<*mut T>,
    visit: impl FnOnce(&mut T) -> R,
) -> Option<R> {
    const { assert!(size_of::<T>() <= size_of::<[u64; COPY_WORDS]>()) };
    let mut value = value?;
    if HOOK == EXPLAIN {
        let copy = BpfDatapath::<HOOK>::scratch()?.ctx.copy.get().cast::<T>();
        // SAFETY: the memory is this run's, and has room for the value.
        unsafe { copy.write(*value) };
        value = copy;
    }
    // SAFETY: the pointer is to a map's value. Other CPUs may count in it at the same time: a
    // lost count is accepted, flags and times are single stores.
    Some(visit(unsafe { &mut *value }))
}

/// Writes the key of a lookup of a whole address in a trie into the working memory and returns it.
#[inline(always)]
fn trie_key<'s, A: Address>(scratch: &'s Scratch, address: &A) -> &'s Key<A> {
    let key = scratch.ctx.trie_key.get().cast::<Key<A>>();
    // SAFETY: the memory is this run's, and has room for the key.
    unsafe {
        key.write(Key::new(A::BITS, *address));
        &*key
    }
}

macro_rules! maps_of {
    ($address:ty, $networks:ident, $answers:ident, $hosts:ident, $module:ident,
     $flows:ident, $new_flows:ident) => {
        impl<const HOOK: u8> ClientMaps<$address> for BpfDatapath<HOOK> {
            #[inline(always)]
            fn client(
                self,
                scratch: &Scratch,
                set: u32,
                zone: u16,
                address: &$address,
            ) -> Option<Member> {
                const BITS: u32 = 8 * size_of::<ClientKey<$address>>() as u32;
                let key = scratch.ctx.trie_key.get().cast::<Key<ClientKey<$address>>>();
                // SAFETY: the memory is this run's, and has room for the key.
                unsafe {
                    let data = ClientKey { zone: u32::from(zone), address: *address };
                    key.write(Key::new(BITS, data));
                }
                let (v6, set) = (u64::from(<$address>::BITS == V6::BITS), u64::from(set));
                Member::from_word(rule_fns::find_client(scratch, v6, set as u32))
            }

            #[inline(always)]
            fn networks(self, scratch: &Scratch, set: u32, address: &$address, rules: &RuleCell) {
                match maps::$networks.get_value_ptr_mut(set, trie_key(scratch, address)) {
                    Some(value) => rule_fns::load_rules(value.cast_const().cast(), rules),
                    None => rules.clear(),
                }
            }

            #[inline(always)]
            fn answer(self, scratch: &Scratch, set: u32, address: &$address) -> u32 {
                let key = trie_key(scratch, address);
                let value = maps::$answers.get_value_ptr_mut(set, key);
                // SAFETY: one word of a map that is never written while it is in use.
                value.map_or(ANSWER_ACCEPTED, |answer| unsafe { *answer })
            }
        }

        impl<const HOOK: u8> HostMaps<$address> for BpfDatapath<HOOK> {
            #[inline(always)]
            fn host(self, address: &$address, rules: &RuleCell) -> u64 {
                let Some(host) = maps::$hosts.get_ptr(address) else {
                    rules.clear();
                    return 0;
                };
                // SAFETY: words of a map's value, and stale ones were true a moment ago. The time
                // is read first: rules read before it could be from before the element's life was
                // extended.
                unsafe {
                    let expires = (&raw const (*host).expires).read_volatile();
                    for word in 0..RULE_WORDS {
                        rules.set_word(word, (&raw const (*host).rules.0[word]).read_volatile());
                    }
                    expires
                }
            }

            #[inline(always)]
            fn learn(
                self,
                address: &$address,
                rules: &RuleMask,
                expires: u64,
                now: u64,
                owner: u64,
            ) -> Insertion {
                if Self::READ_ONLY {
                    return Insertion::Done;
                }
                hosts::$module::learn(address, rules, expires, now, owner)
            }
        }

        impl<const HOOK: u8> FlowMaps<$address> for BpfDatapath<HOOK> {
            #[inline(always)]
            fn flow<R>(
                self,
                key: &FlowKey<$address>,
                visit: impl FnOnce(&mut Flow) -> R,
            ) -> Option<R> {
                visit_value::<HOOK, _, R>(maps::$flows.get_ptr_mut(key), visit)
            }

            #[inline(always)]
            fn new_flow<R>(
                self,
                key: &FlowKey<$address>,
                visit: impl FnOnce(&mut Flow) -> R,
            ) -> Option<R> {
                visit_value::<HOOK, _, R>(maps::$new_flows.get_ptr_mut(key), visit)
            }

            #[inline(always)]
            fn open(self, key: &FlowKey<$address>, flow: &Flow, may_be_answered: bool) {
                if !Self::READ_ONLY {
                    if may_be_answered {
                        // The element there has expired; a lookup would find it before the new one.
                        let _ = maps::$flows.remove(key);
                    }
                    let _ = maps::$new_flows.insert(key, flow, u64::from(BPF_ANY));
                }
            }

            #[inline(always)]
            fn answered(self, key: &FlowKey<$address>, flow: &Flow) {
                if !Self::READ_ONLY && maps::$flows.insert(key, flow, u64::from(BPF_ANY)).is_ok() {
                    let _ = maps::$new_flows.remove(key);
                }
            }

            #[inline(always)]
            fn close(self, key: &FlowKey<$address>) {
                if !Self::READ_ONLY {
                    let _ = maps::$flows.remove(key);
                    let _ = maps::$new_flows.remove(key);
                }
            }
        }
    };
}

maps_of!(V4, NETS4, ANSWER_ACL4, HOSTS4, v4, FLOWS4, NEW_FLOWS4);
maps_of!(V6, NETS6, ANSWER_ACL6, HOSTS6, v6, FLOWS6, NEW_FLOWS6);
