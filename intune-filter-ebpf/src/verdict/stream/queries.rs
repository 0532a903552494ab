//! Segments from clients to resolvers: the queries in them are judged and recorded.

use super::{
    super::{
        Action, Run, Verdict, judged, limit, reply,
        resolver::{self, MESSAGE_MIN, TCP_TRANSPORT},
        segment::{self, Numbers},
    },
    Found, IDLE, MESSAGES, PREFIX, key, load, next_message,
};
use crate::{
    abi::{
        FlowKey, LIMIT_QUERIES, LIMIT_STREAMS, MODE_AUDIT, Reason, Settings, Stream,
        UNLISTED_FORWARD, UNLISTED_NXDOMAIN, UNLISTED_REFUSE, V6, client_state, stream_flags,
    },
    atomic,
    datapath::{Datapath, Member},
    dns,
    packet::{Datagram, Fragment, Packet, TCP_ACK, TCP_FIN, TCP_RST, TCP_SYN, TCP_URG},
    scratch::Family,
};

/// Maximum number of octets of a client's segment.
const QUERIES_MAX: u64 = judged::SEGMENT_MAX as u64;

/// Judges a client's segment to a trusted resolver.
#[inline(always)]
pub(in crate::verdict) fn query<A: Family, W: Datapath, P: Packet>(
    run: &Run<'_, W, P>,
    settings: &Settings,
    datagram: &Datagram<A>,
    who: &Member,
) -> Verdict {
    let mut found = open_or_find(run, datagram, who);
    if found == Found::READABLE {
        found = read_queries(run, who);
    }
    if found == Found::PASSED {
        return Verdict::pass_builtin(Reason::DnsQuery).of(who);
    }
    if found == Found::LIMITED {
        return Verdict::over_limit(limit::refusal(run), who);
    }
    if found == Found::MISPLACED {
        // In silence: an honest client's comes again, in its place.
        return Verdict::over_limit(Reason::DnsTransport, who);
    }
    let reason = match found {
        Found::UNLISTED | Found::ENDED => resolver::unlisted_reason(false),
        Found::OVER_HTTPS => resolver::unlisted_reason(true),
        Found::MALFORMED => Reason::DnsMalformed,
        _ => Reason::DnsTransport,
    };
    let mut verdict = Verdict::deny_client(reason, who);
    if found == Found::ENDED {
        // A client that has read its answer, and closes, is rid of the connection.
        verdict.reject = u8::from(datagram.transport.flags & TCP_FIN != 0);
        return verdict;
    }
    let over_https = found == Found::OVER_HTTPS;
    if found == Found::UNLISTED || over_https {
        // No refusal can be put between the resolver's octets: it ends the connection, or the
        // connection is reset.
        let choice = resolver::unlisted_choice(settings, over_https);
        if choice == UNLISTED_NXDOMAIN
            && verdict.action == Action::Drop
            && run.scratch.segment.answerable.get() != 0
            && reply::describe_last(run, datagram, choice)
        {
            return Verdict { action: Action::Refuse, ..verdict };
        }
        verdict.reject = u8::from(choice == UNLISTED_REFUSE || choice == UNLISTED_NXDOMAIN);
    }
    verdict
}

/// Finds or opens the connection of a client's segment. A segment with data to be judged claims the
/// connection for this CPU, until [`leave_claim`] or [`go_on`].
#[inline(always)]
fn open_or_find<A: Family, W: Datapath, P: Packet>(
    run: &Run<'_, W, P>,
    datagram: &Datagram<A>,
    who: &Member,
) -> Found {
    let (scratch, now) = (run.scratch, run.now());
    let segment = &scratch.segment;
    if datagram.fragment != Fragment::Whole || !segment::read(run, datagram) {
        return Found::UNKNOWN;
    }
    let port = datagram.transport.source_port;
    let key = key(scratch, run.zone(), port, *run.source(), *run.destination());
    let numbers = Numbers::of(segment, datagram.transport.flags);
    if numbers.flags & TCP_SYN != 0 {
        // Data in a SYN (RFC 7413) would be read before the connection is known to exist.
        let others = TCP_ACK | TCP_FIN | TCP_RST | TCP_URG;
        if numbers.flags & others != 0 || numbers.length != 0 {
            return Found::UNKNOWN;
        }
        return open(run, key, who);
    }
    let found = run.datapath.stream(key, |stream| {
        // A message that passed while the group was audited may have ended anywhere.
        let unjudged = stream.flags & stream_flags::UNJUDGED != 0;
        if who.mode == MODE_AUDIT {
            stream.flags |= stream_flags::UNJUDGED;
        } else if unjudged {
            return Found::UNKNOWN;
        }
        if now.saturating_sub(stream.last_seen) > IDLE {
            return Found::UNKNOWN;
        }
        // Claimed before anything of the connection is read: another CPU may be about to move its
        // end.
        let claims = numbers.length != 0;
        if claims && !claim(stream, 0, 1) {
            return Found::MISPLACED;
        }
        let class = judged::client(&mut stream.prefix, numbers);
        if class == judged::Class::FOREIGN {
            if claims {
                claim(stream, 1, 0);
            }
            let ended = stream.prefix.client_state & client_state::ANSWERED != 0
                && segment::is_after(numbers.acknowledgment, stream.prefix.server_end);
            return if ended { Found::ENDED } else { Found::MISPLACED };
        }
        stream.last_seen = now;
        if class == judged::Class::EMPTY {
            return Found::PASSED;
        }
        segment.owed.set(u64::from(stream.query_owed));
        segment.opened.set(stream.opened);
        segment.repeats.set(u64::from(class == judged::Class::REPEATED));
        Found::READABLE
    });
    found.unwrap_or(Found::UNKNOWN)
}

