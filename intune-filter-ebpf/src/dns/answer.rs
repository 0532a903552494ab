//! The answer section: which addresses it gives to the question's name.
//!
//! Nothing is learned before the whole section has been read. Addresses count only under the
//! owner that the question's name leads to along CNAMEs, in whatever order the records are.

use super::{
    HEADER_LENGTH, Message, Scratch, Step, name,
    service::{self, TYPE_HTTPS, TYPE_SVCB},
    take_step, walk,
};
use crate::{
    abi::{Settings, V4, V6},
    world::{Insertion, Maps, World},
};

/// Records of an answer section at most.
pub(super) const RECORDS: u32 = 64;
/// CNAMEs that are followed at most.
const CHAIN: u32 = 16;
/// CNAMEs that are compared in one step.
const COMPARED: u64 = 4;
/// Steps that a message is read with at most, and learned from: what a packet may wait for. Each
/// label, pointer and root of a name is one, and so is each record, parameter and hint, and each
/// look for the next CNAME. A pointer to a name that was read just before costs nothing. This is
/// enough for a chain of 16 CNAMEs in whatever order, with names of five labels in full; messages
/// that are dearer to read, no server sends.
pub(super) const STEPS_OF_MESSAGE: u64 = 300;
/// How many of them an address takes that is learned.
const STEPS_OF_ADDRESS: u64 = 19;
/// So many addresses fewer are learned, but one, where others are left to userspace: to wake it takes
/// as long.
const ADDRESSES_OF_WAKING: u64 = 9;
/// Where the second numbers of CNAMEs and addresses begin in their slots.
pub(super) const SECOND: u64 = RECORDS as u64;

pub(super) const TYPE_A: u64 = 1;
const TYPE_CNAME: u64 = 5;
pub(super) const TYPE_AAAA: u64 = 28;
const CLASS_IN: u64 = 1;

/// What came of an answer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Lesson {
    /// Addresses learned.
    pub learned: u64,
    /// Addresses refused: private, the gateway's own, impossible.
    pub refused: u64,
    /// Addresses that found no room.
    pub full: u64,
    /// Addresses that could not be written to at this moment.
    pub busy: u64,
    /// Addresses that were not looked at.
    pub left: u64,
}

/// Reads the answer section from `start` on, leaving its addresses in the scratch memory. False
/// if it does not parse to its end, has more records or longer names than are read, takes more
/// steps than there are, or if its CNAMEs lead in a circle or too far.
#[inline(always)]
pub fn read_answer<W: World>(scratch: &Scratch, world: W, start: u64) -> bool {
    let records = scratch.message.be16(6);
    if records > u64::from(RECORDS) {
        return false;
    }
    // The question's labels were gone over before.
    name::begin(scratch, STEPS_OF_MESSAGE - (start - HEADER_LENGTH) / 2);
    if !name::read_name(scratch, world, HEADER_LENGTH, &scratch.recent_target) {
        return false;
    }
    scratch.owner.set(scratch.hash.get());
    scratch.record.set(start);
    scratch.records_left.set(records);
    scratch.address_count.set(0);
    scratch.alias_count.set(0);
    scratch.service_count.set(0);
    walk::<Record, W>(scratch, world, RECORDS);
    if scratch.records_left.get() != 0 {
        return false;
    }
    scratch.alias_next.set(0);
    scratch.chain_left.set(u64::from(CHAIN));
    scratch.complete.set(0);
    walk::<Alias, W>(scratch, world, STEPS_OF_MESSAGE as u32 + 1);
    scratch.complete.get() != 0 && service::read_hints(scratch, world)
}

/// Reads one record. `records_left` stays above 0 if it does not parse.
///
/// A CNAME has the hash of its owner in one slot and, 64 further on, that of its target. An
/// address has where it is, where the fixed part of its record begins, and its type; and the hash of
/// its owner. A service has where its fixed part begins, and the hash of its owner.
struct Record;

