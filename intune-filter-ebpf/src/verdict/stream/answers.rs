//! Segments from resolvers to clients: the kernel learns from them, or leaves them to userspace.

use super::{
    super::{
        Run, judged,
        resolver::{self, Response, TCP_TRANSPORT},
        segment::{self, Numbers, is_after, low},
        stage::Stage,
    },
    Found, IDLE, MESSAGES, key, load, next_message,
};
use crate::{
    abi::{EventKind, FlowKey, Occurrence, SegmentEvent, V6, server_state, stream_flags},
    datapath::{Datapath, DualStack, NANOS_PER_SEC},
    maps::{KeyedMap as _, keyed::STREAMS_READ},
    packet::{Datagram, Fragment, MULTIPATH, Packet, TCP_SYN, has_tcp_option},
    scratch::Family,
};

/// Nanoseconds that userspace has to read a message that the kernel cannot read.
const PUNT: u64 = NANOS_PER_SEC;
/// Octets of a segment that one record holds.
const PART: u64 = 4096;
/// Maximum number of records that report one segment: an aggregate has at most 64 KiB.
const PARTS: u32 = 16;

/// Judges a trusted resolver's segment by its position in the stream.
#[inline(never)]
pub(in crate::verdict) fn answer<A: Family, W: DualStack, P: Packet>(run: &Run<'_, W, P>) -> Found {
    let (datapath, scratch, now) = (run.datapath, run.scratch, run.now());
    let (segment, datagram) = (&scratch.segment, run.datagram::<A>());
    if datagram.fragment != Fragment::Whole || !segment::read(run, datagram) {
        return Found::UNKNOWN;
    }
    let port = datagram.transport.destination_port;
    let key = key(scratch, run.zone(), port, *run.destination(), *run.source());
    let numbers = Numbers::of(segment, datagram.transport.flags);
    // A server that agrees to Multipath TCP puts its octets together by other numbers (RFC 8684):
    // without an answer, the client does without the option.
    let multipath = numbers.flags & TCP_SYN != 0 && has_multipath(run, datagram);
    // What `None` leaves unsaid would be an unwritten stack slot. No stream is opened at time 0.
    let read = STREAMS_READ::get(datapath, key).unwrap_or_default();
    let found = datapath.stream(key, |stream| {
        if now.saturating_sub(stream.last_seen) > IDLE {
            return Found::UNKNOWN;
        }
        if multipath {
            return Found::DENIED;
        }
        let before = stream.prefix.server_state;
        let class = judged::server(&mut stream.prefix, numbers);
        if class == judged::Class::FOREIGN {
            return Found::DENIED;
        }
        stream.last_seen = now;
        if numbers.flags & TCP_SYN != 0 && before == server_state::SILENT {
            stream.answer_next = stream.prefix.server_begin;
        }
        if class == judged::Class::EMPTY {
            return Found::PASSED;
        }
        let unjudged = stream.flags & stream_flags::UNJUDGED;
        segment.unjudged.set(u64::from(unjudged));
        let mut answered = stream.answered;
        if read.opened == stream.opened {
            answered = answered.wrapping_add(read.answered);
            if is_after(read.answer_next, stream.answer_next) {
                stream.answer_next = read.answer_next;
                stream.punted = 0;
            }
        }
        let next = stream.answer_next;
        segment.opened.set(stream.opened);
        segment.next.set(u64::from(next));
        let begin = numbers.sequence;
        let end = begin.wrapping_add(numbers.length);
        if !is_after(end, next) {
            // The segment repeats octets that were read.
            Found::PASSED
        } else if unjudged == 0 && !is_after(stream.asked, answered) {
            Found::UNSOLICITED
        } else if begin == next {
            Found::READABLE
        } else if is_after(stream.answer_end, end) {
            Found::HARMLESS
        } else {
            Found::UNREADABLE
        }
    });
    let found = found.unwrap_or(Found::UNKNOWN);
    segment.found.set(found.word());
    found
}

/// Whether a segment's options agree to Multipath TCP, or cannot be read.
#[inline(always)]
fn has_multipath<A: Family, W: Datapath, P: Packet>(
    run: &Run<'_, W, P>,
    datagram: &Datagram<A>,
) -> bool {
    const HEADER: u32 = 20;
    let (offset, length) = (datagram.transport_offset + HEADER, datagram.transport.length - HEADER);
    let (headers, message) = (&run.scratch.headers, &run.scratch.message);
    length != 0 && has_tcp_option(&run.packet, headers, message, offset, length, MULTIPATH)
}

