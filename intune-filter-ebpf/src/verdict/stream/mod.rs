//! DNS over TCP (RFC 7766): connections to resolvers are followed from their first segment on, and
//! whole messages are judged and learned from like those over UDP.
//!
//! Data passes only where a message is known to begin: else what a client or a zone's owner put
//! into the middle of a message could be taken for one. What a client sends is a judged prefix: see
//! [`super::judged`].

mod answers;
mod queries;

pub(super) use answers::{answer, read};
pub(super) use queries::query;

use super::{
    LEFT, Run, left,
    resolver::{self, MESSAGE_MIN},
};
use crate::{
    abi::{FlowKey, V6},
    datapath::Datapath,
    packet::{Packet, TCP},
    scratch::Scratch,
};

/// Messages in one segment at most: stub resolvers send two, for A and AAAA.
const MESSAGES: u32 = 2;
/// Octets of a length before a message.
const PREFIX: u64 = 2;
/// How long a connection may be idle; servers close theirs after seconds (RFC 7766 section 6.2.3).
const IDLE: u64 = 120_000_000_000;

/// It belongs to no connection that is followed.
pub(super) const UNKNOWN: u64 = 1;
/// It passes.
pub(super) const PASSED: u64 = 2;
/// It is held back until userspace has read it.
pub(super) const PUNTED: u64 = 3;
/// It is denied.
pub(super) const DENIED: u64 = 4;
/// It answers no query.
pub(super) const UNSOLICITED: u64 = 15;

/// It has messages for the kernel to read.
pub(super) const READABLE: u64 = 5;
/// It has data that only userspace can read.
pub(super) const UNREADABLE: u64 = 6;
/// It has data that only userspace can read, but not the end of a message.
pub(super) const HARMLESS: u64 = 7;
/// There is no message at all, or none that can be read.
const BROKEN: u64 = 10;
/// There is a whole message, now in the working memory.
const WHOLE: u64 = 11;
/// There is the beginning of a message.
const PARTIAL: u64 = 12;

/// The key of the stream between a client's port and a resolver.
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

/// Copies the segment's next message into the working memory, and leaves there what there is.
#[inline(never)]
fn find_message<W: Datapath, P: Packet>(run: &Run<'_, W, P>) -> u64 {
    let found = look_for_message(run);
    run.scratch.segment.found.set(found);
    left()
}

/// What there is of a message, from memory: see [`Verdict::leave`].
#[inline(always)]
fn next_message<W: Datapath, P: Packet>(run: &Run<'_, W, P>) -> u64 {
    let left = find_message(run);
    if left == LEFT { run.scratch.segment.found.get() } else { BROKEN }
}

#[inline(always)]
fn look_for_message<W: Datapath, P: Packet>(run: &Run<'_, W, P>) -> u64 {
    let segment = &run.scratch.segment;
    let (done, owed) = (segment.done.get(), segment.owed.get());
    let mut left = segment.length.get() - done;
    let (mut begin, mut length) = (done, owed);
    if owed == 0 {
        if left < PREFIX {
            segment.missing.set(0);
            return PARTIAL;
        }
        if !load(run, done, PREFIX) {
            return BROKEN;
        }
        length = run.scratch.message.be16(0);
        begin += PREFIX;
        left -= PREFIX;
    }
    if length > left {
        segment.missing.set(length - left);
        return PARTIAL;
    }
    if length < MESSAGE_MIN || !load(run, begin, length) {
        return BROKEN;
    }
    segment.owed.set(0);
    segment.done.set(begin + length);
    WHOLE
}

/// Copies octets of the segment's data into the working memory.
#[inline(always)]
fn load<W: Datapath, P: Packet>(run: &Run<'_, W, P>, begin: u64, length: u64) -> bool {
    let offset = run.scratch.segment.data.get() + begin;
    run.packet.copy(offset as u32, length as u32, &run.scratch.message)
        && resolver::loaded(run, length as u32)
}