/// Takes a connection's claim, or gives it back, ordered with all else that is written of the
/// connection; returns whether the claim was in the state `before`.
#[inline(always)]
fn claim(stream: &mut Stream, before: u64, after: u64) -> bool {
    // SAFETY: a word of a map's value or, to explain, of this run's copy.
    unsafe { atomic::exchange(&raw mut stream.claimed, before, after) }
}

/// Judges the messages of a client's segment, which has to consist of whole messages or repeat
/// judged octets.
#[inline(always)]
fn read_queries<W: Datapath, P: Packet>(run: &Run<'_, W, P>, who: &Member) -> Found {
    let segment = &run.scratch.segment;
    // SAFETY: the scratch memory is this run's alone.
    let key = unsafe { &*run.scratch.stream_key() };
    if !load(run, 0, segment.length.get()) {
        leave_claim(run, key);
        return Found::UNKNOWN;
    }
    let owner = judged::owner(run.scratch.parser.seed.get(), key, segment.opened.get());
    segment.owner.set(owner);
    if segment.repeats.get() != 0 {
        let found = match judged::compare(run) {
            Some(true) => Found::PASSED,
            Some(false) => Found::MISPLACED,
            // The segment will never pass: a client that is told so connects anew.
            None => Found::UNKNOWN,
        };
        leave_claim(run, key);
        return found;
    }
    let found = read_messages(run, who);
    // The next message does not begin behind a segment that is denied.
    if found == Found::PASSED || who.mode == MODE_AUDIT {
        return if go_on(run, key) { found } else { Found::MISPLACED };
    }
    leave_after_denial(run, key, found);
    found
}

/// Gives back the claim of a segment that is denied. Notes whether its query can be answered in the
/// resolver's place: one message, while no answer of the resolver's is on its way to the client.
#[inline(always)]
fn leave_after_denial<W: Datapath, P: Packet>(
    run: &Run<'_, W, P>,
    key: &FlowKey<V6>,
    found: Found,
) {
    let segment = &run.scratch.segment;
    let alone = segment.length.get().wrapping_sub(run.scratch.parser.length.get()) <= PREFIX;
    let refused = found == Found::UNLISTED || found == Found::OVER_HTTPS;
    let told = run.settings().is_some_and(|settings| settings.dns_unlisted == UNLISTED_NXDOMAIN);
    let acknowledgment = segment.acknowledgment.get() as u32;
    segment.answerable.set(0);
    run.datapath.stream(key, |stream| {
        if stream.opened != segment.opened.get() {
            return;
        }
        if told
            && alone
            && refused
            && stream.asked == stream.answered
            && stream.prefix.server_end == acknowledgment
        {
            stream.prefix.client_state |= client_state::ANSWERED;
            segment.answerable.set(1);
        }
        claim(stream, 1, 0);
    });
}

#[inline(always)]
fn read_messages<W: Datapath, P: Packet>(run: &Run<'_, W, P>, who: &Member) -> Found {
    let segment = &run.scratch.segment;
    let length = segment.length.get();
    let mut found = Found::PASSED;
    segment.queries.set(0);
    if length == PREFIX && segment.owed.get() == 0 {
        let owed = run.scratch.message.be16(0);
        if !(MESSAGE_MIN..=QUERIES_MAX).contains(&owed) {
            return Found::UNKNOWN;
        }
        segment.owed.set(owed);
        return found;
    }
    for _ in 0..MESSAGES {
        if segment.done.get() >= length {
            break;
        }
        if next_message(run) != Found::WHOLE {
            return Found::UNKNOWN;
        }
        let one = ask(run, who);
        if one != Found::PASSED {
            found = one;
        }
    }
    if segment.done.get() < length {
        return Found::UNKNOWN;
    }
    segment.owed.set(0);
    found
}

/// Gives back the claim of a segment that does not move the connection on.
#[inline(always)]
fn leave_claim<W: Datapath, P: Packet>(run: &Run<'_, W, P>, key: &FlowKey<V6>) {
    let opened = run.scratch.segment.opened.get();
    run.datapath.stream(key, |stream| {
        if stream.opened == opened {
            claim(stream, 1, 0);
        }
    });
}

