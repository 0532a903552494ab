//! DNS to and from trusted resolvers: queries are recorded, answers are learned from.

use super::{Action, Run, Verdict, limit, reply, sender};
use crate::{
    abi::{
        AnswerEvent, EventKind, LIMIT_QUERIES, MODE_EXEMPT, Matched, Occurrence, Pending,
        PendingKey, Reason, SERVER_RESOLVER, Settings, Standing, UNLISTED_FORWARD,
        UNLISTED_NXDOMAIN, UNLISTED_REFUSE, V6, answer_flags, host_owner,
    },
    bytes::be16,
    datapath::{Datapath, DualStack, Member},
    dns,
    maps::{KeyedMap as _, keyed::DNS_PENDING},
    packet::{Datagram, Fragment, Packet, TCP, UDP},
    result_word::result_word,
    scratch::{Family, Scratch},
};

/// Port 53, network byte order.
pub(super) const DNS_PORT: u16 = 53_u16.to_be();
/// Octets of a UDP header.
const UDP_HEADER: u32 = 8;
/// Octets of the smallest message: a header.
pub(super) const MESSAGE_MIN: u64 = dns::HEADER_LENGTH;
/// [`PendingKey::protocol`] of a query over UDP.
const UDP_TRANSPORT: u16 = UDP as u16;
/// [`PendingKey::protocol`] of a query over TCP.
pub(super) const TCP_TRANSPORT: u16 = TCP as u16;

result_word! {
    /// Class of a message from a trusted resolver.
    pub(in crate::verdict) Response {
        /// Message that answers no recorded query.
        NOT_OURS = 0,
        /// Message that answers a recorded query.
        ACCEPTED = 1,
        /// Answer that could not be learned from at this moment, and has to come again.
        DEFERRED = 2,
        /// Answer to a query that another message has answered.
        REPEATED = 3,
    }
}
/// Whether an address is a trusted resolver's.
#[inline(always)]
pub(super) fn is_resolver<W: Datapath>(datapath: W, set: u32, address: &V6) -> bool {
    datapath.server(set, address) & SERVER_RESOLVER != 0
}

/// Whether a packet claims to come from port 53 of a trusted resolver.
#[inline(always)]
pub(super) fn is_from_resolver<A: Family, W: Datapath, P: Packet>(
    run: &Run<'_, W, P>,
    datagram: &Datagram<A>,
) -> bool {
    datagram.fragment != Fragment::Later
        && datagram.transport.source_port == DNS_PORT
        && (datagram.protocol == UDP || datagram.protocol == TCP)
        && is_resolver(run.datapath, run.set(), run.source())
}

/// Copies the message of a UDP datagram into the working memory; false if there is none that fits.
#[inline(always)]
fn load<A: Family, W: Datapath, P: Packet>(run: &Run<'_, W, P>, datagram: &Datagram<A>) -> bool {
    if datagram.protocol != UDP {
        return false;
    }
    // Octets behind the UDP length are not part of the message (RFC 9868 section 4).
    let Some(header) = run.packet.at::<8>(datagram.transport_offset) else {
        return false;
    };
    let length = u32::from(be16::<4, 8>(header));
    if length < UDP_HEADER + MESSAGE_MIN as u32 {
        return false;
    }
    let length = length - UDP_HEADER;
    run.packet.copy(datagram.transport_offset + UDP_HEADER, length, &run.scratch.message)
        && loaded(run, length)
}

/// Prepares the parser for the message of `length` octets in the working memory. Always true.
#[inline(always)]
pub(super) fn loaded<W: Datapath, P: Packet>(run: &Run<'_, W, P>, length: u32) -> bool {
    let scratch = run.scratch;
    scratch.parser.length.set(u64::from(length));
    scratch.parser.set.set(u64::from(run.set()));
    scratch.parser.seed.set(run.datapath.active().map_or(0, |active| active.seed));
    true
}