impl<W: World> Step<W> for Record {
    #[inline(always)]
    fn step(scratch: &Scratch, world: W) -> bool {
        let left = scratch.records_left.get();
        if left == 0 || !take_step(scratch) {
            return true;
        }
        let (message, length) = (&scratch.message, scratch.length.get());
        if !name::read_name(scratch, world, scratch.record.get(), &scratch.recent_owner) {
            return true;
        }
        let (owner, fixed) = (scratch.hash.get(), scratch.name_end.get());
        let data = fixed + 10;
        if data > length {
            return true;
        }
        let data_length = message.be16(fixed + 8);
        let next = data + data_length;
        if next > length {
            return true;
        }
        let kind = message.be16(fixed);
        if message.be16(fixed + 2) != CLASS_IN {
            // What the data of other classes is, their types do not say.
        } else if kind == TYPE_CNAME {
            let is_name = name::read_name(scratch, world, data, &scratch.recent_target);
            if !is_name || scratch.name_end.get() != next {
                return true;
            }
            let count = scratch.alias_count.get();
            scratch.aliases.set(count, owner);
            scratch.aliases.set(SECOND + count, scratch.hash.get());
            scratch.alias_count.set(count + 1);
        } else if kind == TYPE_A || kind == TYPE_AAAA {
            if data_length != (if kind == TYPE_A { 4 } else { 16 }) {
                return true;
            }
            let count = scratch.address_count.get();
            scratch.addresses.set(count, pack(data, fixed, kind));
            scratch.addresses.set(SECOND + count, owner);
            scratch.address_count.set(count + 1);
        } else if kind == TYPE_SVCB || kind == TYPE_HTTPS {
            let count = scratch.service_count.get();
            scratch.services.set(count, fixed);
            scratch.services.set(SECOND + count, owner);
            scratch.service_count.set(count + 1);
        }
        scratch.record.set(next);
        scratch.records_left.set(left - 1);
        false
    }
}

/// One word for an address: where it is, where the fixed part of its record begins, and its type.
#[inline(always)]
pub(super) const fn pack(data: u64, fixed: u64, kind: u64) -> u64 {
    data << 32 | fixed << 8 | kind
}

/// Looks at some CNAMEs, and starts again with the target of the first that is the owner's. `complete` says
/// whether an owner was reached that has none: a name that has one has no addresses (RFC 2181
/// section 10.1).
struct Alias;

impl<W: World> Step<W> for Alias {
    #[inline(always)]
    fn step(scratch: &Scratch, _: W) -> bool {
        let (next, count) = (scratch.alias_next.get(), scratch.alias_count.get());
        if next >= count {
            scratch.complete.set(1);
            return true;
        }
        if !take_step(scratch) {
            return true;
        }
        let owner = scratch.owner.get();
        for alias in next..next + COMPARED {
            if alias < count && scratch.aliases.get(alias) == owner {
                let left = scratch.chain_left.get();
                scratch.chain_left.set(left.saturating_sub(1));
                scratch.owner.set(scratch.aliases.get(SECOND + alias));
                scratch.alias_next.set(0);
                return left == 0;
            }
        }
        scratch.alias_next.set(next + COMPARED);
        false
    }
}

/// For how many of the addresses that [`read_answer`] has found a packet may wait. It always may for
/// the first: without a daemon the others are never learned.
#[inline(always)]
pub fn affordable(scratch: &Scratch) -> u64 {
    let most = (scratch.steps_left.get() / STEPS_OF_ADDRESS).max(1);
    if scratch.address_count.get() > most {
        most.saturating_sub(ADDRESSES_OF_WAKING).max(1)
    } else {
        most
    }
}

/// Learns the addresses that [`read_answer`] has found, for these rules: `most` of them at most, the
/// first.
#[inline(always)]
pub fn learn<W: Maps<V4> + Maps<V6>>(
    scratch: &Scratch,
    world: W,
    settings: &Settings,
    rules: u64,
    most: u64,
) -> Lesson {
    scratch.address_most.set(most);
    scratch.match_rules.set(rules);
    scratch.ttl_min.set(u64::from(settings.ttl_min));
    scratch.ttl_max.set(u64::from(settings.ttl_max));
    scratch.ttl_grace.set(u64::from(settings.ttl_grace));
    scratch.address_next.set(0);
    scratch.learned.set(0);
    scratch.refused.set(0);
    scratch.full.set(0);
    scratch.busy.set(0);
    world.learn_addresses(scratch);
    Lesson {
        learned: scratch.learned.get(),
        refused: scratch.refused.get(),
        full: scratch.full.get(),
        busy: scratch.busy.get(),
        left: scratch.address_count.get().saturating_sub(most),
    }
}