/// Moves a connection on past a client's segment, keeps the segment's octets, and gives the claim
/// back. False if the segment may not pass, since no repetition could be compared with it.
#[inline(always)]
fn go_on<W: Datapath, P: Packet>(run: &Run<'_, W, P>, key: &FlowKey<V6>) -> bool {
    let segment = &run.scratch.segment;
    // The messages were read to the place where the segment's octets are to be now.
    let length = segment.length.get();
    let question = &run.scratch.ctx.question_at;
    if question.get() != 0 {
        question.add(segment.done.get() - run.scratch.parser.length.get());
    }
    let kept = if load(run, 0, length) { judged::keep(run) } else { None };
    let Some(had) = kept else {
        leave_claim(run, key);
        return false;
    };
    let done = run.datapath.stream(key, |stream| {
        if stream.opened != segment.opened.get() {
            return false;
        }
        let prefix = &mut stream.prefix;
        if !had {
            prefix.kept = prefix.end;
        }
        prefix.end = prefix.end.wrapping_add(length as u32);
        prefix.client_state |= client_state::SPOKE;
        stream.query_owed = segment.owed.get() as u32;
        stream.asked = stream.asked.wrapping_add(segment.queries.get() as u32);
        claim(stream, 1, 0);
        true
    });
    done == Some(true)
}

/// Judges the query in the working memory, and records it.
#[inline(never)]
fn ask<W: Datapath, P: Packet>(run: &Run<'_, W, P>, who: &Member) -> Found {
    let (datapath, scratch) = (run.datapath, run.scratch);
    // The message of a question before this one is no longer there.
    scratch.ctx.question_at.set(0);
    if !dns::is_query(scratch) {
        return Found::MALFORMED;
    }
    let Some(question) = dns::read_question(scratch, datapath) else {
        return Found::MALFORMED;
    };
    let Some(settings) = run.settings() else {
        return Found::UNKNOWN;
    };
    dns::match_name(scratch, datapath, settings);
    let listed = dns::may_ask(scratch);
    let over_https = dns::is_over_https(scratch);
    if !listed && resolver::unlisted_choice(settings, over_https) != UNLISTED_FORWARD {
        scratch.reply.question_end.set(question.end);
        scratch.ctx.question_at.set(dns::HEADER_LENGTH);
        scratch.ctx.question.set(question.hash);
        return if over_https { Found::OVER_HTTPS } else { Found::UNLISTED };
    }
    let admitted = limit::admits::<LIMIT_QUERIES, W, P>(run, who);
    if admitted || who.mode == MODE_AUDIT {
        // SAFETY: the scratch memory is this run's alone.
        let port = unsafe { (*scratch.stream_key()).client_port };
        resolver::remember(run, port, TCP_TRANSPORT, question.hash);
        scratch.segment.queries.add(1);
    }
    if admitted { Found::PASSED } else { Found::LIMITED }
}

/// Opens a connection for a client's SYN, unless the SYN is a repetition. Returns whether the SYN
/// passes.
#[inline(always)]
fn open<W: Datapath, P: Packet>(run: &Run<'_, W, P>, key: &FlowKey<V6>, who: &Member) -> Found {
    let (datapath, scratch, now) = (run.datapath, run.scratch, run.now());
    let sequence = segment::low(&scratch.segment.sequence);
    let audited = who.mode == MODE_AUDIT;
    let before = datapath.stream(key, |stream| {
        let idle = now.saturating_sub(stream.last_seen);
        if idle <= IDLE && judged::is_same_syn(&stream.prefix, sequence) {
            return SAME;
        }
        let age = now.saturating_sub(stream.opened);
        match judged::reopens(&stream.prefix, sequence, age, idle, IDLE) {
            Some(state) => u64::from(state),
            None => FOREIGN,
        }
    });
    let state = match before {
        Some(SAME) => return Found::PASSED,
        Some(FOREIGN) if !audited => return Found::MISPLACED,
        Some(FOREIGN) | None => 0,
        Some(state) => state as u32,
    };
    let admitted = limit::admits::<LIMIT_STREAMS, W, P>(run, who);
    if !admitted && !audited {
        return Found::LIMITED;
    }
    // SAFETY: the scratch memory is this run's alone.
    unsafe {
        let stream = scratch.ctx.stream.get();
        stream.write(Stream {
            opened: now,
            last_seen: now,
            prefix: judged::begin(sequence, state),
            flags: if audited { stream_flags::UNJUDGED } else { 0 },
            ..Stream::default()
        });
        datapath.open_stream(key, &*stream);
    }
    if admitted { Found::PASSED } else { Found::LIMITED }
}

/// SYN that the connection between the same ports began with. Not among the bits of
/// [`client_state`].
const SAME: u64 = 1 << 32;
/// Other SYN, while the connection between the same ports has not ended.
const FOREIGN: u64 = 2 << 32;
