//! The kernel's maps and clock, as the logic sees them.

use core::{arch::asm, ffi::c_void};

use aya_ebpf::{
    EbpfContext,
    bindings::{BPF_ANY, BPF_NOEXIST, bpf_fib_lookup},
    btf_maps::lpm_trie::Key,
    helpers::generated,
};
use intune_filter_ebpf::{
    abi::{
        Active, Address, AnswerEvent, Client, ClientKey, DeniedEvent, EdgeKey, Flow, FlowKey,
        FragmentKey, FragmentVerdict, Glob, Host, NameNode, Pending, PendingKey, Reason, Settings,
        V4, V6, ZoneKey,
    },
    dns::Scratch,
    world::{Insertion, Maps, RuleEvent, World},
};

use super::maps;

/// Denials that one CPU reports in a second; the rest are counted.
const REPORTS_PER_SECOND: u64 = 1000;
/// Answers to denied packets that one CPU sends in a second; the rest are dropped silently.
const REPLIES_PER_SECOND: u64 = 1000;
const SECOND: u64 = 1_000_000_000;

/// The kernel's maps and clock, for the program on a hook: [`XDP`], [`TC`] or [`EXPLAIN`].
#[derive(Clone, Copy)]
pub struct Kernel<const HOOK: u8> {
    context: *mut c_void,
}

impl<const HOOK: u8> Kernel<HOOK> {
    /// Whether no map may be changed.
    const READ_ONLY: bool = HOOK == EXPLAIN;

    /// The maps, for a run with this context.
    #[inline(always)]
    pub fn new(context: &impl EbpfContext) -> Self {
        Self { context: context.as_ptr() }
    }
}

/// The program at XDP.
pub const XDP: u8 = 0;
/// The program at TC.
pub const TC: u8 = 1;
/// The program that is never attached, and changes nothing.
pub const EXPLAIN: u8 = 2;

impl<const HOOK: u8> World for Kernel<HOOK> {
    #[inline(always)]
    fn now(self) -> u64 {
        // SAFETY: the helper has no arguments.
        unsafe { generated::bpf_ktime_get_boot_ns() }
    }

    #[inline(always)]
    fn active(self) -> Option<Active> {
        maps::ACTIVE.get(0).copied().filter(|active| active.generation != 0)
    }

    #[inline(always)]
    fn zone(self, ifindex: u32, vlan: u16) -> Option<u16> {
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
    fn port(self, set: u32, index: u32) -> u64 {
        maps::PORTS.get_value(set, &index).copied().unwrap_or_default()
    }

    #[inline(always)]
    fn server(self, set: u32, address: &V6) -> u32 {
        let value = maps::SERVERS.get_value_ptr_mut(set, address);
        // SAFETY: the value is one word of a map that is never written while it is in use.
        value.map_or(0, |bits| unsafe { *bits })
    }

    #[inline(always)]
    fn is_own(self, address: &V6) -> bool {
        maps::OWN_ADDRESSES.get_ptr(address).is_some()
    }

    #[inline(always)]
    fn edge<R>(self, set: u32, key: &EdgeKey, visit: impl FnOnce(&NameNode) -> R) -> Option<R> {
        let value = maps::EDGES.get_value_ptr_mut(set, key)?;
        // SAFETY: the map is never written while it is in use.
        Some(visit(unsafe { &*value }))
    }

    #[inline(always)]
    fn glob<R>(self, set: u32, index: u32, visit: impl FnOnce(&Glob) -> R) -> Option<R> {
        let value = maps::GLOBS.get_value_ptr_mut(set, &index)?;
        // SAFETY: the map is never written while it is in use.
        Some(visit(unsafe { &*value }))
    }

    #[inline(always)]
    fn remember(self, key: &PendingKey, pending: &Pending) {
        if !Self::READ_ONLY {
            // An LRU map makes room for itself; what fails is learned from the next answer.
            let _ = maps::DNS_PENDING.insert(key, pending, u64::from(BPF_ANY));
        }
    }

    #[inline(always)]
    fn pending(self, key: &PendingKey) -> Option<Pending> {
        // SAFETY: a concurrent reuse of the element makes the hash of the question differ.
        unsafe { maps::DNS_PENDING.get(key) }.copied()
    }

    #[inline(always)]
    fn fragment(self, key: &FragmentKey) -> Option<FragmentVerdict> {
        // SAFETY: the fields are read one by one; an element that is reused meanwhile belonged to
        // a datagram that is too old.
        unsafe { maps::FRAGMENTS.get(key) }.copied()
    }

    #[inline(always)]
    fn keep_fragment(self, key: &FragmentKey, verdict: &FragmentVerdict) {
        if !Self::READ_ONLY {
            // An LRU map makes room for itself; without an entry later fragments are denied.
            let _ = maps::FRAGMENTS.insert(key, verdict, u64::from(BPF_ANY));
        }
    }

    #[inline(always)]
    fn count(self, reason: Reason, packets: u32, bytes: u32) {
        if Self::READ_ONLY {
            return;
        }
        if let Some(counter) = maps::COUNTERS.get_ptr_mut(reason as u32) {
            // SAFETY: the element is this CPU's.
            unsafe {
                (*counter).packets += u64::from(packets);
                (*counter).bytes += u64::from(bytes);
            }
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
                (*counter).packets += u64::from(packets);
                (*counter).bytes += u64::from(bytes);
                if event == RuleEvent::Opened {
                    (*counter).flows += 1;
                }
            }
        }
    }

