//! Choice of the reply to a denied packet, and its description in the working memory.

use super::Run;
use crate::{
    abi::{Address as _, V6},
    bytes::be32,
    datapath::Datapath,
    packet::{Datagram, Fragment, Packet, TCP, TCP_ACK, TCP_FIN, TCP_PSH, TCP_RST, TCP_SYN},
    reply::{Kind, TCP_HEADER, TIMED_HEADER, TIMESTAMPS},
    scratch::{Family, Scratch},
};

/// Describes the refusal of the query in the working memory, whose question ends before `end`, in
/// the form that `unlisted` says: see [`crate::abi::Settings::dns_unlisted`].
#[inline(always)]
pub(super) fn describe_refusal<A: Family>(
    scratch: &Scratch,
    query: &Datagram<A>,
    end: u64,
    unlisted: u32,
) {
    let reply = &scratch.reply;
    reply.kind.set(Kind::REFUSAL.word());
    reply.v6.set(u64::from(A::BITS == V6::BITS));
    reply.transport_offset.set(u64::from(query.transport_offset));
    reply.question_end.set(end);
    reply.unlisted.set(u64::from(unlisted));
}

/// Describes the refusal of the query over TCP in the working memory, as [`describe_refusal`] does,
/// which ends the connection; false for a segment whose options it cannot answer in kind.
///
/// What the resolver sends afterwards has no place in the client's connection any more.
#[inline(always)]
pub(super) fn describe_last<A: Family, W: Datapath, P: Packet>(
    run: &Run<'_, W, P>,
    query: &Datagram<A>,
    unlisted: u32,
) -> bool {
    let Some(header) = run.packet.at::<TCP_HEADER>(query.transport_offset) else {
        return false;
    };
    let length = usize::from(header[12] >> 4) * 4;
    if length == TIMED_HEADER {
        let options = query.transport_offset + TCP_HEADER as u32;
        if run.packet.at::<4>(options).is_none_or(|options| *options != TIMESTAMPS) {
            return false;
        }
    } else if length != TCP_HEADER {
        return false;
    }
    let (reply, segment) = (&run.scratch.reply, &run.scratch.segment);
    reply.kind.set(Kind::STREAM_REFUSAL.word());
    reply.v6.set(u64::from(A::BITS == V6::BITS));
    reply.transport_offset.set(u64::from(query.transport_offset));
    reply.header_length.set(length as u64);
    reply.sequence.set(segment.acknowledgment.get());
    reply.acknowledgment.set(segment.sequence.get() + segment.length.get());
    reply.flags.set(u64::from(TCP_ACK | TCP_FIN | TCP_PSH));
    reply.unlisted.set(u64::from(unlisted));
    true
}

/// Describes the reply to a denied datagram (`on_deny: reject`); false for a datagram without one.
///
/// No reply goes to an RST, to an ICMP message other than an echo request, to a fragment, to a
/// datagram that was not sent from one host to one host (RFC 1122 section 3.2.2), or to headers
/// with options or extensions, which a reply could not quote in full.
#[inline(always)]
pub(super) fn describe<A: Family, W: Datapath, P: Packet>(
    run: &Run<'_, W, P>,
    datagram: &Datagram<A>,
) -> bool {
    let transport = &datagram.transport;
    let plain = datagram.transport_offset == run.network_offset() + A::HEADER;
    // Without an Ethernet header the first octet is the IP header's.
    let one = |first: &[u8; 1]| !P::HAS_ETHERNET || first[0] & 1 == 0;
    let unicast = !datagram.destination.is_multicast()
        && !datagram.source.is_unspecified()
        && run.packet.at::<1>(0).is_some_and(one);
    if datagram.fragment != Fragment::Whole || !plain || !unicast {
        return false;
    }
    let reply = &run.scratch.reply;
    reply.v6.set(u64::from(A::BITS == V6::BITS));
    reply.transport_offset.set(u64::from(datagram.transport_offset));
    if datagram.protocol == TCP {
        return reset(run, run.scratch, datagram);
    }
    let answerable = datagram.protocol != A::ICMP || transport.flags == A::ECHO_REQUEST;
    // The octets that the error quotes have to be there.
    if !answerable || datagram.transport_length < 8 {
        return false;
    }
    reply.kind.set(Kind::PROHIBITED.word());
    true
}

/// Describes a TCP reset (RFC 9293 section 3.10.7.1).
#[inline(always)]
fn reset<A: Family, W: Datapath, P: Packet>(
    run: &Run<'_, W, P>,
    scratch: &Scratch,
    datagram: &Datagram<A>,
) -> bool {
    let flags = datagram.transport.flags;
    let Some(header) = run.packet.at::<20>(datagram.transport_offset) else {
        return false;
    };
    if flags & TCP_RST != 0 {
        return false;
    }
    let reply = &scratch.reply;
    reply.kind.set(Kind::RESET.word());
    if flags & TCP_ACK != 0 {
        reply.sequence.set(u64::from(be32::<8, 20>(header)));
        reply.acknowledgment.set(0);
        reply.flags.set(u64::from(TCP_RST));
        return true;
    }
    let own = u32::from(header[12] >> 4) * 4;
    let controls = u32::from(flags & TCP_SYN != 0) + u32::from(flags & TCP_FIN != 0);
    let length = datagram.transport_length.wrapping_sub(own).wrapping_add(controls);
    reply.sequence.set(0);
    reply.acknowledgment.set(u64::from(be32::<4, 20>(header).wrapping_add(length)));
    reply.flags.set(u64::from(TCP_RST | TCP_ACK));
    true
}