/// Writes the key of a pending query into the working memory and returns it.
#[inline(always)]
fn pending_key(
    scratch: &Scratch,
    zone: u16,
    port: u16,
    protocol: u16,
    client: V6,
    resolver: V6,
) -> &PendingKey {
    let id = (scratch.message.be16(0) as u16).to_be();
    // SAFETY: the scratch memory is this run's alone.
    unsafe {
        let key = scratch.ctx.pending_key.get();
        key.write(PendingKey { zone, port, id, protocol, client, resolver });
        &*key
    }
}

/// Writes a pending query into the working memory and returns it.
#[inline(always)]
#[expect(clippy::mut_from_ref, reason = "a place of the working memory")]
fn place(scratch: &Scratch, pending: Pending) -> &mut Pending {
    // SAFETY: the scratch memory is this run's alone, and each run has one reference to the place.
    unsafe {
        scratch.ctx.pending.get().write(pending);
        &mut *scratch.ctx.pending.get()
    }
}

/// Records the question, and the time, of the query whose key is in the working memory.
#[inline(always)]
pub fn note_query<W: Datapath>(scratch: &Scratch, datapath: W, question: u64) {
    // SAFETY: the scratch memory is this run's alone.
    let key = unsafe { &*scratch.ctx.pending_key.get() };
    let pending = place(scratch, DNS_PENDING::get(datapath, key).unwrap_or_default());
    let proven = !sender::is_unproven(scratch.ctx.sender.get() as u32);
    pending.ask(question, scratch.ctx.now.get(), proven);
    DNS_PENDING::put(datapath, key, pending);
}

/// Notes the answer in the working memory to a question of the pending query there.
#[inline(always)]
pub fn note_answer<W: Datapath>(scratch: &Scratch, datapath: W, question: u64) -> Standing {
    // SAFETY: the scratch memory is this run's alone.
    let (key, pending) =
        unsafe { (&*scratch.ctx.pending_key.get(), &mut *scratch.ctx.pending.get()) };
    if !pending.bring_forward(question) {
        return Standing::UNASKED;
    }
    let standing = pending.answer(dns::digest(scratch, datapath));
    if standing != Standing::REPEATS {
        DNS_PENDING::put(datapath, key, pending);
    }
    standing
}

/// Judges a query to a trusted resolver. For a link-local source, which is in no group, `who` has
/// every rule of its zone's groups.
#[inline(always)]
pub(super) fn query<A: Family, W: Datapath, P: Packet>(
    run: &Run<'_, W, P>,
    settings: &Settings,
    datagram: &Datagram<A>,
    who: &Member,
) -> Verdict {
    let (datapath, scratch) = (run.datapath, run.scratch);
    let deny = |reason| Verdict::deny_client(reason, who);
    // What is read of a first fragment is not all that arrives.
    let whole = datagram.fragment == Fragment::Whole;
    let malformed = !whole || !load(run, datagram) || !dns::is_query(scratch);
    if malformed {
        return if who.mode == MODE_EXEMPT {
            Verdict::pass_builtin(Reason::Exempt).of(who)
        } else {
            deny(Reason::DnsMalformed)
        };
    }
    let Some(question) = dns::read_question(scratch, datapath) else {
        return deny(Reason::DnsMalformed);
    };
    scratch.ctx.question_at.set(dns::HEADER_LENGTH);
    scratch.ctx.question.set(question.hash);
    dns::match_name(scratch, datapath, settings);
    let exempt = who.mode == MODE_EXEMPT;
    let mut verdict =
        Verdict { matched: Matched::Builtin, ..Verdict::pass_builtin(Reason::DnsQuery).of(who) };
    if !dns::may_ask(scratch) && !exempt {
        let over_https = dns::is_over_https(scratch);
        let unlisted = deny(unlisted_reason(over_https));
        let choice = unlisted_choice(settings, over_https);
        let answered = choice == UNLISTED_REFUSE || choice == UNLISTED_NXDOMAIN;
        if answered && unlisted.action == Action::Drop {
            reply::describe_refusal(scratch, datagram, question.end, choice);
            return Verdict { action: Action::Refuse, ..unlisted };
        }
        if choice != UNLISTED_FORWARD && unlisted.action == Action::Drop {
            // In silence, whatever the group's `on_deny` says.
            return Verdict { reject: 0, ..unlisted };
        }
        if choice != UNLISTED_FORWARD {
            verdict = unlisted;
        }
    }
    if !limit::admits::<LIMIT_QUERIES, W, P>(run, who) {
        let reason = limit::refusal(run);
        // What passes without a rule passes over its limit too, and is not remembered.
        if reason == Reason::DnsLimit && (exempt || verdict.audited != 0) {
            return verdict;
        }
        return Verdict::over_limit(reason, who);
    }
    remember(run, datagram.transport.source_port, UDP_TRANSPORT, question.hash);
    verdict
}

