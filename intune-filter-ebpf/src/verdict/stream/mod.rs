//! DNS over TCP (RFC 7766): connections to resolvers are followed from their first segment on, and
//! whole messages are judged and learned from like those over UDP.
//!
//! Data passes only where a message is known to begin: otherwise octets that a client, or the owner
//! of a DNS zone, puts into the middle of a message could be taken for a message. A client's octets
//! form a judged prefix: see [`super::judged`].

mod answers;
mod queries;

pub(super) use answers::{answer, read};
pub(super) use queries::query;

use super::{
    Run,
    resolver::{self, MESSAGE_MIN},
    stage::Stage,
};
use crate::{
    abi::{FlowKey, V6},
    datapath::Datapath,
    packet::{Packet, TCP},
    result_word::result_word,
    scratch::Scratch,
};

/// Maximum number of messages in one segment: stub resolvers send two, for A and AAAA.
const MESSAGES: u32 = 2;
/// Octets of the length before a message.
const PREFIX: u64 = 2;
/// Nanoseconds that a connection may be idle; servers close theirs after seconds (RFC 7766 section
/// 6.2.3).
const IDLE: u64 = 120_000_000_000;

result_word! {
    /// Finding about a segment, or about its next message.
    pub(in crate::verdict) Found {
        /// Segment of no followed connection.
        UNKNOWN = 1,
        /// Segment that passes.
        PASSED = 2,
        /// Segment that is held until userspace has read it.
        PUNTED = 3,
        /// Segment that is denied.
        DENIED = 4,
        /// Segment with messages for the kernel to read.
        READABLE = 5,
        /// Segment with data that only userspace can read.
        UNREADABLE = 6,
        /// Segment with data that only userspace can read, but without the end of a message.
        HARMLESS = 7,
        /// Query for a name of no rule of the client.
        UNLISTED = 8,
        /// Message that is no query.
        MALFORMED = 9,
        /// No message, or none that can be read.
        BROKEN = 10,
        /// Whole message, now in the working memory.
        WHOLE = 11,
        /// Beginning of a message.
        PARTIAL = 12,
        /// Query beyond the client's limit.
        LIMITED = 13,
        /// Query for a name of no rule of the client, of a known server of DNS over HTTPS.
        OVER_HTTPS = 14,
        /// Answer to no recorded query.
        UNSOLICITED = 15,
        /// Segment without a place in its connection, or not yet.
        MISPLACED = 16,
        /// Segment behind the answer that has ended its connection.
        ENDED = 17,
    }
}

impl Found {
    /// Returns the finding that a word of memory stands for.
    #[inline(always)]
    const fn of(word: u64) -> Self {
        Self(word)
    }

    /// Returns the word that memory keeps for the finding.
    #[inline(always)]
    const fn word(self) -> u64 {
        self.0
    }
}

/// Writes the key of the stream between a client's port and a resolver into the working memory and
/// returns it.
#[inline(always)]
fn key(scratch: &Scratch, zone: u16, port: u16, client: V6, resolver: V6) -> &FlowKey<V6> {
    // SAFETY: the scratch memory is this run's alone.
    unsafe {
        let key = scratch.stream_key();
        key.write(FlowKey {
            zone,
            protocol: TCP,
            reserved: 0,
            client_port: port,
            remote_port: resolver::DNS_PORT,
            client,
            remote: resolver,
        });
        &*key
    }
}

/// Copies the segment's next message into the working memory, and stores the finding about it
/// there.
#[inline(never)]
fn find_message<W: Datapath, P: Packet>(run: &Run<'_, W, P>) -> Stage {
    let found = look_for_message(run);
    run.scratch.segment.found.set(found.word());
    Stage::done()
}

/// Returns the finding about the segment's next message, loaded from memory: see `Verdict::store`.
#[inline(always)]
fn next_message<W: Datapath, P: Packet>(run: &Run<'_, W, P>) -> Found {
    let stage = find_message(run);
    if stage == Stage::DONE { Found::of(run.scratch.segment.found.get()) } else { Found::BROKEN }
}

#[inline(always)]
fn look_for_message<W: Datapath, P: Packet>(run: &Run<'_, W, P>) -> Found {
    let segment = &run.scratch.segment;
    let (done, owed) = (segment.done.get(), segment.owed.get());
    let mut left = segment.length.get() - done;
    let (mut begin, mut length) = (done, owed);
    if owed == 0 {
        if left < PREFIX {
            segment.missing.set(0);
            return Found::PARTIAL;
        }
        if !load(run, done, PREFIX) {
            return Found::BROKEN;
        }
        length = run.scratch.message.be16(0);
        begin += PREFIX;
        left -= PREFIX;
    }
    if length > left {
        segment.missing.set(length - left);
        return Found::PARTIAL;
    }
    if length < MESSAGE_MIN || !load(run, begin, length) {
        return Found::BROKEN;
    }
    segment.owed.set(0);
    segment.done.set(begin + length);
    Found::WHOLE
}

/// Copies octets of the segment's data into the working memory, for the parser.
#[inline(always)]
fn load<W: Datapath, P: Packet>(run: &Run<'_, W, P>, begin: u64, length: u64) -> bool {
    let offset = run.scratch.segment.data.get() + begin;
    run.packet.copy(offset as u32, length as u32, &run.scratch.message)
        && resolver::loaded(run, length as u32)
}
