//! What resolvers send to clients over TCP.

use super::{
    super::{
        LEFT, Run,
        resolver::{self, TCP_TRANSPORT},
    },
    BROKEN, DENIED, HARMLESS, IDLE, MESSAGES, PARTIAL, PASSED, PUNTED, READABLE, UNKNOWN,
    UNREADABLE, WHOLE, key, load, next_message, read_segment, sequence,
};
use crate::{
    abi::{EventKind, FlowKey, Reason, SegmentEvent, V4, V6, stream_flags},
    packet::{Fragment, Network, Packet, TCP_ACK, TCP_SYN},
    world::{Maps, World},
};

/// How long userspace has to read what the kernel cannot.
const PUNT: u64 = 1_000_000_000;
/// Octets of a segment that one record holds.
const PART: u64 = 4096;
/// Records that one segment is reported in at most: 64 KiB are the most that an aggregate has.
const PARTS: u32 = 16;

/// Judges a trusted resolver's segment, and learns from the messages that it is made of.
#[inline(never)]
pub(in crate::verdict) fn answer<A: Network, W: Maps<V4> + Maps<V6>, P: Packet>(
    run: &Run<'_, W, P>,
) -> u64 {
    let (world, scratch, now) = (run.world, run.scratch, run.now());
    let (segment, datagram) = (&scratch.segment, run.datagram::<A>());
    if datagram.fragment != Fragment::Whole || !read_segment(run, datagram) {
        return UNKNOWN;
    }
    let port = datagram.transport.destination_port;
    let key = key(scratch, run.zone(), port, *run.destination(), *run.source());
    let (flags, length) = (datagram.transport.flags, segment.length.get());
    // What `None` leaves unsaid would be an unwritten stack slot. No stream is opened at time 0.
    let read = world.stream_read(key).unwrap_or_default();
    let found = world.stream(key, |stream| {
        if now.saturating_sub(stream.last_seen) > IDLE {
            return UNKNOWN;
        }
        stream.last_seen = now;
        let begin = sequence(&segment.sequence);
        let established = stream.flags & stream_flags::ESTABLISHED != 0;
        if flags & TCP_SYN != 0 {
            let answers =
                flags & TCP_ACK != 0 && sequence(&segment.acknowledgment) == stream.query_next;
            if length == 0 && answers && !established {
                stream.flags |= stream_flags::ESTABLISHED;
                stream.answer_next = begin.wrapping_add(1);
            }
            return if length == 0 { PASSED } else { DENIED };
        }
        if length == 0 {
            return PASSED;
        }
        if !established {
            return DENIED;
        }
        if read.opened == stream.opened && is_after(read.answer_next, stream.answer_next) {
            stream.answer_next = read.answer_next;
            stream.punted = 0;
        }
        let next = stream.answer_next;
        segment.opened.set(stream.opened);
        segment.next.set(u64::from(next));
        let end = begin.wrapping_add(length as u32);
        if !is_after(end, next) {
            // It repeats what was read.
            PASSED
        } else if begin == next {
            READABLE
        } else if is_after(stream.answer_end, end) {
            HARMLESS
        } else {
            UNREADABLE
        }
    });
    let found = found.unwrap_or(UNKNOWN);
    segment.found.set(found);
    found
}

/// Whether a sequence number is after another (RFC 9293 section 3.4).
#[inline(always)]
const fn is_after(a: u32, b: u32) -> bool {
    a.wrapping_sub(b) as i32 > 0
}

