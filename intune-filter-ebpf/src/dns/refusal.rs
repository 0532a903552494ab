//! The answer REFUSED, made from a query in place (RFC 1035 section 4.1.1, RFC 6891).

use super::Scratch;

const RCODE_REFUSED: u64 = 5;
const TYPE_OPT: u64 = 41;
/// An OPT record without options: root name, type, payload size, flags, no data.
const OPT_LENGTH: u64 = 11;
/// What the answer offers as payload size (RFC 9715 section 3.1).
const PAYLOAD_SIZE: u16 = 1232;

/// Makes the query in the scratch memory its own refusal, and returns the message's length: never
/// more than the query's. `end` is where the question ends. A query with EDNS is answered with
/// EDNS, as RFC 6891 section 6.1.1 asks.
#[inline(always)]
pub fn refuse(scratch: &Scratch, end: u64) -> u64 {
    let message = &scratch.message;
    // What the client asked for (opcode, recursion desired, checking disabled) stays.
    let flags = message.be16(2) & 0x7910;
    message.set_be16(2, (flags | 0x8000 | RCODE_REFUSED) as u16);
    let additional = message.be16(10);
    let room = scratch.length.get() >= end + OPT_LENGTH;
    let edns =
        additional > 0 && room && message.octet(end) == 0 && message.be16(end + 1) == TYPE_OPT;
    if !edns {
        message.set_be16(10, 0);
        return end;
    }
    let dnssec_ok = message.be16(end + 7) & 0x8000;
    message.set_be16(10, 1);
    message.set_be16(end + 3, PAYLOAD_SIZE);
    message.set_be16(end + 5, 0);
    message.set_be16(end + 7, dnssec_ok as u16);
    message.set_be16(end + 9, 0);
    end + OPT_LENGTH
}
