//! Computes the flows and names that a policy would end, without ending them.

use std::collections::BTreeSet;

use anyhow::Result;
use intune_filter_ebpf::abi::flow_flags;

use super::state::Daemon;
use crate::{
    events::{Flow, Labels},
    policy::Policy,
    report::LostName,
};

/// Flows and names listed at most; all of them are counted.
const LISTED: usize = 100;

/// Flows without a rule of their own.
const UNRULED: u16 = flow_flags::UNRULED | flow_flags::AUDITED | flow_flags::INBOUND;

/// Flows and names that would end.
#[derive(Debug, Default)]
pub(super) struct Losses {
    pub(super) flows_ended: usize,
    pub(super) flows: Vec<Flow>,
    pub(super) names_forgotten: usize,
    pub(super) names: Vec<LostName>,
}

/// Returns the losses under `policy`: flows of removed rules and of renumbered zones, and names
/// that no rule has any more.
pub(super) fn losses(daemon: &Daemon<'_>, policy: &Policy) -> Result<Losses> {
    let mut losses = Losses::default();
    let names = daemon.intake.learner.names();
    let labels = Labels::of_policy(daemon.intake.learner.policy());
    let moved = moved_zones(daemon, policy);
    for entry in daemon.kernel.pins().flows()? {
        let goes = entry.flow.flags & UNRULED == 0 && policy.freed.contains(entry.flow.rule);
        if goes || moved.contains(&u32::from(entry.key.zone)) {
            losses.flows_ended += 1;
            if losses.flows.len() < LISTED {
                losses.flows.push(labels.flow(&entry.key, &entry.flow, names));
            }
        }
    }
    for (name, address, binding) in names.iter() {
        let bits = policy.rules_of_name(name);
        let keeps = policy.rules_of(bits).any(|rule| binding.rules.contains(&rule.id.to_string()));
        if !keeps {
            losses.names_forgotten += 1;
            if losses.names.len() < LISTED {
                losses.names.push(LostName { name: name.to_owned(), address });
            }
        }
    }
    Ok(losses)
}

/// Returns the zone numbers that would stand for another segment, or for the first time.
fn moved_zones(daemon: &Daemon<'_>, policy: &Policy) -> BTreeSet<u32> {
    let now = &daemon.intake.learner.policy().zones;
    let moved = policy.zones.iter().filter(|zone| !now.contains(zone));
    moved.map(|zone| zone.number).collect()
}
