//! Answer section: the addresses that it gives to the question's name.
//!
//! Nothing is learned before the whole section was read. Addresses count only under the owner that
//! the question's name leads to along CNAMEs, in whatever order the records are.

use super::{
    HEADER_LENGTH, name,
    record::{
        HASH_HALF, RECORDS, STEPS_OF_MESSAGE, TYPE_A, TYPE_AAAA, TYPE_CNAME, TYPE_HTTPS, TYPE_SVCB,
        pack, target_name,
    },
    svcb, target,
};
use crate::{
    abi::{ANSWER_ACCEPTED, Settings, V4, V6, nat64_length},
    bpf_loop::{self, LoopBody},
    datapath::{ClientMaps, Datapath, DualStack, HostMaps, Insertion, NANOS_PER_SEC},
    memory::Message,
    scratch::Scratch,
};

/// Maximum number of CNAMEs that are followed.
const CHAIN: u32 = 16;
/// CNAMEs that are compared in one step.
const COMPARED: u64 = 4;
/// Steps of [`STEPS_OF_MESSAGE`] that learning an address takes.
const STEPS_OF_ADDRESS: u64 = 19;
/// Cost of waking userspace, in learned addresses: if some addresses are left to userspace, the
/// kernel learns as many fewer, but always one.
const ADDRESSES_OF_WAKING: u64 = 9;
/// Class of the Internet.
const CLASS_IN: u64 = 1;

/// Result of learning from an answer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LearnStats {
    /// Addresses learned.
    pub learned: u64,
    /// Addresses refused: private, the gateway's own, impossible.
    pub refused: u64,
    /// Addresses that found no room.
    pub full: u64,
    /// Addresses that found no room since the client and the rule have their shares.
    pub over_share: u64,
    /// Addresses that could not be written to at this moment.
    pub busy: u64,
    /// Addresses that were left to userspace.
    pub left: u64,
}

/// Reads the answer section from `start` on, and stores its addresses in the working memory. Of more
/// records or addresses than are read, the first count, and [`is_cut`] says so. False if what is read
/// of the section does not parse, has longer names than are read, takes more steps than there are, or
/// has CNAMEs that lead in a circle or too far.
#[inline(always)]
pub fn read_answer<W: Datapath>(scratch: &Scratch, datapath: W, start: u64) -> bool {
    let all = scratch.message.be16(6);
    let records = all.min(u64::from(RECORDS));
    scratch.parser.unread.set(all - records);
    // The question's labels were read before.
    name::begin(scratch, STEPS_OF_MESSAGE - (start - HEADER_LENGTH) / 2);
    if !name::read_name(scratch, datapath, HEADER_LENGTH, &scratch.parser.recent_target) {
        return false;
    }
    scratch.parser.owner.set(scratch.parser.hash.get());
    scratch.parser.record.set(start);
    scratch.parser.records_left.set(records);
    scratch.parser.address_count.set(0);
    scratch.parser.alias_count.set(0);
    scratch.parser.svcb_count.set(0);
    bpf_loop::run::<Record, _>((scratch, datapath), RECORDS);
    if scratch.parser.records_left.get() != 0 {
        return false;
    }
    scratch.parser.alias_next.set(0);
    scratch.parser.chain_left.set(u64::from(CHAIN));
    scratch.parser.complete.set(0);
    bpf_loop::run::<Alias, _>((scratch, datapath), STEPS_OF_MESSAGE as u32 + 1);
    scratch.parser.complete.get() != 0 && svcb::read_services(scratch, datapath)
}

/// Loop body that reads one record. `records_left` stays above 0 if the record does not parse.
///
/// A CNAME has the hash of its owner in one slot and, 64 further on, the hash of its target. An
/// address has, in the same two slots, a word with its offset, the offset of the fixed part of its
/// record, and its type; and the hash of its owner. A service record has the offset of its fixed
/// part, and the hash of its owner.
struct Record;