/// Reads the data of a segment that [`answer`] has found to be in place, of either family.
///
/// Userspace gets a copy of what the kernel cannot read; the segment is held back if it has the end
/// of a message, which no client can use before.
#[inline(never)]
pub(in crate::verdict) fn read<W: DualStack, P: Packet>(run: &Run<'_, W, P>) -> Found {
    let segment = &run.scratch.segment;
    // SAFETY: the scratch memory is this run's alone.
    let key = unsafe { &*run.scratch.stream_key() };
    if Found::of(segment.found.get()) == Found::READABLE && read_answers(run, key) != Stage::DONE {
        return Found::DENIED;
    }
    let found = Found::of(segment.found.get());
    if found == Found::WHOLE || found == Found::UNSOLICITED {
        return if found == Found::WHOLE { Found::PASSED } else { Found::UNSOLICITED };
    }
    let passes = found == Found::PARTIAL || found == Found::HARMLESS || is_late(run, key);
    segment.passes.set(u64::from(passes));
    report(run, key);
    if segment.passes.get() != 0 { Found::PASSED } else { Found::PUNTED }
}

/// Learns from the messages of a segment, and stores the finding about the last one in the working
/// memory: [`Found::WHOLE`], [`Found::PARTIAL`] or [`Found::BROKEN`].
#[inline(always)]
fn read_answers<W: DualStack, P: Packet>(run: &Run<'_, W, P>, key: &FlowKey<V6>) -> Stage {
    let segment = &run.scratch.segment;
    let length = segment.length.get();
    segment.owed.set(0);
    segment.queries.set(0);
    for _ in 0..MESSAGES {
        if next_message(run) != Found::WHOLE {
            break;
        }
        let response = resolver::process_response(run, key.client_port, TCP_TRANSPORT);
        if response == Response::DEFERRED {
            segment.found.set(Found::BROKEN.word());
            break;
        }
        if response == Response::NOT_OURS && segment.unjudged.get() == 0 {
            segment.found.set(Found::UNSOLICITED.word());
            break;
        }
        if response == Response::ACCEPTED {
            segment.queries.add(1);
        }
        if segment.done.get() >= length {
            break;
        }
    }
    // More messages than are read here.
    if Found::of(segment.found.get()) == Found::WHOLE
        && segment.done.get() < length
        && next_message(run) == Found::WHOLE
    {
        segment.found.set(Found::BROKEN.word());
    }
    let found = Found::of(segment.found.get());
    if found == Found::BROKEN || found == Found::UNSOLICITED {
        return Stage::DONE;
    }
    let begin = low(&segment.sequence);
    let next = begin.wrapping_add(segment.done.get() as u32);
    let missing = if found == Found::PARTIAL { segment.missing.get() as u32 } else { 0 };
    segment.next.set(u64::from(next));
    run.datapath.stream(key, |stream| {
        stream.answer_next = next;
        stream.answered = stream.answered.wrapping_add(segment.queries.get() as u32);
        stream.answer_end = begin.wrapping_add(length as u32).wrapping_add(missing);
        stream.punted = 0;
    });
    Stage::DONE
}

/// Whether the time is over that userspace had to read a held segment.
#[inline(always)]
fn is_late<W: Datapath, P: Packet>(run: &Run<'_, W, P>, key: &FlowKey<V6>) -> bool {
    let (datapath, now) = (run.datapath, run.now());
    let waits = datapath.stream(key, |stream| {
        if stream.punted == 0 {
            stream.punted = now;
        }
        stream.flags & stream_flags::UNJUDGED == 0 && now.saturating_sub(stream.punted) <= PUNT
    });
    if waits != Some(true) {
        datapath
            .count_occurrence(Occurrence::AnswerUnread, run.scratch.segment.length.get() as u32);
    }
    waits != Some(true)
}

/// Reports a segment's data to userspace.
#[inline(always)]
fn report<W: Datapath, P: Packet>(run: &Run<'_, W, P>, key: &FlowKey<V6>) {
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
fn report_part<W: Datapath, P: Packet>(
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
        sequence: low(&segment.sequence).wrapping_add(begin as u32),
        answer_next: low(&segment.next),
        port: key.client_port,
        zone: key.zone,
        reserved: 0,
    };
    // SAFETY: the scratch memory is this run's alone while it is claimed.
    unsafe { run.scratch.segment_event().write(event) };
    u64::from(run.datapath.report_segment(run.scratch))
}
