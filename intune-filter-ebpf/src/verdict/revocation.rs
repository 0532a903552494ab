//! Revocation: whether the policy in force allows flows that an older one has opened.

use super::{NO_GROUP, Run, membership::member, rules::ANY_PORT};
use crate::{
    abi::{
        Address as _, FlowKey, MODE_AUDIT, MODE_ENFORCE, MODE_EXEMPT, V6, client_flags, flow_flags,
        has_ports, inbound_zone, port_index,
    },
    datapath::{DatapathOf, Member},
    packet::Packet,
    scratch::{Family, Scratch},
};

/// Value in place of a group's number if the flow is no longer allowed.
pub(super) const REVOKED: u32 = u32::MAX;

/// Returns the group of a flow's client in the policy in force, if that policy allows a flow that
/// an older one has opened; otherwise [`REVOKED`]. The client is in the working memory then.
#[inline(always)]
pub(super) fn allowing_group<A: Family, W: DatapathOf<A>, P: Packet>(
    run: &Run<'_, W, P>,
    key: &FlowKey<A>,
    rule: u8,
    flags: u16,
    origin: u16,
) -> u32 {
    let (datapath, scratch) = (run.datapath, run.scratch);
    if origin == 0 {
        let found = member(run, &key.client);
        return group_by_rule(scratch, datapath, key, rule, flags, found);
    }
    // SAFETY: the scratch memory is this run's alone.
    unsafe { A::sender_key(scratch).write(key.of_remote(origin)) };
    if !datapath.is_sent(scratch, A::BITS == V6::BITS) {
        return REVOKED;
    }
    // What another zone may send arrives whether its receiver is in a group or not.
    let found = member(run, &key.client);
    let client = found.unwrap_or(Member { group: u32::from(NO_GROUP), ..Member::default() });
    scratch.ctx.member.set(client.word());
    client.group
}

/// As [`allowing_group`], of a flow that was not opened from another zone, by its client, whose rules are in
/// the working memory.
#[inline(always)]
pub(super) fn group_by_rule<A: Family, W: DatapathOf<A>>(
    scratch: &Scratch,
    datapath: W,
    key: &FlowKey<A>,
    rule: u8,
    flags: u16,
    client: Option<Member>,
) -> u32 {
    match client {
        Some(client) if is_still_allowed(scratch, datapath, key, rule, flags, &client) => {
            scratch.ctx.member.set(client.word());
            client.group
        }
        _ => REVOKED,
    }
}

/// Whether the client may keep a flow that an older policy has opened. The flow's rule is checked,
/// not its destination, so that the flow outlives the DNS answer for its address.
#[inline(always)]
fn is_still_allowed<A: Family, W: DatapathOf<A>>(
    scratch: &Scratch,
    datapath: W,
    key: &FlowKey<A>,
    rule: u8,
    flags: u16,
    client: &Member,
) -> bool {
    let (now, set) = (scratch.ctx.now.get(), scratch.ctx.generation.get() as u32 & 1);
    if flags & flow_flags::WARM_UP == flow_flags::WARM_UP {
        return client.mode == MODE_ENFORCE
            && datapath.settings(set).is_some_and(|settings| now < settings.warm_up_until);
    }
    if flags & flow_flags::UNRULED != 0 {
        return client.mode == MODE_EXEMPT;
    }
    if flags & flow_flags::AUDITED != 0 {
        return client.mode == MODE_AUDIT;
    }
    if flags & flow_flags::INBOUND != 0 {
        if client.flags & client_flags::INBOUND != 0 {
            return true;
        }
        let (zone, port) = (inbound_zone(key.zone), u16::from_be(key.client_port));
        return client.flags & client_flags::INBOUND_RULES != 0
            && has_ports(key.protocol)
            && datapath.client(scratch, set, zone, &key.client).is_some()
            && datapath.allows_rule(scratch, rule, u64::from(port_index(key.protocol, port)));
    }
    let (protocol, port) = (key.protocol, u16::from_be(key.remote_port));
    let port = if has_ports(protocol) { u64::from(port_index(protocol, port)) } else { ANY_PORT };
    datapath.allows_rule(scratch, rule, port)
        && (has_ports(protocol)
            || datapath.settings(set).is_some_and(|settings| settings.icmp_echo != 0))
}
