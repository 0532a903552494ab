//! Known flows that come from another hardware address than they began with.
//!
//! Such a packet is judged as the first of a flow would be, by its sender, and by its rule like a flow of
//! an older policy. If that allows it, the flow goes on with that address: a router has failed over, or a
//! client has changed its access point. A sender that is proven pays nothing for that, so that nobody
//! makes it pay by sending in its name.

use super::{
    Run, Verdict,
    flow::{Known, flow_verdict, renew, revoke},
    limit, opening,
    revocation::{REVOKED, allowing_group},
    stage::Stage,
};
use crate::{
    abi::{Reason, flow_flags},
    datapath::{DatapathOf, Member},
    packet::{Datagram, Direction, Packet},
    scratch::Family,
};

/// Judges a packet of the flow in the working memory, which another hardware address than its sender's
/// began: the flow goes on with this one if its rule and the sender let it. Returns a verdict, or the
/// stage that finds it. Follows [`super::flow::pass`].
#[inline(always)]
pub(super) fn go_on<A: Family, W: DatapathOf<A>, P: Packet>(
    run: &Run<'_, W, P>,
    datagram: &Datagram<A>,
) -> Result<Verdict, Stage> {
    let (rule, flags, _, origin) = opening::terms(run.scratch);
    // SAFETY: the scratch memory is this run's alone, and `pass` has written the key there.
    let key = unsafe { &*A::key(run.scratch) };
    let group = allowing_group(run, key, rule, flags, origin);
    if group == REVOKED {
        revoke(run, key);
        return Err(Stage::POLICY);
    }
    let group = group as u16;
    let audited = (flags & flow_flags::AUDITED) as u8;
    let verdict = flow_verdict(&Known { rule, group, audited });
    if !limit::admits_move(run) {
        let reason = limit::refusal(run);
        // What passes without a rule passes over its limit too.
        let ruled = flags & (flow_flags::UNRULED | flow_flags::AUDITED) == 0;
        if !ruled && reason == Reason::FlowLimit {
            return Ok(verdict);
        }
        let client = Member::from_word(run.scratch.ctx.member.get()).unwrap_or_default();
        return Ok(Verdict { rule, ..Verdict::over_limit(reason, &client) });
    }
    renew(run, key, group, datagram, Direction::FromClient);
    Ok(verdict)
}
