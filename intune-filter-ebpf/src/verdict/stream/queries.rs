//! What clients send to resolvers over TCP.

use super::{
    super::{
        Run, Verdict, limit,
        resolver::{self, MESSAGE_MIN, TCP_TRANSPORT},
    },
    IDLE, MESSAGES, PASSED, PREFIX, READABLE, UNKNOWN, WHOLE, key, load, next_message,
    read_segment, sequence,
};
use crate::{
    abi::{
        Client, FlowKey, LIMIT_QUERIES, LIMIT_STREAMS, MODE_AUDIT, Reason, Settings, Stream,
        UNLISTED_FORWARD, UNLISTED_REFUSE, V6, stream_flags,
    },
    dns,
    packet::{Datagram, Fragment, Network, Packet, TCP_ACK, TCP_FIN, TCP_RST, TCP_SYN},
    world::World,
};

/// Octets of a client's segment at most.
const QUERIES_MAX: u64 = dns::HASHED_MAX;

/// It asks for a name of no rule of the client's.
const UNLISTED: u64 = 8;
/// It asks for such a name, of a known server of DNS over HTTPS.
const OVER_HTTPS: u64 = 14;
/// It has a message that is no query.
const MALFORMED: u64 = 9;

/// It begins more than the client may.
const LIMITED: u64 = 13;

/// Judges a client's segment to a trusted resolver.
#[inline(always)]
pub(in crate::verdict) fn query<A: Network, W: World, P: Packet>(
    run: &Run<'_, W, P>,
    settings: &Settings,
    datagram: &Datagram<A>,
    who: &Client,
) -> Verdict {
    let mut found = open_or_find(run, datagram, who);
    if found == READABLE {
        found = read_queries(run, who);
    }
    if found == PASSED {
        return Verdict::control(Reason::DnsQuery).of(who);
    }
    if found == LIMITED {
        return Verdict::over_limit(Reason::DnsLimit, who, 0);
    }
    let reason = match found {
        UNLISTED => resolver::unlisted_reason(false),
        OVER_HTTPS => resolver::unlisted_reason(true),
        MALFORMED => Reason::DnsMalformed,
        _ => Reason::DnsTransport,
    };
    let mut verdict = Verdict::deny_client(reason, who, 0);
    let over_https = found == OVER_HTTPS;
    if found == UNLISTED || over_https {
        // No refusal can be put between the resolver's octets: the connection ends instead.
        let refused = resolver::unlisted_choice(settings, over_https) == UNLISTED_REFUSE;
        verdict.reject = u8::from(refused);
    }
    verdict
}

/// What a client's segment is to the connection that it belongs to.
#[inline(always)]
fn open_or_find<A: Network, W: World, P: Packet>(
    run: &Run<'_, W, P>,
    datagram: &Datagram<A>,
    who: &Client,
) -> u64 {
    let (scratch, now) = (run.scratch, run.now());
    let segment = &scratch.segment;
    if datagram.fragment != Fragment::Whole || !read_segment(run, datagram) {
        return UNKNOWN;
    }
    let port = datagram.transport.source_port;
    let key = key(scratch, run.zone(), port, *run.source(), *run.destination());
    let (flags, length) = (datagram.transport.flags, segment.length.get());
    if flags & TCP_SYN != 0 {
        // Data in a SYN (RFC 7413) would be read before the connection is known to exist.
        if flags & (TCP_ACK | TCP_FIN | TCP_RST) != 0 || length != 0 {
            return UNKNOWN;
        }
        return open(run, key, who);
    }
    let found = run.world.stream(key, |stream| {
        if now.saturating_sub(stream.last_seen) > IDLE {
            return UNKNOWN;
        }
        if length == 0 {
            stream.last_seen = now;
            return PASSED;
        }
        segment.owed.set(u64::from(stream.query_owed));
        segment.hash.set(stream.query_hash);
        let (begin, next) = (sequence(&segment.sequence), stream.query_next);
        let repeats =
            begin.wrapping_add(length as u32) == next && length as u32 == stream.query_length;
        if stream.flags & stream_flags::ESTABLISHED == 0 || length > QUERIES_MAX {
            UNKNOWN
        } else if begin == next {
            segment.repeats.set(0);
            READABLE
        } else if repeats {
            segment.repeats.set(1);
            READABLE
        } else {
            UNKNOWN
        }
    });
    found.unwrap_or(UNKNOWN)
}

