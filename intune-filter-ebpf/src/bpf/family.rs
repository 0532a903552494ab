//! The kernel's maps of one address family.

use aya_ebpf::{
    bindings::{BPF_ANY, bpf_fib_lookup},
    btf_maps::lpm_trie::Key,
    helpers::generated,
};
use intune_filter_ebpf::{
    abi::{Address, Client, ClientKey, Flow, FlowKey, Host, V4, V6},
    dns::{self, Scratch},
    world::{Insertion, Maps},
};

use super::{
    hosts,
    kernel::{EXPLAIN, Kernel},
    maps,
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
    const { assert!(size_of::<T>() <= size_of::<[u64; dns::COPY_WORDS]>()) };
    let mut value = value?;
    if HOOK == EXPLAIN {
        let copy = Kernel::<HOOK>::scratch()?.facts.copy.get().cast::<T>();
        // SAFETY: the memory is this run's, and has room for the value.
        unsafe { copy.write(*value) };
        value = copy;
    }
    // SAFETY: the pointer is to a map's value. Other CPUs may count in it at the same time: a
    // lost count is accepted, flags and times are single stores.
    Some(visit(unsafe { &mut *value }))
}

const AF_INET: u8 = 2;
const AF_INET6: u8 = 10;

const _: () = assert!(size_of::<bpf_fib_lookup>() == size_of::<[u64; 8]>());

/// Which routes a question is for.
#[derive(Clone, Copy)]
enum Routes {
    /// All, as for a packet without a mark.
    All,
    /// The table main.
    Main,
    /// The table local, which has unicast routes only where it is one with the table main.
    Local,
}

/// Whether the routes make the gateway itself the destination.
///
/// The full lookup says "not forwarded" for local destinations and for those without a route
/// alike. Where tables are apart, main has a unicast route for the former (the subnet's, or the
/// default one) and none for the latter, so that a packet that policy routing by a mark would
/// forward is never taken for a local one. As long as a namespace has no rules of its own, the
/// kernel keeps IPv4's local routes in the table main, and says "not forwarded" there too. The
/// way back to the client, looked for in the table local, tells that case from the other; then
/// there is no policy routing either, and what is not forwarded is the gateway's to answer.
#[inline(always)]
fn is_local_route(ask: impl Fn(Routes) -> i64) -> bool {
    const NOT_FORWARDED: i64 = 4;
    const SUCCESS: i64 = 0;
    const NO_NEIGHBOUR: i64 = 7;
    /// At TC: there is a route, and the frame is longer than it takes.
    const TOO_LONG: i64 = 8;
    let has_route = |routes| matches!(ask(routes), SUCCESS | NO_NEIGHBOUR | TOO_LONG);
    ask(Routes::All) == NOT_FORWARDED && (has_route(Routes::Main) || has_route(Routes::Local))
}

/// The key of a lookup of a whole address in a trie.
#[inline(always)]
fn trie_key<'s, A: Address>(scratch: &'s Scratch, address: &A) -> &'s Key<A> {
    let key = scratch.facts.trie_key.get().cast::<Key<A>>();
    // SAFETY: the memory is this run's, and has room for the key.
    unsafe {
        key.write(Key::new(A::BITS, *address));
        &*key
    }
}

macro_rules! maps_of {
    ($address:ty, $family:expr, $source:ident, $destination:ident, $clients:ident, $networks:ident,
     $answers:ident, $hosts:ident, $module:ident, $flows:ident, $new_flows:ident) => {
        impl<const HOOK: u8> Maps<$address> for Kernel<HOOK> {
            #[inline(always)]
            fn client(
                self,
                scratch: &Scratch,
                set: u32,
                zone: u16,
                address: &$address,
            ) -> Option<Client> {
                const BITS: u32 = 8 * size_of::<ClientKey<$address>>() as u32;
                let key = scratch.facts.trie_key.get().cast::<Key<ClientKey<$address>>>();
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

            #[inline(always)]
            fn is_acceptable(self, scratch: &Scratch, set: u32, address: &$address) -> bool {
                let key = trie_key(scratch, address);
                let value = maps::$answers.get_value_ptr_mut(set, key);
                // SAFETY: one word of a map that is never written while it is in use.
                value.is_none_or(|accept| unsafe { *accept != 0 })
            }

            #[inline(always)]
            fn is_local(
                self,
                scratch: &Scratch,
                ifindex: u32,
                source: &$address,
                destination: &$address,
            ) -> bool {
                const DIRECT: u32 = 1;
                const TABLE: u32 = 8;
                const TABLE_LOCAL: u32 = 255;
                let request = scratch.facts.route.get().cast::<bpf_fib_lookup>();
                // The kernel forwards nothing from a link-local source, hence denies knowledge.
                let anybody = <$address>::default();
                let source = if <$address>::BITS == 128 && source.is_link_local() {
                    &anybody
                } else {
                    source
                };
                let ask = |routes| {
                    let (destination, flags) = match routes {
                        Routes::All => (destination, 0),
                        Routes::Main => (destination, DIRECT),
                        Routes::Local => (source, DIRECT | TABLE),
                    };
                    // SAFETY: the memory is this run's, and has the request's size; zero is valid
                    // for all of its integers. The lookup writes into it.
                    unsafe {
                        // Volatile: a call of memset is a loop, and the verifier walks it.
                        for word in 0..8 {
                            request.cast::<u64>().add(word).write_volatile(0);
                        }
                        (*request).family = $family;
                        (*request).ifindex = ifindex;
                        (*request).__bindgen_anon_3.$source = source.0;
                        (*request).__bindgen_anon_4.$destination = destination.0;
                        if flags & TABLE != 0 {
                            (*request).__bindgen_anon_5.tbid = TABLE_LOCAL;
                        }
                        let size = size_of::<bpf_fib_lookup>() as i32;
                        generated::bpf_fib_lookup(self.context, request, size, flags)
                    }
                };
                is_local_route(ask)
            }

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

maps_of!(
    V4, AF_INET, ipv4_src, ipv4_dst, CLIENTS4, NETS4, ANSWERS4, HOSTS4, v4, FLOWS4, NEW_FLOWS4
);
maps_of!(
    V6, AF_INET6, ipv6_src, ipv6_dst, CLIENTS6, NETS6, ANSWERS6, HOSTS6, v6, FLOWS6, NEW_FLOWS6
);