/// Returns the reason to deny a query for a name of no rule.
#[inline(always)]
pub(super) const fn unlisted_reason(over_https: bool) -> Reason {
    if over_https { Reason::DnsOverHttps } else { Reason::DnsUnlisted }
}

/// Returns the treatment of a query for a name of no rule. A query for a server of DNS over HTTPS
/// is never forwarded: the connection would be denied, and a client that is refused the name turns
/// to the resolver all the sooner.
#[inline(always)]
pub(super) const fn unlisted_choice(settings: &Settings, over_https: bool) -> u32 {
    let choice = settings.dns_unlisted;
    if over_https && choice == UNLISTED_FORWARD { UNLISTED_REFUSE } else { choice }
}

/// Records the client's query in the working memory, sent from `port` in network byte order.
#[inline(always)]
pub(super) fn remember<W: Datapath, P: Packet>(
    run: &Run<'_, W, P>,
    port: u16,
    protocol: u16,
    question: u64,
) {
    let (client, resolver) = (*run.source(), *run.destination());
    pending_key(run.scratch, run.zone(), port, protocol, client, resolver);
    run.datapath.note_query(run.scratch, question);
}

/// Learns from a datagram that a trusted resolver sent from port 53. Returns [`Response::NOT_OURS`]
/// if the datagram answers no recorded query, and [`Response::DEFERRED`] if it must not pass yet.
#[inline(always)]
pub(super) fn answer<A: Family, W: DualStack, P: Packet>(
    run: &Run<'_, W, P>,
    datagram: &Datagram<A>,
) -> Response {
    if !load(run, datagram) {
        return Response::NOT_OURS;
    }
    process_response(run, datagram.transport.destination_port, UDP_TRANSPORT)
}

/// Learns from the message in the working memory, which a trusted resolver sent to a client's
/// `port`, in network byte order.
///
/// Returns [`Response::ACCEPTED`] if the message answers a recorded query, [`Response::REPEATED`]
/// if another message has answered that query, [`Response::DEFERRED`] if the answer has to come
/// again, and otherwise [`Response::NOT_OURS`]. A function of its own in the kernel to save stack.
#[inline(never)]
pub(super) fn process_response<W: DualStack, P: Packet>(
    run: &Run<'_, W, P>,
    port: u16,
    protocol: u16,
) -> Response {
    let (datapath, scratch, now) = (run.datapath, run.scratch, run.now());
    let (client, resolver) = (*run.destination(), *run.source());
    let key = pending_key(scratch, run.zone(), port, protocol, client, resolver);
    let Some(pending) = DNS_PENDING::get(datapath, key) else {
        return Response::NOT_OURS;
    };
    if place(scratch, pending).is_late(now) {
        return Response::NOT_OURS;
    }
    if dns::is_bare_error(scratch) {
        return Response::ACCEPTED;
    }
    // A message that is no response must not end the wait for one.
    if !dns::is_response(scratch) {
        return Response::NOT_OURS;
    }
    let Some(question) = dns::read_question(scratch, datapath) else {
        return Response::NOT_OURS;
    };
    let standing = datapath.note_answer(scratch, question.hash);
    if standing == Standing::UNASKED {
        return Response::NOT_OURS;
    }
    if standing == Standing::REPEATS {
        return Response::REPEATED;
    }
    let Some(settings) = run.settings() else {
        return Response::ACCEPTED;
    };
    dns::match_name(scratch, datapath, settings);
    if !dns::may_teach(scratch) {
        datapath.tell_untaught(scratch);
        return if standing == Standing::COUNTS { Response::ACCEPTED } else { Response::REPEATED };
    }
    if standing == Standing::DISPUTES {
        datapath.count_occurrence(Occurrence::AnswerConflict, scratch.parser.length.get() as u32);
        report(run, answer_flags::CONFLICT);
        return Response::REPEATED;
    }
    if dns::is_answer(scratch, &question) && !teach(run, settings, question.end) {
        // The query waits on: over TCP, userspace answers it.
        // SAFETY: the scratch memory is this run's alone.
        let pending = unsafe { &mut *scratch.ctx.pending.get() };
        pending.unanswer();
        DNS_PENDING::put(datapath, key, pending);
        return Response::DEFERRED;
    }
    Response::ACCEPTED
}