    #[inline(always)]
    fn may_reply(self, now: u64) -> bool {
        Self::READ_ONLY || take(maps::REPLIES, now, REPLIES_PER_SECOND)
    }

    #[inline(always)]
    fn claim<'s>(self) -> Option<&'s Scratch>
    where
        Self: 's,
    {
        let scratch = match HOOK {
            XDP => maps::SCRATCH_XDP.get_ptr(0),
            TC => maps::SCRATCH_TC.get_ptr(0),
            _ => maps::SCRATCH_EXPLAIN.get_ptr(0),
        }?;
        // SAFETY: elements of a per-CPU array live as long as the program.
        let scratch = unsafe { &*scratch };
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

    #[inline(always)]
    fn report_denied(self, time: u64, event: impl FnOnce() -> DeniedEvent) {
        if Self::READ_ONLY || !take(maps::REPORTS, time, REPORTS_PER_SECOND) {
            return;
        }
        let Some(mut entry) = maps::EVENTS.reserve_untyped::<DeniedEvent>(0) else {
            self.count(Reason::EventLost, 1, 0);
            return;
        };
        entry.write(event());
        entry.submit(0);
    }

    #[inline(always)]
    fn report_answer(self, scratch: &Scratch) {
        if Self::READ_ONLY {
            return;
        }
        let mut length = scratch.length.get();
        // SAFETY: the verifier wants the bound right before its use; the length is below it.
        unsafe {
            asm!("{length} &= 4095", length = inout(reg) length, options(pure, nomem, nostack));
        }
        let size = size_of::<AnswerEvent>() as u64 + length;
        // SAFETY: the record's head and the message follow each other in the scratch memory.
        let failed = unsafe {
            generated::bpf_ringbuf_output(
                (&raw const maps::EVENTS).cast_mut().cast(),
                scratch.event.get().cast(),
                size,
                0,
            )
        };
        if failed != 0 {
            self.count(Reason::EventLost, 1, 0);
        }
    }
}

/// Takes one from this CPU's allowance for this second; false if nothing is left of it.
#[inline(always)]
fn take(allowance: u32, now: u64, per_second: u64) -> bool {
    let Some(allowance) = maps::SCRATCH_ALLOWANCE.get_ptr_mut(allowance) else {
        return false;
    };
    // SAFETY: the element is this CPU's; a nested run can at worst report a few more.
    unsafe {
        if now.wrapping_sub((*allowance).second) > SECOND {
            (*allowance).second = now;
            (*allowance).left = per_second;
        }
        if (*allowance).left == 0 {
            return false;
        }
        (*allowance).left -= 1;
    }
    true
}

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
        reserved: 0,
    }
}