/// Goes over the data of a segment that [`answer`] has looked at, of either family. What the kernel
/// cannot read, userspace gets a copy of; it is held back if it has the end of a message, which
/// nobody can use before.
#[inline(never)]
pub(in crate::verdict) fn read<W: Maps<V4> + Maps<V6>, P: Packet>(run: &Run<'_, W, P>) -> u64 {
    let segment = &run.scratch.segment;
    // SAFETY: the scratch memory is this run's alone.
    let key = unsafe { &*run.scratch.stream_key() };
    if segment.found.get() == READABLE && read_answers(run, key) != LEFT {
        return DENIED;
    }
    let found = segment.found.get();
    if found == WHOLE {
        return PASSED;
    }
    let passes = found == PARTIAL || found == HARMLESS || is_late(run, key);
    segment.passes.set(u64::from(passes));
    report(run, key);
    if segment.passes.get() != 0 { PASSED } else { PUNTED }
}

/// Learns from the messages of a segment, and leaves in the working memory what comes last:
/// [`WHOLE`], [`PARTIAL`] or [`BROKEN`].
#[inline(always)]
fn read_answers<W: Maps<V4> + Maps<V6>, P: Packet>(run: &Run<'_, W, P>, key: &FlowKey<V6>) -> u64 {
    let segment = &run.scratch.segment;
    let length = segment.length.get();
    segment.owed.set(0);
    for _ in 0..MESSAGES {
        if next_message(run) != WHOLE {
            break;
        }
        if resolver::heed(run, key.client_port, TCP_TRANSPORT) == resolver::HELD {
            segment.found.set(BROKEN);
            break;
        }
        if segment.done.get() >= length {
            break;
        }
    }
    // More than are read here.
    if segment.found.get() == WHOLE && segment.done.get() < length && next_message(run) == WHOLE {
        segment.found.set(BROKEN);
    }
    let found = segment.found.get();
    if found == BROKEN {
        return LEFT;
    }
    let begin = sequence(&segment.sequence);
    let next = begin.wrapping_add(segment.done.get() as u32);
    let missing = if found == PARTIAL { segment.missing.get() as u32 } else { 0 };
    segment.next.set(u64::from(next));
    run.world.stream(key, |stream| {
        stream.answer_next = next;
        stream.answer_end = begin.wrapping_add(length as u32).wrapping_add(missing);
        stream.punted = 0;
    });
    LEFT
}

/// Whether userspace had its time to read what is held back.
#[inline(always)]
fn is_late<W: World, P: Packet>(run: &Run<'_, W, P>, key: &FlowKey<V6>) -> bool {
    let (world, now) = (run.world, run.now());
    let waits = world.stream(key, |stream| {
        if stream.punted == 0 {
            stream.punted = now;
        }
        stream.flags & stream_flags::AUDITED == 0 && now.saturating_sub(stream.punted) <= PUNT
    });
    if waits != Some(true) {
        world.count(Reason::AnswerUnread, 1, run.scratch.segment.length.get() as u32);
    }
    waits != Some(true)
}

/// Reports a segment's data.
#[inline(always)]
fn report<W: World, P: Packet>(run: &Run<'_, W, P>, key: &FlowKey<V6>) {
    let segment = &run.scratch.segment;
    let length = segment.length.get();
    segment.done.set(0);
    for _ in 0..PARTS {
        let done = segment.done.get();
        if done >= length || report_part(run, key, done, (length - done).min(PART)) == 0 {
            return;
        }
        segment.done.set(done + PART);
    }
}

#[inline(never)]
fn report_part<W: World, P: Packet>(
    run: &Run<'_, W, P>,
    key: &FlowKey<V6>,
    begin: u64,
    length: u64,
) -> u64 {
    let segment = &run.scratch.segment;
    if !load(run, begin, length) {
        return 0;
    }
    let event = SegmentEvent {
        kind: EventKind::Segment as u32,
        length: length as u32,
        opened: segment.opened.get(),
        client: key.client,
        resolver: key.remote,
        sequence: sequence(&segment.sequence).wrapping_add(begin as u32),
        answer_next: sequence(&segment.next),
        port: key.client_port,
        zone: key.zone,
        reserved: 0,
    };
    // SAFETY: the scratch memory is this run's alone while it is claimed.
    unsafe { run.scratch.segment_event().write(event) };
    u64::from(run.world.report_segment(run.scratch))
}
