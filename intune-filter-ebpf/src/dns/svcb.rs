//! SVCB and HTTPS records (RFC 9460): their address hints, to which clients connect without a query for
//! the addresses, and their targets, which clients ask for next.

use super::{
    name,
    record::{HASH_HALF, RECORDS, STEPS_OF_MESSAGE, TYPE_A, TYPE_AAAA, pack, pack_target},
};
use crate::{
    bpf_loop::{self, LoopBody},
    datapath::Datapath,
    scratch::Scratch,
};

/// Key of the parameter with IPv4 addresses (RFC 9460 section 7.3).
const IPV4_HINT: u64 = 4;
/// Key of the parameter with IPv6 addresses.
const IPV6_HINT: u64 = 6;

/// Adds targets and address hints to the addresses found: those in records of the name that the
/// question leads to. False if a record does not parse.
#[inline(always)]
pub(super) fn read_services<W: Datapath>(scratch: &Scratch, datapath: W) -> bool {
    scratch.parser.svcb_next.set(0);
    scratch.parser.parameter.set(0);
    scratch.parser.hint.set(0);
    scratch.parser.hint_end.set(0);
    scratch.parser.complete.set(0);
    if scratch.parser.svcb_count.get() == 0 {
        return true;
    }
    // Names in the records behind are no prior occurrences.
    name::forget(scratch);
    // The steps read names, which use `complete`: here `records_left` says whether all was read.
    scratch.parser.records_left.set(1);
    bpf_loop::run::<Service, _>((scratch, datapath), STEPS_OF_MESSAGE as u32 + 1);
    scratch.parser.records_left.get() == 0
}

/// Loop body that reads the beginning of a record, one of its parameters, or one address of a
/// parameter. `records_left` becomes 0 once all were read.
struct Service;

impl<W: Datapath> LoopBody<(&Scratch, W)> for Service {
    #[inline(always)]
    fn step((scratch, datapath): (&Scratch, W)) -> bool {
        let (message, hint) = (&scratch.message, scratch.parser.hint.get());
        let next = scratch.parser.svcb_next.get();
        let fixed = scratch.parser.svcb_records.get(next);
        let at = scratch.parser.parameter.get();
        let is_done = hint >= scratch.parser.hint_end.get() && at == 0;
        if is_done && next >= scratch.parser.svcb_count.get() {
            scratch.parser.records_left.set(0);
            return true;
        }
        if !scratch.parser.take_step() {
            return true;
        }
        if hint < scratch.parser.hint_end.get() {
            return add_hint(scratch, fixed, hint);
        }
        if at == 0 {
            let data = fixed + 10;
            let end = data + message.be16(fixed + 8);
            if data + 2 >= end
                || !name::read_name(scratch, datapath, data + 2, &scratch.parser.recent_target)
            {
                return true;
            }
            let name_end = scratch.parser.name_end.get();
            // An alias has no parameters that count (RFC 9460 section 2.4.2).
            let begin = if message.be16(data) == 0 { end } else { name_end };
            scratch.parser.parameter.set(begin);
            scratch.parser.parameters_end.set(end);
            scratch.parser.parameter_key.set(0);
            if scratch.parser.svcb_records.get(HASH_HALF + next) == scratch.parser.owner.get() {
                add_target(scratch, fixed, data + 2, name_end);
            }
            return name_end > end;
        }
        let end = scratch.parser.parameters_end.get();
        if at == end {
            scratch.parser.parameter.set(0);
            scratch.parser.svcb_next.set(next + 1);
            return false;
        }
        let (key, begin) = (message.be16(at), at + 4);
        let after = begin + message.be16(at + 2);
        // Parameters come in ascending order, each once (RFC 9460 section 2.2).
        if begin > end || after > end || key < scratch.parser.parameter_key.get() {
            return true;
        }
        scratch.parser.parameter_key.set(key + 1);
        scratch.parser.parameter.set(after);
        if key == IPV4_HINT || key == IPV6_HINT {
            let mask = if key == IPV4_HINT { 3 } else { 15 };
            if after == begin || (after - begin) & mask != 0 {
                return true;
            }
            if scratch.parser.svcb_records.get(HASH_HALF + next) == scratch.parser.owner.get() {
                scratch.parser.hint_kind.set(if key == IPV4_HINT { TYPE_A } else { TYPE_AAAA });
                scratch.parser.hint.set(begin);
                scratch.parser.hint_end.set(after);
            }
        }
        false
    }
}

/// Adds the target that was read to the addresses found, or leaves it if there is no room. None is the
/// owner itself, by its name or by that of the root, and a compressed name (RFC 9460 section 2.2 forbids
/// it), which not every client reads.
#[inline(always)]
fn add_target(scratch: &Scratch, fixed: u64, name: u64, end: u64) {
    let length = end - name;
    // Where a pointer ends a name, the octets of its labels are not one less than its own.
    let in_full =
        scratch.message.octet(name) < 0xc0 && scratch.parser.name_length.get() + 1 == length;
    if length == 1 || !in_full || scratch.parser.hash.get() == scratch.parser.owner.get() {
        return;
    }
    add(scratch, pack_target(name, length, fixed));
}

/// Adds an address to those found, or leaves it if there is no room; always false.
#[inline(always)]
fn add_hint(scratch: &Scratch, fixed: u64, at: u64) -> bool {
    let kind = scratch.parser.hint_kind.get();
    add(scratch, pack(at, fixed, kind));
    scratch.parser.hint.set(at + if kind == TYPE_A { 4 } else { 16 });
    false
}

/// Adds an address or target of the name that the question leads to.
#[inline(always)]
fn add(scratch: &Scratch, packed: u64) {
    let count = scratch.parser.address_count.get();
    if count < u64::from(RECORDS) {
        scratch.parser.addresses.set(count, packed);
        scratch.parser.addresses.set(HASH_HALF + count, scratch.parser.owner.get());
        scratch.parser.address_count.set(count + 1);
    } else {
        scratch.parser.unread.set(1);
    }
}
