//! Address hints of SVCB and HTTPS records (RFC 9460): clients connect to them without asking for
//! the addresses themselves.

use super::{
    Scratch, Step,
    answer::{RECORDS, SECOND, STEPS_OF_MESSAGE, TYPE_A, TYPE_AAAA, pack},
    name, take_step, walk,
};
use crate::world::World;

/// Type of a general service record.
pub(super) const TYPE_SVCB: u64 = 64;
/// Type of a service record for HTTPS.
pub(super) const TYPE_HTTPS: u64 = 65;
/// Key of the parameter with IPv4 addresses (RFC 9460 section 7.3).
const IPV4_HINT: u64 = 4;
/// Key of the parameter with IPv6 addresses.
const IPV6_HINT: u64 = 6;
/// Adds the hints in the records of the name that the question leads to, to the addresses found.
/// False if a record does not parse, or there are too many.
#[inline(always)]
pub(super) fn read_hints<W: World>(scratch: &Scratch, world: W) -> bool {
    scratch.service_next.set(0);
    scratch.parameter.set(0);
    scratch.hint.set(0);
    scratch.hint_end.set(0);
    scratch.complete.set(0);
    if scratch.service_count.get() == 0 {
        return true;
    }
    // What was read of the records behind is no prior occurrence.
    name::forget(scratch);
    // Names are read in these steps, and say in `complete` whether they are whole.
    scratch.records_left.set(1);
    walk::<Service, W>(scratch, world, STEPS_OF_MESSAGE as u32 + 1);
    scratch.records_left.get() == 0
}

/// Reads a record's beginning, one of its parameters, or one of a parameter's addresses.
/// `records_left` becomes 0 when all were read.
struct Service;

impl<W: World> Step<W> for Service {
    #[inline(always)]
    fn step(scratch: &Scratch, world: W) -> bool {
        let (message, hint) = (&scratch.message, scratch.hint.get());
        let next = scratch.service_next.get();
        let fixed = scratch.services.get(next);
        let at = scratch.parameter.get();
        let is_done = hint >= scratch.hint_end.get() && at == 0;
        if is_done && next >= scratch.service_count.get() {
            scratch.records_left.set(0);
            return true;
        }
        if !take_step(scratch) {
            return true;
        }
        if hint < scratch.hint_end.get() {
            return add_hint(scratch, fixed, hint);
        }
        if at == 0 {
            let data = fixed + 10;
            let end = data + message.be16(fixed + 8);
            if data + 2 >= end || !name::read_name(scratch, world, data + 2, &scratch.recent_target)
            {
                return true;
            }
            let name_end = scratch.name_end.get();
            // An alias has no parameters that count (RFC 9460 section 2.4.2).
            let begin = if message.be16(data) == 0 { end } else { name_end };
            scratch.parameter.set(begin);
            scratch.parameters_end.set(end);
            scratch.parameter_key.set(0);
            return name_end > end;
        }
        let end = scratch.parameters_end.get();
        if at == end {
            scratch.parameter.set(0);
            scratch.service_next.set(next + 1);
            return false;
        }
        let (key, begin) = (message.be16(at), at + 4);
        let after = begin + message.be16(at + 2);
        // In ascending order, each once (RFC 9460 section 2.2).
        if begin > end || after > end || key < scratch.parameter_key.get() {
            return true;
        }
        scratch.parameter_key.set(key + 1);
        scratch.parameter.set(after);
        if key == IPV4_HINT || key == IPV6_HINT {
            let mask = if key == IPV4_HINT { 3 } else { 15 };
            if after == begin || (after - begin) & mask != 0 {
                return true;
            }
            if scratch.services.get(SECOND + next) == scratch.owner.get() {
                scratch.hint_kind.set(if key == IPV4_HINT { TYPE_A } else { TYPE_AAAA });
                scratch.hint.set(begin);
                scratch.hint_end.set(after);
            }
        }
        false
    }
}

/// Adds an address to those found; true if there are too many.
#[inline(always)]
fn add_hint(scratch: &Scratch, fixed: u64, at: u64) -> bool {
    let (kind, count) = (scratch.hint_kind.get(), scratch.address_count.get());
    if count >= u64::from(RECORDS) {
        return true;
    }
    scratch.addresses.set(count, pack(at, fixed, kind));
    scratch.addresses.set(SECOND + count, scratch.owner.get());
    scratch.address_count.set(count + 1);
    scratch.hint.set(at + if kind == TYPE_A { 4 } else { 16 });
    false
}