/// Judges the messages of a client's segment, which has to be made of them, or to be the same as
/// the one before.
#[inline(always)]
fn read_queries<W: World, P: Packet>(run: &Run<'_, W, P>, who: &Client) -> u64 {
    let (world, scratch) = (run.world, run.scratch);
    let segment = &scratch.segment;
    let length = segment.length.get();
    if !load(run, 0, length) {
        return UNKNOWN;
    }
    let hash = dns::hash_message(scratch, world);
    if segment.repeats.get() != 0 {
        return if hash == segment.hash.get() { PASSED } else { UNKNOWN };
    }
    segment.hash.set(hash);
    let mut found = PASSED;
    if length == PREFIX && segment.owed.get() == 0 {
        let owed = scratch.message.be16(0);
        if !(MESSAGE_MIN..=QUERIES_MAX).contains(&owed) {
            return UNKNOWN;
        }
        segment.owed.set(owed);
    } else {
        for _ in 0..MESSAGES {
            if segment.done.get() >= length {
                break;
            }
            if next_message(run) != WHOLE {
                return UNKNOWN;
            }
            let one = ask(run, who);
            if one != PASSED {
                found = one;
            }
        }
        if segment.done.get() < length {
            return UNKNOWN;
        }
        segment.owed.set(0);
    }
    // What does not pass is not where the next message begins.
    if found == PASSED || who.mode == MODE_AUDIT {
        go_on(run, length);
    }
    found
}

/// Notes what a client's segment leads to.
#[inline(always)]
fn go_on<W: World, P: Packet>(run: &Run<'_, W, P>, length: u64) {
    let (segment, now) = (&run.scratch.segment, run.now());
    // SAFETY: the scratch memory is this run's alone.
    let key = unsafe { &*run.scratch.stream_key() };
    run.world.stream(key, |stream| {
        stream.last_seen = now;
        stream.query_next = stream.query_next.wrapping_add(length as u32);
        stream.query_length = length as u32;
        stream.query_hash = segment.hash.get();
        stream.query_owed = segment.owed.get() as u32;
    });
}

/// Reads the query in the working memory, and records it.
#[inline(never)]
fn ask<W: World, P: Packet>(run: &Run<'_, W, P>, who: &Client) -> u64 {
    let (world, scratch) = (run.world, run.scratch);
    if !dns::is_query(scratch) {
        return MALFORMED;
    }
    let Some(question) = dns::read_question(scratch, world) else {
        return MALFORMED;
    };
    let Some(settings) = run.settings() else {
        return UNKNOWN;
    };
    let listed = dns::match_name(scratch, world, settings) & who.rules != 0;
    let over_https = dns::is_over_https(scratch);
    if !listed && resolver::unlisted_choice(settings, over_https) != UNLISTED_FORWARD {
        return if over_https { OVER_HTTPS } else { UNLISTED };
    }
    let admitted = limit::admits::<LIMIT_QUERIES, W, P>(run, who);
    if admitted || who.mode == MODE_AUDIT {
        // SAFETY: the scratch memory is this run's alone.
        let port = unsafe { (*scratch.stream_key()).client_port };
        resolver::remember(run, port, TCP_TRANSPORT, question.hash);
    }
    if admitted { PASSED } else { LIMITED }
}

/// Notes that a client opens a connection, unless it repeats itself. Whether that passes.
#[inline(always)]
fn open<W: World, P: Packet>(run: &Run<'_, W, P>, key: &FlowKey<V6>, who: &Client) -> u64 {
    let (world, scratch, now) = (run.world, run.scratch, run.now());
    let next = sequence(&scratch.segment.sequence).wrapping_add(1);
    let repeated = world.stream(key, |stream| {
        stream.query_next == next && now.saturating_sub(stream.last_seen) <= IDLE
    });
    if repeated == Some(true) {
        return PASSED;
    }
    let audited = who.mode == MODE_AUDIT;
    let admitted = limit::admits::<LIMIT_STREAMS, W, P>(run, who);
    if !admitted && !audited {
        return LIMITED;
    }
    // SAFETY: the scratch memory is this run's alone.
    unsafe {
        let stream = scratch.facts.stream.get();
        stream.write(Stream {
            opened: now,
            last_seen: now,
            query_next: next,
            flags: if audited { stream_flags::AUDITED } else { 0 },
            ..Stream::default()
        });
        world.open_stream(key, &*stream);
    }
    if admitted { PASSED } else { LIMITED }
}