impl<W: Datapath> LoopBody<(&Scratch, W)> for Record {
    #[inline(always)]
    fn step((scratch, datapath): (&Scratch, W)) -> bool {
        let left = scratch.parser.records_left.get();
        if left == 0 || !scratch.parser.take_step() {
            return true;
        }
        let (message, length) = (&scratch.message, scratch.parser.length.get());
        if !name::read_name(
            scratch,
            datapath,
            scratch.parser.record.get(),
            &scratch.parser.recent_owner,
        ) {
            return true;
        }
        let (owner, fixed) = (scratch.parser.hash.get(), scratch.parser.name_end.get());
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
            // The type does not say what the data of other classes is.
        } else if kind == TYPE_CNAME {
            let is_name = name::read_name(scratch, datapath, data, &scratch.parser.recent_target);
            if !is_name || scratch.parser.name_end.get() != next {
                return true;
            }
            let count = scratch.parser.alias_count.get();
            scratch.parser.aliases.set(count, owner);
            scratch.parser.aliases.set(HASH_HALF + count, scratch.parser.hash.get());
            scratch.parser.alias_count.set(count + 1);
        } else if kind == TYPE_A || kind == TYPE_AAAA {
            if data_length != (if kind == TYPE_A { 4 } else { 16 }) {
                return true;
            }
            let count = scratch.parser.address_count.get();
            scratch.parser.addresses.set(count, pack(data, fixed, kind));
            scratch.parser.addresses.set(HASH_HALF + count, owner);
            scratch.parser.address_count.set(count + 1);
        } else if kind == TYPE_SVCB || kind == TYPE_HTTPS {
            let count = scratch.parser.svcb_count.get();
            scratch.parser.svcb_records.set(count, fixed);
            scratch.parser.svcb_records.set(HASH_HALF + count, owner);
            scratch.parser.svcb_count.set(count + 1);
        }
        scratch.parser.record.set(next);
        scratch.parser.records_left.set(left - 1);
        false
    }
}

/// Loop body that looks at some CNAMEs, and starts again with the target of the first whose owner
/// is the current one. `complete` says whether an owner without a CNAME was reached: a name with a
/// CNAME has no addresses (RFC 2181 section 10.1).
struct Alias;

impl<W: Datapath> LoopBody<(&Scratch, W)> for Alias {
    #[inline(always)]
    fn step((scratch, _): (&Scratch, W)) -> bool {
        let (next, count) = (scratch.parser.alias_next.get(), scratch.parser.alias_count.get());
        if next >= count {
            scratch.parser.complete.set(1);
            return true;
        }
        if !scratch.parser.take_step() {
            return true;
        }
        let owner = scratch.parser.owner.get();
        for alias in next..next + COMPARED {
            if alias < count && scratch.parser.aliases.get(alias) == owner {
                let left = scratch.parser.chain_left.get();
                scratch.parser.chain_left.set(left.saturating_sub(1));
                scratch.parser.owner.set(scratch.parser.aliases.get(HASH_HALF + alias));
                scratch.parser.alias_next.set(0);
                return left == 0;
            }
        }
        scratch.parser.alias_next.set(next + COMPARED);
        false
    }
}

/// Whether the answer that was read last has more records or addresses than are read.
#[inline(always)]
pub fn is_cut(scratch: &Scratch) -> bool {
    scratch.parser.unread.get() != 0
}

/// Returns for how many of the addresses that [`read_answer`] has found a packet may wait. Always
/// for one: without a daemon the others are never learned.
#[inline(always)]
pub fn affordable(scratch: &Scratch) -> u64 {
    let most = (scratch.parser.steps_left.get() / STEPS_OF_ADDRESS).max(1);
    if scratch.parser.address_count.get() > most {
        most.saturating_sub(ADDRESSES_OF_WAKING).max(1)
    } else {
        most
    }
}

/// Learns the addresses that [`read_answer`] has found, for the rules of the name that was matched
/// last: `most` of them at most, the first.
#[inline(always)]
pub fn learn<W: DualStack>(
    scratch: &Scratch,
    datapath: W,
    settings: &Settings,
    most: u64,
) -> LearnStats {
    scratch.parser.address_most.set(most);
    scratch.parser.ttl_min.set(u64::from(settings.ttl_min));
    scratch.parser.ttl_max.set(u64::from(settings.ttl_max));
    scratch.parser.ttl_grace.set(u64::from(settings.ttl_grace));
    scratch.parser.address_next.set(0);
    scratch.parser.learned.set(0);
    scratch.parser.refused.set(0);
    scratch.parser.full.set(0);
    scratch.parser.over_share.set(0);
    scratch.parser.busy.set(0);
    datapath.learn_addresses(scratch);
    LearnStats {
        learned: scratch.parser.learned.get(),
        refused: scratch.parser.refused.get(),
        full: scratch.parser.full.get(),
        over_share: scratch.parser.over_share.get(),
        busy: scratch.parser.busy.get(),
        left: scratch.parser.address_count.get().saturating_sub(most),
    }
}

