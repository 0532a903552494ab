//! Decides what becomes of flows under a new policy.
//!
//! The programs judge a flow of an earlier policy at its next packet by its rule, group and port
//! alone, since its address may have expired meanwhile. Whether the rule still has the flow's
//! destination is decided here, by the names that ever led there, while the policy is put into force.

use std::{collections::HashMap, net::IpAddr};

use intune_filter_ebpf::abi::{
    Client, Flow, FlowKey, MODE_ENFORCE, NO_RULE, RuleMask, TransportProtocol, V6, client_flags,
    flow_flags, inbound_zone,
};

use crate::{kernel::FlowFate, names::Names, policy::Policy};

/// Flags of flows that no rule has opened.
const UNRULED: u16 = flow_flags::UNRULED | flow_flags::AUDITED;

/// Review of the flows under a policy that is put into force.
pub(super) struct FlowReview<'a> {
    policy: &'a Policy,
    names: &'a Names,
    /// Rules that have lost destinations.
    lost: RuleMask,
    clients: HashMap<(u16, IpAddr), Option<Client>>,
    destinations: HashMap<IpAddr, RuleMask>,
}

impl<'a> FlowReview<'a> {
    /// Returns a review by the names that have led to addresses. Rules other than `lost` have all
    /// destinations that they had.
    pub(super) fn new(policy: &'a Policy, names: &'a Names, lost: RuleMask) -> Self {
        let (clients, destinations) = Default::default();
        Self { policy, names, lost, clients, destinations }
    }

    /// Returns a function that decides about flows.
    pub(super) fn judge(mut self) -> impl FnMut(&FlowKey<V6>, &Flow) -> FlowFate {
        move |key, flow| self.decide(key, flow)
    }

    /// Decides about one flow.
    pub(super) fn decide(&mut self, key: &FlowKey<V6>, flow: &Flow) -> FlowFate {
        if flow.flags & flow_flags::WARM_UP == flow_flags::WARM_UP {
            return FlowFate::Goes;
        }
        if flow.flags & flow_flags::INBOUND != 0 {
            return self.decide_inbound(key, flow);
        }
        // Of a client in no group, the programs keep no flow.
        let Some(client) = self.client(key) else { return FlowFate::Goes };
        let allowed = client.rules & self.rules_of_port(key);
        if flow.flags & UNRULED != 0 {
            if client.mode != MODE_ENFORCE {
                return FlowFate::Goes;
            }
            return self.other_rule(key, allowed).unwrap_or(FlowFate::Goes);
        }
        let is_allowed = allowed.contains(flow.rule);
        if is_allowed && !self.lost.contains(flow.rule) {
            return FlowFate::Goes;
        }
        if is_allowed && self.rules_of_destination(key).contains(flow.rule) {
            return FlowFate::Goes;
        }
        if client.mode != MODE_ENFORCE {
            // Its next packet passes by the group's mode, and opens a flow that says so.
            return FlowFate::Ends;
        }
        self.other_rule(key, allowed).unwrap_or(FlowFate::Ends)
    }

    /// Decides about a flow that the remote has opened. One from another zone ends with its sender's.
    fn decide_inbound(&mut self, key: &FlowKey<V6>, flow: &Flow) -> FlowFate {
        let Some(client) = self.client(key) else { return FlowFate::Goes };
        if flow.origin() != 0 {
            return FlowFate::Goes;
        }
        if client.flags & client_flags::INBOUND != 0 {
            // Its rule may be gone, and its end would be the flow's.
            return if flow.rule == NO_RULE {
                FlowFate::Goes
            } else {
                FlowFate::BelongsTo(NO_RULE)
            };
        }
        if client.flags & client_flags::INBOUND_RULES == 0 {
            return FlowFate::Goes;
        }
        let zone = u32::from(inbound_zone(key.zone));
        let rules =
            self.policy.client(zone, key.client.into()).map_or(RuleMask::EMPTY, |one| one.rules);
        let allowed = rules & self.rules_of(key.protocol, key.client_port);
        let is_allowed = allowed.contains(flow.rule);
        if is_allowed
            && (!self.lost.contains(flow.rule)
                || self.rules_of_destination(key).contains(flow.rule))
        {
            return FlowFate::Goes;
        }
        self.other_rule(key, allowed).unwrap_or(FlowFate::Ends)
    }

    /// A rule that allows the flow. Not one whose bit another rule had until now: it is not in force
    /// before that bit is cleared.
    fn other_rule(&mut self, key: &FlowKey<V6>, allowed: RuleMask) -> Option<FlowFate> {
        let rules = allowed & self.rules_of_destination(key) & !self.policy.reused;
        (!rules.is_empty()).then(|| FlowFate::BelongsTo(rules.lowest()))
    }

    fn client(&mut self, key: &FlowKey<V6>) -> Option<Client> {
        let source = IpAddr::from(key.client);
        let policy = self.policy;
        let client = self.clients.entry((key.zone, source));
        *client.or_insert_with(|| policy.client(key.zone.into(), source))
    }

    fn rules_of_port(&self, key: &FlowKey<V6>) -> RuleMask {
        self.rules_of(key.protocol, key.remote_port)
    }

    fn rules_of(&self, protocol: u8, port: u16) -> RuleMask {
        let protocol = TransportProtocol::ALL.into_iter().find(|one| one.number() == protocol);
        match protocol {
            Some(protocol) => self.policy.rules_of_port(protocol, u16::from_be(port)),
            // Echoes reach every destination that has a rule.
            None if self.policy.settings.icmp_echo != 0 => RuleMask::ALL,
            None => RuleMask::EMPTY,
        }
    }

    /// Rules that have the flow's destination, by networks and by the names that led there or to the
    /// IPv4 address that it reaches by NAT64, whether these have lapsed or not.
    fn rules_of_destination(&mut self, key: &FlowKey<V6>) -> RuleMask {
        let (policy, table) = (self.policy, self.names);
        let address = IpAddr::from(key.remote);
        *self.destinations.entry(address).or_insert_with(|| {
            let by_networks = policy.rules_of_address(address);
            let bindings = policy.nat64.learned_as(address).flat_map(|one| table.of_address(one));
            bindings.fold(by_networks, |rules, (name, _)| {
                rules | table.rules_of(name, |name| policy.rules_of_name(name))
            })
        })
    }
}
