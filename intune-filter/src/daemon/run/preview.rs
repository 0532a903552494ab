//! Computes the flows and names that a policy would end, without ending them.

use std::collections::BTreeSet;

use anyhow::Result;

use super::state::Daemon;
use crate::{
    daemon::{
        destinations::{Destinations, Lost},
        flow_review::FlowReview,
    },
    events::{Flow, Labels},
    kernel::FlowFate,
    policy::Policy,
    report::LostName,
};

/// Flows and names listed at most; all of them are counted.
const LISTED: usize = 100;

/// Flows and names that would end.
#[derive(Debug, Default)]
pub(super) struct Losses {
    pub(super) flows_ended: usize,
    pub(super) flows: Vec<Flow>,
    pub(super) names_forgotten: usize,
    pub(super) names: Vec<LostName>,
}

/// Returns the losses under `policy`: flows whose destinations no rule allows any more, those of
/// renumbered zones, and names that no rule has any more.
pub(super) fn losses(daemon: &Daemon<'_>, policy: &Policy) -> Result<Losses> {
    let mut losses = Losses::default();
    let names = daemon.intake.learner.names();
    let labels = Labels::of_policy(daemon.intake.learner.policy());
    let moved = moved_zones(daemon, policy);
    let now = Destinations::of(daemon.intake.learner.policy());
    let lost = Lost::of(policy, Some(&now), &Destinations::of(policy));
    let mut review = FlowReview::new(policy, names, lost.any);
    for entry in daemon.kernel.pins().flows()? {
        let ends = review.decide(&entry.key, &entry.flow) == FlowFate::Ends;
        if ends || moved.contains(&u32::from(entry.key.zone)) {
            losses.flows_ended += 1;
            if losses.flows.len() < LISTED {
                losses.flows.push(labels.flow(&entry.key, &entry.flow, names));
            }
        }
    }
    let of_targets = names.rules_of_targets(|name| policy.rules_of_name(name));
    for (name, address, binding) in names.iter() {
        if binding.lapsed {
            continue;
        }
        let inherited = of_targets.get(name).copied();
        let bits = inherited.unwrap_or_else(|| policy.rules_of_name(name));
        let keeps = policy.rules_of(bits).any(|rule| binding.rules.contains(&rule.id.to_string()));
        if !keeps {
            losses.names_forgotten += 1;
            if losses.names.len() < LISTED && binding.target.is_none() {
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
