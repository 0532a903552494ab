//! The answer REFUSED, made from a query in place (RFC 1035 section 4.1.1, RFC 6891).

use super::{name, record::STEPS_OF_MESSAGE};
use crate::{
    bpf_loop::{self, LoopBody},
    datapath::Datapath,
    scratch::Scratch,
};

const RESPONSE: u64 = 0x8000;
/// Flag RA: the refusal speaks for the resolver, which offers recursion. Clients complain without
/// it.
const RECURSION_AVAILABLE: u64 = 0x0080;
const RCODE_REFUSED: u64 = 5;
const TYPE_OPT: u64 = 41;
/// Payload size that the answer offers (RFC 9715 section 3.1).
const PAYLOAD_SIZE: u16 = 1232;
/// Octets of an OPT record without options: root name, type, payload size, flags, no data.
const OPT_LENGTH: u64 = 11;
/// Maximum number of additional records that are read: clients send OPT, and perhaps a signature.
const ADDITIONAL: u32 = 4;

/// Turns the query in the working memory into its own refusal; returns the octets of the message,
/// never more than the query's. `end` is the offset behind the question. A query with EDNS is
/// answered with EDNS, as RFC 6891 section 6.1.1 asks.
#[inline(always)]
pub fn refuse<W: Datapath>(scratch: &Scratch, datapath: W, end: u64) -> u64 {
    let message = &scratch.message;
    find_opt(scratch, datapath, end);
    let opt = scratch.parser.opt.get();
    let dnssec_ok = message.be16(opt + 6) & 0x8000;
    // Opcode, RD and CD of the query stay.
    let flags = message.be16(2) & 0x7910;
    message.set_be16(2, (flags | RESPONSE | RECURSION_AVAILABLE | RCODE_REFUSED) as u16);
    if opt == 0 {
        message.set_be16(10, 0);
        return end;
    }
    // The OPT record of the query is at least as long.
    message.set_be16(10, 1);
    message.set_octet(end, 0);
    message.set_be16(end + 1, TYPE_OPT as u16);
    message.set_be16(end + 3, PAYLOAD_SIZE);
    message.set_be16(end + 5, 0);
    message.set_be16(end + 7, dnssec_ok as u16);
    message.set_be16(end + 9, 0);
    end + OPT_LENGTH
}

/// Finds the OPT record, which may stand anywhere in the additional section.
#[inline(always)]
fn find_opt<W: Datapath>(scratch: &Scratch, datapath: W, start: u64) {
    scratch.parser.opt.set(0);
    scratch.parser.record.set(start);
    scratch.parser.records_left.set(scratch.message.be16(10));
    name::begin(scratch, STEPS_OF_MESSAGE);
    bpf_loop::run::<Additional, _>((scratch, datapath), ADDITIONAL);
}

struct Additional;

impl<W: Datapath> LoopBody<(&Scratch, W)> for Additional {
    #[inline(always)]
    fn step((scratch, datapath): (&Scratch, W)) -> bool {
        let (message, left) = (&scratch.message, scratch.parser.records_left.get());
        let start = scratch.parser.record.get();
        if left == 0 || !name::read_name(scratch, datapath, start, &scratch.parser.recent_owner) {
            return true;
        }
        let fixed = scratch.parser.name_end.get();
        let next = fixed + 10 + message.be16(fixed + 8);
        if next > scratch.parser.length.get() {
            return true;
        }
        if message.octet(start) == 0 && message.be16(fixed) == TYPE_OPT {
            scratch.parser.opt.set(fixed);
            return true;
        }
        scratch.parser.record.set(next);
        scratch.parser.records_left.set(left - 1);
        false
    }
}