/// Adds rules to a learned address and prolongs it; false if it is not there.
#[inline(always)]
fn refresh(host: Option<*mut Host>, rules: u64, expires: u64) -> bool {
    let Some(host) = host else {
        return false;
    };
    // SAFETY: the pointer is to a map's value. Two CPUs may add rules at once, hence the atomic
    // OR; of two times, either is one that an answer gave.
    unsafe {
        if (*host).rules & rules != rules {
            asm!("lock *(u64 *)({at} + 0) |= {rules}",
                at = in(reg) &raw mut (*host).rules, rules = in(reg) rules, options(nostack));
        }
        if (*host).expires < expires {
            (*host).expires = expires;
        }
    }
    true
}

/// Hands out a flow: the map's own, or, read-only, a copy.
#[inline(always)]
fn visit_flow<const HOOK: u8, R>(
    flow: Option<*mut Flow>,
    visit: impl FnOnce(&mut Flow) -> R,
) -> Option<R> {
    let flow = flow?;
    // SAFETY: the pointer is to a map's value. Other CPUs may count in it at the same time: a
    // lost count is accepted, flags and times are single stores.
    unsafe {
        if HOOK == EXPLAIN {
            let mut copy = *flow;
            return Some(visit(&mut copy));
        }
        Some(visit(&mut *flow))
    }
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
    let has_route = |routes| matches!(ask(routes), SUCCESS | NO_NEIGHBOUR);
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
     $answers:ident, $hosts:ident, $flows:ident, $new_flows:ident) => {
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
                    .map(|client| read_client(client.cast_const()))
            }

            #[inline(always)]
            fn networks(self, scratch: &Scratch, set: u32, address: &$address) -> u64 {
                maps::$networks
                    .get_value_ptr_mut(set, trie_key(scratch, address))
                    .map_or(0, |rules| read_rules(rules.cast_const()))
            }

            #[inline(always)]
            fn host(self, address: &$address) -> Option<Host> {
                // SAFETY: both words are single loads, and stale ones were true a moment ago.
                unsafe { maps::$hosts.get(address) }.copied()
            }

            #[inline(always)]
            fn learn(self, address: &$address, rules: u64, expires: u64) -> Insertion {
                if Self::READ_ONLY || refresh(maps::$hosts.get_ptr_mut(address), rules, expires) {
                    return Insertion::Done;
                }
                let host = Host { rules, expires };
                if maps::$hosts.insert(address, &host, u64::from(BPF_NOEXIST)).is_ok() {
                    return Insertion::Done;
                }
                // Another CPU may have inserted it in between.
                if refresh(maps::$hosts.get_ptr_mut(address), rules, expires) {
                    return Insertion::Done;
                }
                Insertion::Full
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
                visit_flow::<HOOK, R>(maps::$flows.get_ptr_mut(key), visit)
            }

            #[inline(always)]
            fn new_flow<R>(
                self,
                key: &FlowKey<$address>,
                visit: impl FnOnce(&mut Flow) -> R,
            ) -> Option<R> {
                visit_flow::<HOOK, R>(maps::$new_flows.get_ptr_mut(key), visit)
            }

            #[inline(always)]
            fn open(self, key: &FlowKey<$address>, flow: &Flow) {
                if !Self::READ_ONLY {
                    // What is there has expired; a lookup would find it before the new one.
                    let _ = maps::$flows.remove(key);
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

maps_of!(V4, AF_INET, ipv4_src, ipv4_dst, CLIENTS4, NETS4, ANSWERS4, HOSTS4, FLOWS4, NEW_FLOWS4);
maps_of!(V6, AF_INET6, ipv6_src, ipv6_dst, CLIENTS6, NETS6, ANSWERS6, HOSTS6, FLOWS6, NEW_FLOWS6);
