//! Learned addresses in the kernel: refreshed by many CPUs at once, narrowed or removed by one
//! alone.
//!
//! An element of a hash map may be removed, and its memory given to another address, between a
//! lookup and a write. Nothing is therefore written unless [`Host::version`] says, in the atomic
//! step that counts the writer in or claims the element, that the element still is the one looked
//! up.
//!
//! Exported functions are global functions, as in [`super::global_fns`].

use aya_ebpf::bindings::{BPF_EXIST, BPF_NOEXIST};

use super::{atomic, maps};
use crate::{
    abi::{
        COUNT_ALL, Host, HostUpdate, Operation, RULE_WORDS, RuleMask, UpdateStatus, V4, V6,
        count_of_client, count_of_rule, host_count, may_insert,
    },
    datapath::{Insertion, NANOS_PER_SEC},
};

/// Maximum number of attempts at an element that others write to, which takes them nanoseconds.
const ATTEMPTS: u32 = 4;
/// Maximum number of attempts at the expiry of an element.
const PROLONGATIONS: u32 = 3;
/// Maximum number of learned addresses, from the oldest on, that are examined to make room for one.
const RECLAIM: u32 = 8;
/// Nanoseconds that an address has to be expired before it makes room: for as long, packets to it
/// are denied as expired.
const RECLAIM_GRACE: u64 = 60 * NANOS_PER_SEC;

/// Expected version that every version meets.
const ANY: u64 = 0;

/// Extends the life of an element to `expires` at least; false if others keep changing its expiry.
///
/// # Safety
///
/// The caller has counted itself in.
#[inline(always)]
unsafe fn prolong(host: *mut Host, expires: u64) -> bool {
    for _ in 0..PROLONGATIONS {
        // SAFETY: the element stays as long as the caller is counted in.
        unsafe {
            let at = &raw mut (*host).expires;
            let before = at.read_volatile();
            if before >= expires || atomic::exchange(at, before, expires) {
                return true;
            }
        }
    }
    false
}

/// Claims an element that has this version, unless it is being refreshed or is claimed.
///
/// # Safety
///
/// `at` points to the version of a map's element.
#[inline(always)]
unsafe fn claim(at: *mut u64, version: u64) -> bool {
    // SAFETY: the caller's promise.
    !Host::is_busy(version) && unsafe { atomic::exchange(at, version, version | Host::CLAIMED) }
}

/// Rules of an element: each word is true by itself.
///
/// # Safety
///
/// `host` points to a map's element.
#[inline(always)]
unsafe fn read_rules(host: *const Host) -> RuleMask {
    let mut rules = RuleMask::EMPTY;
    for word in 0..RULE_WORDS {
        // SAFETY: the caller's promise.
        rules.0[word] = unsafe { (&raw const (*host).rules.0[word]).read_volatile() };
    }
    rules
}

/// Replaces the rules of an element.
///
/// # Safety
///
/// The caller has claimed it.
#[inline(always)]
unsafe fn write_rules(host: *mut Host, rules: &RuleMask) {
    for word in 0..RULE_WORDS {
        // SAFETY: the caller's promise.
        unsafe { (&raw mut (*host).rules.0[word]).write_volatile(rules.0[word]) };
    }
}

/// Adds rules to an element that the caller has counted itself in, which is written to only if it lacks
/// some.
#[inline(never)]
#[unsafe(no_mangle)]
extern "C" fn add_rules_to_host(host: *mut Host, rules: *const RuleMask) -> u64 {
    // SAFETY: null, or from references.
    let (Some(_), Some(rules)) = (unsafe { (host.as_ref(), rules.as_ref()) }) else {
        return 0;
    };
    // SAFETY: words of a map's value, which stays what it is.
    unsafe {
        if !(*rules & !read_rules(host)).is_empty() {
            for word in 0..RULE_WORDS {
                atomic::set_bits(&raw mut (*host).rules.0[word], rules.0[word]);
            }
        }
    }
    0
}

/// Changes of a count.
const MORE: u64 = 1;
const LESS: u64 = u64::MAX;

/// Returns a word of `HOST_COUNTS`.
#[inline(always)]
fn count_at(table: u64, element: u32) -> Option<*mut u64> {
    maps::HOST_COUNTS.get_ptr_mut(host_count(table, element))
}

/// Counts an address of an owner in, by [`MORE`], or out, by [`LESS`].
#[inline(never)]
#[unsafe(no_mangle)]
extern "C" fn count_host(table: u64, owner: u64, change: u64) -> u64 {
    for element in [COUNT_ALL, count_of_rule(owner), count_of_client(owner)] {
        if let Some(count) = count_at(table, element) {
            // SAFETY: a word of a map's value.
            unsafe { atomic::add(count, change) };
        }
    }
    0
}

/// Whether an owner may insert one more address; 0 if not.
#[inline(never)]
#[unsafe(no_mangle)]
extern "C" fn may_insert_host(table: u64, owner: u64) -> u64 {
    // SAFETY: words of a map's values.
    let count = |element| count_at(table, element).map_or(0, |at| unsafe { at.read_volatile() });
    u64::from(may_insert(owner, count))
}

