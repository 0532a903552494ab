//! Header and question of a message.

use super::{HEADER_LENGTH, name::MASKS};
use crate::{
    abi::ANSWER_CAPACITY,
    bpf_loop::{self, LoopBody},
    datapath::Datapath,
    scratch::Scratch,
};

/// Octets of a name on the wire at most (RFC 1035 section 2.3.4).
const NAME_MAX: u64 = 255;
const LABELS_MAX: u32 = 128;
/// Words of the longest message.
const MESSAGE_WORDS: u32 = ANSWER_CAPACITY as u32 / 8;
const CLASS_IN: u64 = 1;
const CLASS_ANY: u64 = 255;

/// Question of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Question {
    /// Keyed hash of the question's octets: name, type and class, letters in the case they have.
    pub hash: u64,
    /// Offset behind the question.
    pub end: u64,
}

/// Whether the header is that of a query with one question (RFC 1035, RFC 9619).
#[inline(always)]
pub fn is_query(scratch: &Scratch) -> bool {
    let message = &scratch.message;
    // QR and the opcode are 0; answers and authorities have no place in a query.
    message.be16(2) & 0xf800 == 0
        && message.be16(4) == 1
        && message.be16(6) == 0
        && message.be16(8) == 0
}

/// Whether the header is that of a response to a query with one question.
#[inline(always)]
pub fn is_response(scratch: &Scratch) -> bool {
    let message = &scratch.message;
    // QR is 1, the opcode is 0.
    message.be16(2) & 0xf800 == 0x8000 && message.be16(4) == 1
}

/// Whether a response to a question reports no error, and the class is IN or ANY.
#[inline(always)]
pub fn is_answer(scratch: &Scratch, question: &Question) -> bool {
    let message = &scratch.message;
    let class = message.be16(question.end - 2);
    message.be16(2) & 0x000f == 0 && (class == CLASS_IN || class == CLASS_ANY)
}

/// Whether the message is an error without question, answers and authorities: the response of a
/// server that could not read the query, such as one with EDNS (RFC 6891 section 7).
#[inline(always)]
pub fn is_bare_error(scratch: &Scratch) -> bool {
    let message = &scratch.message;
    let flags = message.be16(2);
    flags & 0xf800 == 0x8000
        && flags & 0x000f != 0
        && message.be16(4) | message.be16(6) | message.be16(8) == 0
}

/// Reads the question behind the header, and stores the offsets of its labels in the working
/// memory. `None` unless the question is whole and uncompressed, and its name at most 255 octets
/// long.
#[inline(always)]
pub fn read_question<W: Datapath>(scratch: &Scratch, datapath: W) -> Option<Question> {
    scratch.parser.position.set(HEADER_LENGTH);
    scratch.parser.label_count.set(0);
    scratch.parser.complete.set(0);
    bpf_loop::run::<Labels, _>((scratch, datapath), LABELS_MAX);
    // The name's root label, type and class.
    let end = scratch.parser.position.get() + 5;
    if scratch.parser.complete.get() == 0 || end > scratch.parser.length.get() {
        return None;
    }
    Some(Question { hash: hash(scratch, datapath, HEADER_LENGTH, end), end })
}

/// Returns the keyed hash of the octets from `begin` to `end`, at most 1024.
#[inline(always)]
fn hash<W: Datapath>(scratch: &Scratch, datapath: W, begin: u64, end: u64) -> u64 {
    scratch.parser.hash.set(scratch.parser.seed.get());
    scratch.parser.position.set(begin);
    scratch.parser.pointer_limit.set(end);
    bpf_loop::run::<Octets, _>((scratch, datapath), LABELS_MAX);
    scratch.parser.hash.get()
}

/// Returns a keyed hash of the message, never 0, to tell it from another answer.
#[inline(always)]
pub fn digest<W: Datapath>(scratch: &Scratch, datapath: W) -> u16 {
    scratch.parser.hash.set(scratch.parser.seed.get());
    scratch.parser.position.set(0);
    scratch.parser.pointer_limit.set(scratch.parser.length.get());
    bpf_loop::run::<Octets, _>((scratch, datapath), MESSAGE_WORDS);
    let hash = scratch.parser.hash.get();
    (hash >> 48) as u16 | 1
}

struct Labels;

impl<W: Datapath> LoopBody<(&Scratch, W)> for Labels {
    #[inline(always)]
    fn step((scratch, _): (&Scratch, W)) -> bool {
        let offset = scratch.parser.position.get();
        let length = scratch.message.octet(offset);
        if length == 0 {
            scratch.parser.complete.set(1);
            return true;
        }
        // A pointer, an unknown label type, or a name that is too long.
        if length > 63 || offset + length + 2 > HEADER_LENGTH + NAME_MAX {
            return true;
        }
        let count = scratch.parser.label_count.get();
        scratch.parser.labels.set(count, offset);
        scratch.parser.label_count.set(count + 1);
        scratch.parser.position.set(offset + length + 1);
        false
    }
}

/// Loop body that hashes the octets from `position` to `pointer_limit`, eight at a time.
struct Octets;

impl<W: Datapath> LoopBody<(&Scratch, W)> for Octets {
    #[inline(always)]
    fn step((scratch, _): (&Scratch, W)) -> bool {
        let (offset, end) = (scratch.parser.position.get(), scratch.parser.pointer_limit.get());
        if offset >= end {
            return true;
        }
        let left = end - offset;
        let octets = scratch.message.ne64(offset) & MASKS.word(left.min(8), 0);
        scratch.parser.hash.set(crate::bytes::mix(scratch.parser.hash.get(), octets));
        scratch.parser.position.set(offset + 8);
        false
    }
}
