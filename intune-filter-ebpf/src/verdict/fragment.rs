//! Fragments: the verdict over the first one holds for the rest.
//!
//! A fragment that comes before the first of its datagram is denied: a program can neither keep it
//! nor know its ports. A denied datagram takes no entry, since without an entry its other fragments
//! are denied too. Fragmented datagrams that pass count against a limit of their client, even those
//! of a known flow, so that no client fills the table: an entry stays until its time is over.
//!
//! A receiver puts together what has one source, destination and id, whoever has sent it. Fragments of
//! another sender than the first one's are therefore denied, and change nothing for the others: else
//! whoever uses a neighbour's address could end its datagrams. From clients a sender is a hardware address:
//! a datagram on whose way a router fails over is lost. To clients it is the device of a zone, or whatever
//! is no zone's: of two ways to the internet, the fragments of a datagram may take either.

use super::{Action, Run, Verdict, limit};
use crate::{
    abi::{Address as _, DeviceZone, FragmentKey, FragmentVerdict, Matched, Reason, V4},
    datapath::{Datapath, Member},
    maps::{
        KeyedMap as _,
        keyed::{DEVICE_ZONES, FRAGMENTS},
    },
    packet::{Datagram, Fragment, Packet},
    scratch::Family,
};

/// Nanoseconds that later fragments have to arrive, as in Linux for IPv4 (`ipfrag_time`).
const PATIENCE: u64 = 30_000_000_000;

/// Writes the key of a fragmented datagram into the working memory and returns it.
#[inline(always)]
fn key<'s, A: Family, W: Datapath, P: Packet>(
    run: &Run<'s, W, P>,
    datagram: &Datagram<A>,
) -> &'s FragmentKey {
    // The last extension header differs between the fragments of an IPv6 datagram.
    let protocol = if A::BITS == V4::BITS { u16::from(datagram.protocol) } else { 0 };
    let key = run.scratch.ctx.fragment_key.get();
    // SAFETY: the scratch memory is this run's alone.
    unsafe {
        key.write(FragmentKey {
            zone: run.zone(),
            protocol,
            id: datagram.id,
            source: *run.source(),
            destination: *run.destination(),
        });
        &*key
    }
}

#[inline(always)]
fn keep<W: Datapath, P: Packet>(run: &Run<'_, W, P>, key: &FragmentKey, verdict: FragmentVerdict) {
    let kept = run.scratch.ctx.fragment.get();
    // SAFETY: the scratch memory is this run's alone.
    unsafe {
        kept.write(verdict);
        FRAGMENTS::put(run.datapath, key, &*kept);
    }
}

/// Returns the record of the datagram, unless its first fragment passed too long ago.
#[inline(always)]
fn known<W: Datapath, P: Packet>(
    run: &Run<'_, W, P>,
    key: &FragmentKey,
) -> Option<FragmentVerdict> {
    let verdict = FRAGMENTS::get(run.datapath, key)?;
    (run.now().saturating_sub(verdict.seen) <= PATIENCE).then_some(verdict)
}

/// Returns the verdict over a later fragment, by that over the first; `None` if no first was seen.
#[inline(always)]
pub(super) fn later<A: Family, W: Datapath, P: Packet>(
    run: &Run<'_, W, P>,
    datagram: &Datagram<A>,
) -> Option<Verdict> {
    let key = key(run, datagram);
    let first = known(run, key)?;
    if first.allowed == 0 || is_anothers(run, &first) {
        return Some(Verdict { group: first.group, ..Verdict::deny(Reason::Fragment) });
    }
    if datagram.fragment_offset < first.headers {
        // The fragment would overwrite judged headers: nothing more of the datagram may arrive.
        keep(run, key, FragmentVerdict { allowed: 0, ..first });
        return Some(Verdict { group: first.group, ..Verdict::deny(Reason::Fragment) });
    }
    Some(Verdict {
        rule: first.rule,
        group: first.group,
        audited: first.audited,
        matched: Matched::Flow,
        ..Verdict::pass_builtin(Reason::FragmentAllowed)
    })
}