macro_rules! hosts_of {
    (
        $module:ident,
        $address:ty,
        $hosts:ident,
        $order:ident,
        $refresh:ident,
        $make_room:ident,
        $remove:ident,
        $table:expr
    ) => {
        pub mod $module {
            use super::*;

            /// Returns the element of an address, and a version that it had as such.
            #[inline(always)]
            fn find(address: &$address) -> Option<(*mut Host, u64)> {
                let host = maps::$hosts.get_ptr_mut(address)?;
                version_of_element(address, host).map(|version| (host, version))
            }

            /// Returns a version that the element had as the address's; `None` if the address has
            /// another.
            #[inline(always)]
            fn version_of_element(address: &$address, host: *mut Host) -> Option<u64> {
                // SAFETY: a word of a map's value. The element was the address's when the word was
                // read, if it is still found under the address afterwards.
                let version = unsafe { atomic::add(&raw mut (*host).version, 0) };
                (maps::$hosts.get_ptr_mut(address)? == host).then_some(version)
            }

            /// Adds rules to an address that is there, and extends its life. An expired element
            /// gets these rules alone: what it had before is over.
            #[inline(never)]
            #[unsafe(no_mangle)]
            extern "C" fn $refresh(
                address: *const $address,
                rules: *const RuleMask,
                expires: u64,
                now: u64,
                owner: u64,
            ) -> u64 {
                // SAFETY: null, or from references.
                let (Some(&address), Some(rules)) = (unsafe { (address.as_ref(), rules.as_ref()) })
                else {
                    return UpdateStatus::Busy as u64;
                };
                let address = &address;
                for _ in 0..ATTEMPTS {
                    let Some(host) = maps::$hosts.get_ptr_mut(address) else {
                        return UpdateStatus::Absent as u64;
                    };
                    let Some(version) = version_of_element(address, host) else {
                        continue;
                    };
                    if !Host::is_open(version) {
                        continue;
                    }
                    // SAFETY: words of a map's value, which stays the address's once counted in,
                    // and is this run's alone once claimed.
                    unsafe {
                        let at = &raw mut (*host).version;
                        if (&raw const (*host).expires).read_volatile() <= now {
                            if !claim(at, version) {
                                continue;
                            }
                            write_rules(host, rules);
                            (&raw mut (*host).expires).write_volatile(expires);
                            let before = (&raw const (*host).owner).read_volatile();
                            (&raw mut (*host).owner).write_volatile(owner);
                            count_host($table, before, LESS);
                            count_host($table, owner, MORE);
                            // The highest bit is carried out of the word.
                            atomic::add(at, Host::CLAIMED + Host::REFRESH);
                            return UpdateStatus::Done as u64;
                        }
                        if !atomic::exchange(at, version, version + Host::WRITER) {
                            continue;
                        }
                        add_rules_to_host(host, rules);
                        let prolonged = prolong(host, expires);
                        atomic::add(at, Host::REFRESH - Host::WRITER);
                        if prolonged {
                            return UpdateStatus::Done as u64;
                        }
                    }
                }
                UpdateStatus::Busy as u64
            }

            /// Adds rules to an address and extends its life, or inserts the address. An expired
            /// element keeps nothing of what it had.
            #[inline(always)]
            pub fn learn(
                address: &$address,
                rules: &RuleMask,
                expires: u64,
                now: u64,
                owner: u64,
            ) -> Insertion {
                let known = $refresh(address, rules, expires, now, owner);
                if known != UpdateStatus::Absent as u64 {
                    return insertion(known);
                }
                // Who has its share takes the place of what has expired, and no other.
                if may_insert_host($table, owner) == 0 && $make_room(now) == 0 {
                    return Insertion::OverShare;
                }
                if insert(address, rules, expires, now, owner) != 0 {
                    return Insertion::Done;
                }
                // Another CPU may have inserted it in between.
                let known = $refresh(address, rules, expires, now, owner);
                if known != UpdateStatus::Absent as u64 {
                    return insertion(known);
                }
                if $make_room(now) != 0 && insert(address, rules, expires, now, owner) != 0 {
                    return Insertion::Done;
                }
                Insertion::Full
            }

            #[inline(always)]
            fn insertion(outcome: u64) -> Insertion {
                if outcome == UpdateStatus::Done as u64 { Insertion::Done } else { Insertion::Busy }
            }

            /// Inserts an address; 0 if it is there already, or if there is no room.
            #[inline(never)]
            fn insert(
                address: &$address,
                rules: &RuleMask,
                expires: u64,
                now: u64,
                owner: u64,
            ) -> u64 {
                let host = Host::new(*rules, expires, now, owner);
                if maps::$hosts.insert(address, &host, u64::from(BPF_NOEXIST)).is_err() {
                    return 0;
                }
                count_host($table, owner, MORE);
                // In place of the oldest entry if the queue is full: the daemon sweeps too.
                let _ = maps::$order.push(address, u64::from(BPF_EXIST));
                1
            }

            /// Removes one expired address, if there is one among the oldest; 0 if there is none.
            #[inline(never)]
            #[unsafe(no_mangle)]
            extern "C" fn $make_room(now: u64) -> u64 {
                let before = now.saturating_sub(RECLAIM_GRACE);
                for _ in 0..RECLAIM {
                    let Ok(Some(oldest)) = maps::$order.pop() else {
                        return 0;
                    };
                    let outcome = $remove(&raw const oldest, before);
                    if outcome == UpdateStatus::Done as u64 {
                        return 1;
                    }
                    // An address that was removed before leaves the queue.
                    if outcome != UpdateStatus::Absent as u64 {
                        let _ = maps::$order.push(&oldest, u64::from(BPF_EXIST));
                    }
                }
                0
            }

            /// Removes an address that expires before a time, unless it is being refreshed.
            #[inline(never)]
            #[unsafe(no_mangle)]
            extern "C" fn $remove(address: *const $address, before: u64) -> u64 {
                // SAFETY: null, or from a reference.
                let Some(&address) = (unsafe { address.as_ref() }) else {
                    return UpdateStatus::Busy as u64;
                };
                let address = &address;
                let Some((host, version)) = find(address) else {
                    return absent_or_busy(address);
                };
                // SAFETY: words of a map's value. The claim succeeds only if the version is still
                // the one that was read before the other words.
                unsafe {
                    if (&raw const (*host).expires).read_volatile() >= before {
                        return UpdateStatus::Changed as u64;
                    }
                    let at = &raw mut (*host).version;
                    if !claim(at, version) {
                        return UpdateStatus::Busy as u64;
                    }
                    let owner = (&raw const (*host).owner).read_volatile();
                    if maps::$hosts.remove(address).is_err() {
                        atomic::add(at, Host::CLAIMED);
                        return UpdateStatus::Busy as u64;
                    }
                    count_host($table, owner, LESS);
                }
                UpdateStatus::Done as u64
            }

            /// Takes rules and time away from an address that has the expected version.
            #[inline(always)]
            pub fn narrow(address: &$address, amendment: &mut HostUpdate) -> u64 {
                let Some((host, version)) = find(address) else {
                    return absent_or_busy(address);
                };
                if amendment.expected != ANY && amendment.expected != version {
                    return UpdateStatus::Changed as u64;
                }
                // SAFETY: words of a map's value, which is the caller's alone once claimed.
                unsafe {
                    let at = &raw mut (*host).version;
                    if !claim(at, version) {
                        return UpdateStatus::Busy as u64;
                    }
                    let rules = read_rules(host) & amendment.host.rules;
                    let expires = (&raw const (*host).expires).read_volatile();
                    let expires = if expires < amendment.host.expires {
                        expires
                    } else {
                        amendment.host.expires
                    };
                    write_rules(host, &rules);
                    (&raw mut (*host).expires).write_volatile(expires);
                    // The highest bit is carried out of the word.
                    atomic::add(at, Host::CLAIMED);
                    amendment.host = Host { version, rules, expires, ..amendment.host };
                }
                UpdateStatus::Done as u64
            }

            /// Carries out an update by userspace.
            #[inline(always)]
            pub fn amend(address: &$address, amendment: &mut HostUpdate, now: u64) -> u64 {
                if amendment.operation == Operation::Restrict as u32 {
                    return narrow(address, amendment);
                }
                if amendment.operation == Operation::Remove as u32 {
                    return $remove(address, amendment.host.expires);
                }
                amendment.expected = version_of(address);
                let Host { rules, expires, owner, .. } = amendment.host;
                let insertion = learn(address, &rules, expires, now, owner);
                let version = version_of(address);
                let alone = if amendment.expected == 0 {
                    Host::version_at(now)
                } else {
                    amendment.expected.wrapping_add(Host::REFRESH)
                };
                amendment.host.version = if version == alone { version } else { 0 };
                match insertion {
                    Insertion::Done => UpdateStatus::Done as u64,
                    Insertion::Full | Insertion::OverShare => UpdateStatus::Full as u64,
                    Insertion::Busy => UpdateStatus::Busy as u64,
                }
            }

            #[inline(always)]
            fn version_of(address: &$address) -> u64 {
                // SAFETY: one word, which was true a moment ago.
                unsafe { maps::$hosts.get(address) }.map_or(0, |host| host.version)
            }

            #[inline(always)]
            fn absent_or_busy(address: &$address) -> u64 {
                // An address that was removed and came back meanwhile is to be tried again.
                match maps::$hosts.get_ptr(address) {
                    None => UpdateStatus::Absent as u64,
                    Some(_) => UpdateStatus::Busy as u64,
                }
            }
        }
    };
}

hosts_of!(v4, V4, HOSTS4, HOSTS_ORDER4, refresh_host4, make_room_for_host4, remove_host4, 0);
hosts_of!(v6, V6, HOSTS6, HOSTS_ORDER6, refresh_host6, make_room_for_host6, remove_host6, 1);