/// Goes over the addresses as [`learn`] has begun.
#[inline(always)]
pub fn learn_addresses<W: Maps<V4> + Maps<V6>>(scratch: &Scratch, world: W) {
    walk::<Learn, W>(scratch, world, RECORDS);
}

struct Learn;

impl<W: Maps<V4> + Maps<V6>> Step<W> for Learn {
    #[inline(always)]
    fn step(scratch: &Scratch, world: W) -> bool {
        let next = scratch.address_next.get();
        if next >= scratch.address_count.get() || next >= scratch.address_most.get() {
            return true;
        }
        scratch.address_next.set(next + 1);
        let packed = scratch.addresses.get(next);
        let (data, fixed, kind) = (packed >> 32, packed >> 8 & 0xffff, packed & 0xff);
        if scratch.addresses.get(SECOND + next) != scratch.owner.get() {
            return false;
        }
        let message = &scratch.message;
        let ttl = u64::from(u32::from_be(message.ne32(fixed + 4)));
        // One with its highest bit set is taken as zero (RFC 2181 section 8).
        let ttl = if ttl >> 31 != 0 { 0 } else { ttl };
        let ttl = ttl.max(scratch.ttl_min.get()).min(scratch.ttl_max.get());
        let now = scratch.now.get();
        let expires = now + (ttl + scratch.ttl_grace.get()) * 1_000_000_000;
        let (set, rules) = (scratch.set.get() as u32, scratch.match_rules.get());
        // SAFETY: the scratch memory is this run's alone.
        let (v4, v6) = unsafe {
            let (v4, v6) = (scratch.facts.address4.get(), scratch.facts.address6.get());
            v4.write(V4(if kind == TYPE_A { message.ne32(data) } else { inside(message, data) }));
            v6.write((*v4).mapped());
            (&*v4, v6)
        };
        if kind == TYPE_AAAA {
            // SAFETY: as above.
            if world.is_own(unsafe { &*v6 }) {
                scratch.refused.add(1);
                return false;
            }
            for word in 0..4 {
                // SAFETY: as above.
                unsafe { (*v6).0[word] = message.ne32(data + 4 * word as u64) };
            }
        }
        // SAFETY: as above, and it is not written any more.
        let v6 = unsafe { &*v6 };
        let acceptable = if kind == TYPE_A {
            Maps::<V4>::is_acceptable(world, scratch, set, v4)
        } else {
            Maps::<V6>::is_acceptable(world, scratch, set, v6)
        };
        let insertion = if !acceptable || world.is_own(v6) {
            None
        } else if kind == TYPE_A {
            Some(world.learn(v4, rules, expires, now))
        } else {
            Some(world.learn(v6, rules, expires, now))
        };
        match insertion {
            None => scratch.refused.add(1),
            Some(Insertion::Done) => scratch.learned.add(1),
            Some(Insertion::Full) => scratch.full.add(1),
            Some(Insertion::Busy) => scratch.busy.add(1),
        }
        false
    }
}

/// The IPv4 address that the IPv6 one at `data` leads to, as in memory: by NAT64's well-known prefix
/// (RFC 6052 section 2.1) or by 6to4 (RFC 3056 section 2). Another one leads to none, which is 0.
#[inline(always)]
fn inside(message: &Message, data: u64) -> u32 {
    let translated = message.be16(data) == 0x0064
        && message.be16(data + 2) == 0xff9b
        && message.ne64(data + 4) == 0;
    if translated {
        message.ne32(data + 12)
    } else if message.be16(data) == 0x2002 {
        message.ne32(data + 2)
    } else {
        0
    }
}