/// Learns addresses in the loop that [`learn`] has prepared.
#[inline(always)]
pub fn learn_addresses<W: DualStack>(scratch: &Scratch, datapath: W) {
    bpf_loop::run::<Learn, _>((scratch, datapath), RECORDS);
}

struct Learn;

impl<W: DualStack> LoopBody<(&Scratch, W)> for Learn {
    #[inline(always)]
    fn step((scratch, datapath): (&Scratch, W)) -> bool {
        let next = scratch.parser.address_next.get();
        if next >= scratch.parser.address_count.get() || next >= scratch.parser.address_most.get() {
            return true;
        }
        scratch.parser.address_next.set(next + 1);
        let packed = scratch.parser.addresses.get(next);
        let (data, fixed, kind) = (packed >> 32, packed >> 8 & 0xffff, packed & 0xff);
        if scratch.parser.addresses.get(HASH_HALF + next) != scratch.parser.owner.get() {
            return false;
        }
        let message = &scratch.message;
        let ttl = u64::from(u32::from_be(message.ne32(fixed + 4)));
        // A time to live with its highest bit set counts as zero (RFC 2181 section 8).
        let ttl = if ttl >> 31 != 0 { 0 } else { ttl };
        let ttl = ttl.max(scratch.parser.ttl_min.get()).min(scratch.parser.ttl_max.get());
        let now = scratch.parser.now.get();
        let expires = now + (ttl + scratch.parser.ttl_grace.get()) * NANOS_PER_SEC;
        let (set, rules) = (scratch.parser.set.get() as u32, scratch.matcher.rules.as_mask());
        let owner = scratch.parser.host_owner.get();
        if kind == TYPE_SVCB {
            let (name, length) = target_name(packed);
            target::put_key(scratch, datapath, name, name + length);
            // What is a target of a target is none for longer: no name would prolong itself.
            let expires = expires.min(scratch.matcher.target_until.get());
            // SAFETY: the scratch memory is this run's alone.
            let key = unsafe { &*scratch.ctx.address6.get() };
            count(scratch, HostMaps::<V6>::learn(datapath, key, rules, expires, now, owner));
            return false;
        }
        // SAFETY: the scratch memory is this run's alone.
        let (v4, v6) =
            unsafe { (&mut *scratch.ctx.address4.get(), &mut *scratch.ctx.address6.get()) };
        let answer = if kind == TYPE_A {
            *v4 = V4(message.ne32(data));
            ClientMaps::<V4>::answer(datapath, scratch, set, v4)
        } else {
            load(message, data, v6);
            let answer = ClientMaps::<V6>::answer(datapath, scratch, set, v6);
            *v4 = v6.within_nat64(nat64_length(answer)).unwrap_or(V4(inside(message, data)));
            answer
        };
        *v6 = v4.mapped();
        let mut own = datapath.is_own(v6);
        if kind == TYPE_AAAA && !own {
            load(message, data, v6);
            own = datapath.is_own(v6);
        }
        let insertion = if answer & ANSWER_ACCEPTED == 0 || own {
            scratch.parser.refused.add(1);
            return false;
        } else if kind == TYPE_A {
            datapath.learn(v4, rules, expires, now, owner)
        } else {
            datapath.learn(v6, rules, expires, now, owner)
        };
        count(scratch, insertion);
        false
    }
}

/// Counts an address or target that was to be learned.
#[inline(always)]
fn count(scratch: &Scratch, insertion: Insertion) {
    match insertion {
        Insertion::Done => scratch.parser.learned.add(1),
        Insertion::Full => scratch.parser.full.add(1),
        Insertion::OverShare => scratch.parser.over_share.add(1),
        Insertion::Busy => scratch.parser.busy.add(1),
    }
}

/// Reads the IPv6 address at `data`.
#[inline(always)]
#[expect(clippy::indexing_slicing, reason = "an address has four words")]
fn load(message: &Message, data: u64, address: &mut V6) {
    for word in 0..4 {
        address.0[word] = message.ne32(data + 4 * word as u64);
    }
}

/// Returns, in memory order, the IPv4 address that the IPv6 address at `data` leads to by NAT64's
/// well-known prefix (RFC 6052 section 2.1) or by 6to4 (RFC 3056 section 2); 0 if there is none.
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