/// Whether another first fragment of the datagram was seen; if so, the datagram is denied as a
/// whole.
#[inline(always)]
pub(super) fn is_duplicate_first<A: Family, W: Datapath, P: Packet>(
    run: &Run<'_, W, P>,
    datagram: &Datagram<A>,
) -> bool {
    if datagram.fragment != Fragment::First {
        return false;
    }
    let key = key(run, datagram);
    let Some(first) = known(run, key) else {
        return false;
    };
    if !is_anothers(run, &first) {
        keep(run, key, FragmentVerdict { allowed: 0, ..first });
    }
    true
}

/// Whether a fragment comes from another sender than the first of its datagram.
#[inline(always)]
fn is_anothers<W: Datapath, P: Packet>(run: &Run<'_, W, P>, first: &FragmentVerdict) -> bool {
    first.sender != sender(run)
}

/// Returns the sender of the packet, as [`FragmentVerdict::sender`] has it.
#[inline(always)]
fn sender<W: Datapath, P: Packet>(run: &Run<'_, W, P>) -> u64 {
    // To a client, the hardware address is the receiver's.
    let side = run.scratch.ctx.side.get();
    if side == 0 { run.scratch.ctx.client_mac.get() } else { side }
}

/// Notes which side a fragment to a client comes from.
#[inline(always)]
pub(super) fn note_side<W: Datapath, P: Packet>(run: &Run<'_, W, P>) {
    let device = run.scratch.ctx.came_by.get() as u32;
    let is_zones = DEVICE_ZONES::get(run.datapath, &DeviceZone { device, nth: 0 }).is_some();
    let device = if is_zones { u64::from(device) } else { 0 };
    run.scratch.ctx.side.set(FragmentVerdict::TO_CLIENT | device);
}

/// Whether the datagram comes from another zone, where its sender has paid for it.
#[inline(always)]
fn is_paid_for<A: Family, W: Datapath, P: Packet>(
    run: &Run<'_, W, P>,
    datagram: &Datagram<A>,
) -> bool {
    let sent = run.scratch.ctx.sent.get() as u16;
    if sent == 0 {
        return false;
    }
    key(run, datagram);
    let key = run.scratch.ctx.fragment_key.get();
    // SAFETY: the scratch memory is this run's alone.
    unsafe {
        (*key).zone = sent;
        known(run, &*key).is_some_and(|first| first.allowed != 0)
    }
}

/// Records that a first fragment passes, for those to come, if the client may begin one more
/// fragmented datagram; otherwise denies the first fragment too. Returns the resulting verdict.
///
/// Over the limit, first fragments of exempt and audited groups still pass; the gateway itself has
/// no limit.
#[inline(always)]
pub(super) fn remember<const KIND: usize, A: Family, W: Datapath, P: Packet>(
    run: &Run<'_, W, P>,
    datagram: &Datagram<A>,
    verdict: Verdict,
    client: impl FnOnce() -> Option<Member>,
) -> Verdict {
    // Denied fragments take no entry, and later fragments of the gateway pass without one.
    if datagram.fragment != Fragment::First
        || verdict.action != Action::Pass
        || verdict.reason == Reason::GatewaySent
    {
        return verdict;
    }
    let client = client().unwrap_or_default();
    if !is_paid_for(run, datagram) && !limit::admits::<KIND, W, P>(run, &client) {
        if verdict.audited != 0 || verdict.reason == Reason::Exempt {
            return verdict;
        }
        run.scratch.ctx.rules.clear();
        return Verdict { group: verdict.group, ..Verdict::deny(limit::refusal(run)) };
    }
    keep(
        run,
        key(run, datagram),
        FragmentVerdict {
            seen: run.now(),
            headers: datagram.fragment_headers,
            allowed: 1,
            rule: verdict.rule,
            group: verdict.group,
            audited: verdict.audited,
            sender: sender(run),
        },
    );
    verdict
}
