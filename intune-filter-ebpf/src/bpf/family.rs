//! The kernel's maps of one address family.

use aya_ebpf::{bindings::BPF_ANY, btf_maps::lpm_trie::Key};

use super::{
    hosts,
    kernel::{EXPLAIN, Kernel},
    maps,
};
use crate::{
    abi::{Address, Client, ClientKey, Flow, FlowKey, Host, V4, V6},
    datapath::{ClientMaps, FlowMaps, HostMaps, Insertion},
    scratch::{COPY_WORDS, Scratch},
};

/// Two words of a value that is aligned to four octets only: a trie stores it behind the key.
#[inline(always)]
fn read_rules(value: *const u64) -> u64 {
    let words = value.cast::<u32>();
    // SAFETY: the value has eight octets, and is never written while its map is in use.
    unsafe { u64::from(*words) | u64::from(*words.add(1)) << 32 }
}

#[inline(always)]
fn read_client(value: *const Client) -> Client {
    let words = value.cast::<u32>();
    // SAFETY: the value has sixteen octets, and is never written while its map is in use.
    let (low, high, group, rest) = unsafe { (*words, *words.add(1), *words.add(2), *words.add(3)) };
    Client {
        rules: u64::from(low) | u64::from(high) << 32,
        group,
        mode: rest as u8,
        flags: (rest >> 8) as u8,
        devices: (rest >> 16) as u16,
    }
}

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
        let copy = Kernel::<HOOK>::scratch()?.ctx.copy.get().cast::<T>();
        // SAFETY: the memory is this run's, and has room for the value.
        unsafe { copy.write(*value) };
        value = copy;
    }
    // SAFETY: the pointer is to a map's value. Other CPUs may count in it at the same time: a
    // lost count is accepted, flags and times are single stores.
    Some(visit(unsafe { &mut *value }))
}

/// The key of a lookup of a whole address in a trie.
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
    ($address:ty, $clients:ident, $networks:ident, $answers:ident, $hosts:ident, $module:ident,
     $flows:ident, $new_flows:ident) => {
        impl<const HOOK: u8> ClientMaps<$address> for Kernel<HOOK> {
            #[inline(always)]
            fn client(
                self,
                scratch: &Scratch,
                set: u32,
                zone: u16,
                address: &$address,
            ) -> Option<Client> {
                const BITS: u32 = 8 * size_of::<ClientKey<$address>>() as u32;
                let key = scratch.ctx.trie_key.get().cast::<Key<ClientKey<$address>>>();
                // SAFETY: the memory is this run's, and has room for the key.
                let key = unsafe {
                    let data = ClientKey { zone: u32::from(zone), address: *address };
                    key.write(Key::new(BITS, data));
                    &*key
                };
                maps::$clients
                    .get_value_ptr_mut(set, key)
                    .map(|client| read_client(client.cast::<Client>().cast_const()))
            }

            #[inline(always)]
            fn networks(self, scratch: &Scratch, set: u32, address: &$address) -> u64 {
                maps::$networks
                    .get_value_ptr_mut(set, trie_key(scratch, address))
                    .map_or(0, |rules| read_rules(rules.cast_const()))
            }

            #[inline(always)]
            fn is_acceptable(self, scratch: &Scratch, set: u32, address: &$address) -> bool {
                let key = trie_key(scratch, address);
                let value = maps::$answers.get_value_ptr_mut(set, key);
                // SAFETY: one word of a map that is never written while it is in use.
                value.is_none_or(|accept| unsafe { *accept != 0 })
            }
        }

        impl<const HOOK: u8> HostMaps<$address> for Kernel<HOOK> {
            #[inline(always)]
            fn host(self, address: &$address) -> Option<Host> {
                let host = maps::$hosts.get_ptr(address)?;
                // SAFETY: words of a map's value, and stale ones were true a moment ago. The time
                // first: rules that were read before it may be those from before it was prolonged.
                unsafe {
                    let expires = (&raw const (*host).expires).read_volatile();
                    let rules = (&raw const (*host).rules).read_volatile();
                    let version = (&raw const (*host).version).read_volatile();
                    Some(Host { version, rules, expires })
                }
            }

            #[inline(always)]
            fn learn(self, address: &$address, rules: u64, expires: u64, now: u64) -> Insertion {
                if Self::READ_ONLY {
                    return Insertion::Done;
                }
                hosts::$module::learn(address, rules, expires, now)
            }
        }

        impl<const HOOK: u8> FlowMaps<$address> for Kernel<HOOK> {
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
                        // What is there has expired; a lookup would find it before the new one.
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

maps_of!(V4, CLIENTS4, NETS4, ANSWERS4, HOSTS4, v4, FLOWS4, NEW_FLOWS4);
maps_of!(V6, CLIENTS6, NETS6, ANSWERS6, HOSTS6, v6, FLOWS6, NEW_FLOWS6);
