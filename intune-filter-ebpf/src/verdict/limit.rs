//! Rate limits of clients: remembered queries, connections to resolvers, flows, and datagrams in
//! fragments.
//!
//! A table that makes room for itself belongs to the client that fills it fastest: one that floods
//! would evict others' pending queries and new flows. Only packets that take an entry are counted
//! here, never packets of a known flow.
//!
//! The limit is a token bucket, kept as the time at which the next token is due (GCRA, ITU-T
//! I.371): one word, which one compare-and-exchange replaces.
//!
//! A client is an address in its zone. An IPv6 host can use any number of addresses, but all in its
//! network, so that the network has a limit too: a host that changes its address with every packet
//! takes from its neighbours in the same /64 at most, and only as long as it goes on. Link-local
//! addresses cost nothing at all: those of a zone share one bucket, with clients for which no
//! bucket is free.

use super::Run;
use crate::{
    abi::{
        LIMIT_ADDRESS, LIMIT_FLOWS, LIMIT_INBOUND, LIMIT_INBOUND_FRAGMENTS, LIMIT_QUERIES,
        LIMIT_STREAMS, LIMIT_SUBNET, LIMIT_SUBNET_CLIENTS, LIMIT_ZONE, Limit, LimitKey, Settings,
        Taking, V6, limit::SLACK,
    },
    datapath::{Datapath, Member, RateDecision},
    packet::Packet,
    scratch::Scratch,
};

/// Whether a client may begin one more of a kind, such as [`LIMIT_FLOWS`]. If so, a token is taken.
#[inline(always)]
pub(super) fn admits<const KIND: usize, W: Datapath, P: Packet>(
    run: &Run<'_, W, P>,
    client: &Member,
) -> bool {
    run.datapath.admits(run.scratch, KIND as u64, u64::from(client.devices))
}

/// Whether the client of the packet in the working memory may begin one more of a kind, such as
/// [`LIMIT_FLOWS`]; `devices` is the number of devices behind its address. If so, a token is taken.
#[inline(always)]
pub fn may_begin<W: Datapath>(scratch: &Scratch, datapath: W, kind: u64, devices: u64) -> bool {
    const _: () = assert!(LIMIT_QUERIES < LIMIT_FLOWS && LIMIT_STREAMS < LIMIT_FLOWS);
    let Some(settings) = datapath.settings(scratch.ctx.generation.get() as u32 & 1) else {
        return false;
    };
    let inbound = kind == LIMIT_INBOUND as u64 || kind == LIMIT_INBOUND_FRAGMENTS as u64;
    let headers = &scratch.headers;
    let client = if inbound { headers.destination.get() } else { headers.source.get() };
    // SAFETY: any bit pattern is an address, and the scratch memory is this run's alone.
    let client = unsafe { *client };
    let flows = kind >= LIMIT_FLOWS as u64;
    let (limit, zone) = if flows {
        (&settings.limit_flows, &settings.zone_flows)
    } else {
        (&settings.limit_queries, &settings.zone_queries)
    };
    let request = Request { scratch, datapath, settings, kind };
    let of_link = client.is_of_link();
    if !of_link && limit.interval == 0 {
        return true;
    }
    let mut decision = RateDecision::NO_BUCKET;
    if !of_link {
        let devices = devices.max(1);
        let V6([a, b, c, _]) = client;
        decision = request.conform(LIMIT_ADDRESS, client, limit, devices);
        if decision == RateDecision::CONFORMING && !(a | b == 0 && c == 0xffff_u32.to_be()) {
            let subnet = V6([a, b, 0, 0]);
            decision = request.conform(LIMIT_SUBNET, subnet, limit, devices * LIMIT_SUBNET_CLIENTS);
        }
    }
    if decision == RateDecision::NO_BUCKET {
        // The bucket that the zone's sources without a bucket of their own share.
        return zone.interval == 0
            || request.conform(LIMIT_ZONE, V6::default(), zone, 1) == RateDecision::CONFORMING;
    }
    decision == RateDecision::CONFORMING
}

/// Request for tokens of one kind.
struct Request<'w, W> {
    scratch: &'w Scratch,
    datapath: W,
    settings: &'w Settings,
    kind: u64,
}

impl<W: Datapath> Request<'_, W> {
    /// Takes a token from a bucket that is as large as those of `devices` devices together.
    #[inline(always)]
    fn conform(&self, bits: u32, address: V6, limit: &Limit, devices: u64) -> RateDecision {
        let (settings, ctx) = (self.settings, &self.scratch.ctx);
        let longest = settings.limit_flows.window.max(settings.limit_queries.window);
        // SAFETY: the scratch memory is this run's alone.
        let request = unsafe {
            let request = ctx.rate_request.get();
            request.write(Taking {
                key: LimitKey { zone: ctx.zone.get() as u32, bits, address },
                kind: self.kind,
                interval: (limit.interval / devices).max(1),
                window: limit.window,
                now: ctx.now.get(),
                horizon: longest + SLACK,
                sets: u64::from(settings.limit_sets),
            });
            &*request
        };
        self.datapath.conform(request)
    }
}