/// Learns the addresses of the answer in the working memory, counts the answer, and reports it.
/// False if an element could not be written to at this moment: then nothing is reported, and
/// userspace sees by the versions of the addresses that it was not told of everything.
#[inline(always)]
fn teach<W: DualStack, P: Packet>(run: &Run<'_, W, P>, settings: &Settings, answers: u64) -> bool {
    let (datapath, scratch, now) = (run.datapath, run.scratch, run.now());
    let length = scratch.parser.length.get() as u32;
    scratch.parser.now.set(now);
    let rule = scratch.matcher.rules.as_mask().lowest();
    let owner = host_owner(scratch.parser.seed.get(), run.zone(), *run.destination(), rule);
    scratch.parser.host_owner.set(owner);
    if !datapath.read_answer(scratch, answers) {
        datapath.count_occurrence(Occurrence::AnswerMalformed, length);
        return true;
    }
    if dns::is_cut(scratch) {
        datapath.count_occurrence(Occurrence::AnswerCut, length);
    }
    let lesson = dns::learn(scratch, datapath, settings, dns::affordable(scratch));
    if lesson.busy > 0 {
        return false;
    }
    if lesson.refused > 0 {
        datapath.count_occurrence(Occurrence::AnswerRefused, length);
    }
    if lesson.full > 0 {
        datapath.count_occurrence(Occurrence::HostsFull, length);
    }
    if lesson.over_share > 0 {
        datapath.count_occurrence(Occurrence::HostsShare, length);
    }
    let full = lesson.full | lesson.over_share;
    if lesson.learned > 0 {
        datapath.count_occurrence(Occurrence::Learned, length);
    } else {
        datapath.count_occurrence(Occurrence::NothingLearned, length);
        if full == 0 && lesson.left == 0 {
            datapath.tell_untaught(scratch);
            return true;
        }
    }
    if lesson.left > 0 {
        datapath.count_occurrence(Occurrence::AnswerDeferred, length);
    }
    let learned = if lesson.learned > 0 { answer_flags::LEARNED } else { 0 };
    let full = if full > 0 { answer_flags::FULL } else { 0 };
    let deferred = if lesson.left > 0 { answer_flags::DEFERRED } else { 0 };
    report(run, learned | full | deferred);
    true
}

/// Reports the answer in the working memory to userspace.
#[inline(always)]
fn report<W: Datapath, P: Packet>(run: &Run<'_, W, P>, flags: u32) {
    let scratch = run.scratch;
    let event = AnswerEvent {
        kind: EventKind::Answer as u32,
        length: scratch.parser.length.get() as u32,
        time: run.now(),
        rules: scratch.matcher.rules.get(),
        client: *run.destination(),
        flags,
        zone: run.zone(),
        reserved: 0,
    };
    // SAFETY: the scratch memory is this run's alone while it is claimed.
    unsafe { scratch.answer_event().write(event) };
    run.datapath.report_answer(scratch);
}
