//! Refusals: what a query for a name of no rule is answered with, made from the query in place:
//! REFUSED, NXDOMAIN, or no data (RFC 1035 section 4.1.1, RFC 2308, RFC 6891, RFC 8914).

use super::{matcher, name, record::STEPS_OF_MESSAGE};
use crate::{
    abi::UNLISTED_NXDOMAIN,
    bpf_loop::{self, LoopBody},
    datapath::Datapath,
    result_word::result_word,
    scratch::Scratch,
};

const RESPONSE: u64 = 0x8000;
/// Flag RA: the refusal speaks for the resolver, which offers recursion. Clients complain without
/// it.
const RECURSION_AVAILABLE: u64 = 0x0080;
const TYPE_OPT: u64 = 41;
const CLASS_IN: u16 = 1;
const CLASS_ANY: u64 = 255;
/// Payload size that the answer offers (RFC 9715 section 3.1).
const PAYLOAD_SIZE: u16 = 1232;
/// Octets of an OPT record without options: root name, type, payload size, flags, no data.
const OPT_LENGTH: u64 = 11;
/// The option "extended DNS error" in 16-bit words: its code, its length, and the error "blocked"
/// (RFC 8914 section 4.16): a policy of whoever runs the network, and not one that the client has
/// asked for, as "filtered" would say.
const BLOCKED: [u16; 3] = [15, 2, 15];
/// Maximum number of additional records that are read: clients send OPT, and perhaps a signature.
const ADDITIONAL: u32 = 4;

/// Seconds for which a client may believe that there is no such name or no data: short, so that a
/// name that a policy begins to list is found at once.
const NEGATIVE_TTL: u16 = 10;
/// Compression pointer to the name of the question.
const QUESTION: u16 = 0xc000 | super::HEADER_LENGTH as u16;
/// Place of the class among the words of [`SOA`].
const SOA_CLASS: u64 = 2;
/// The SOA record in 16-bit words, as that of an empty zone (RFC 6303 section 3).
///
/// Its owner is the name of the question: the least that a record can claim. As a record of the
/// root, it would tell a resolver about all names, and some believe that the top-level domain does
/// not exist then; of the name's parent, that the parent is a zone's apex.
const SOA: [u16; 25] = [
    QUESTION,
    6,
    CLASS_IN,
    0,
    NEGATIVE_TTL,
    38,       // owner, type, class, TTL, octets of data
    QUESTION, // name of the primary server
    0x06_6e,
    0x6f62,
    0x6f64,
    0x79_07,
    0x696e,
    0x7661,
    0x6c69,
    0x64_00, // nobody.invalid
    0,
    1,
    0,
    3600,
    0,
    1200,
    9,
    0x3a80, // serial, refresh, retry, expire
    0,
    NEGATIVE_TTL,
];
const _: () = assert!(SOA.len() * 2 == 12 + 38);

result_word! {
    /// Kind of a refusal.
    pub Refusal {
        /// The response code REFUSED.
        REFUSED = 5,
        /// The response code NXDOMAIN.
        NO_NAME = 3,
        /// The response code NOERROR without an answer.
        NO_DATA = 0,
    }
}

/// Returns the refusal of the query in the working memory, whose name was matched, as the reply's
/// description says.
///
/// A name that does not exist has no names below it (RFC 8020), so that the name above one that is
/// listed has to exist.
#[inline(always)]
pub fn choose_refusal(scratch: &Scratch) -> Refusal {
    if scratch.reply.unlisted.get() != u64::from(UNLISTED_NXDOMAIN) {
        Refusal::REFUSED
    } else if matcher::is_at_or_above_listed(scratch) {
        Refusal::NO_DATA
    } else {
        Refusal::NO_NAME
    }
}

/// Turns the query in the working memory into its own refusal; returns the octets of the message.
/// `end` is the offset behind the question. A query with EDNS is answered with EDNS, as RFC 6891
/// section 6.1.1 asks.
#[inline(always)]
pub fn refuse<W: Datapath>(scratch: &Scratch, datapath: W, end: u64, refusal: Refusal) -> u64 {
    let message = &scratch.message;
    find_opt(scratch, datapath, end);
    let opt = scratch.parser.opt.get();
    let dnssec_ok = message.be16(opt + 6) & 0x8000;
    let class = message.be16(end - 2);
    // Opcode, RD and CD of the query stay.
    let flags = message.be16(2) & 0x7910;
    message.set_be16(2, (flags | RESPONSE | RECURSION_AVAILABLE | refusal.0) as u16);
    let negative = refusal != Refusal::REFUSED;
    let mut at = end;
    if negative {
        at = append(scratch, at, &SOA);
        let class = if class == CLASS_ANY { CLASS_IN } else { class as u16 };
        message.set_be16(end + 2 * SOA_CLASS, class);
        message.set_be16(8, 1);
    }
    if opt == 0 {
        message.set_be16(10, 0);
        return at;
    }
    message.set_be16(10, 1);
    message.set_octet(at, 0);
    message.set_be16(at + 1, TYPE_OPT as u16);
    message.set_be16(at + 3, PAYLOAD_SIZE);
    message.set_be16(at + 5, 0);
    message.set_be16(at + 7, dnssec_ok as u16);
    message.set_be16(at + 9, 0);
    if negative {
        message.set_be16(at + 9, 2 * BLOCKED.len() as u16);
        return append(scratch, at + OPT_LENGTH, &BLOCKED);
    }
    at + OPT_LENGTH
}

/// Writes words into the message; returns the offset behind them.
#[inline(always)]
fn append<const N: usize>(scratch: &Scratch, at: u64, words: &[u16; N]) -> u64 {
    let mut end = at;
    for word in words {
        scratch.message.set_be16(end, *word);
        end += 2;
    }
    end
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
