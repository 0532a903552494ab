//! Puts a compiled policy into force: changes the maps in a safe order, and takes back what the
//! policy revokes.

use std::{collections::BTreeSet, path::Path};

use anyhow::{Result, bail};
use intune_filter_ebpf::abi::RuleMask;

use super::{
    destinations::{Destinations, Lost},
    flow_review::FlowReview,
};
use crate::{
    catalogue::RuleId,
    kernel::{Kernel, Pins, ReviewTime, ZoneMap},
    names::learning::Reports,
    policy::{Policy, RuleBits},
    system::clock,
};

/// Rounds through the addresses that answers keep refreshing.
const ROUNDS: usize = 8;

/// Result of putting a policy into force.
#[derive(Debug)]
pub struct Applied {
    /// Generation of the policy.
    pub generation: u32,
    /// Number of names that were forgotten, since no rule has them any more.
    pub names_forgotten: usize,
    /// Error by which the state directory does not have the destinations in force. The next policy
    /// then counts every destination as dropped, and revokes no less.
    pub unsaved: Option<anyhow::Error>,
}

/// Which bit each rule in force has, whoever put it there.
///
/// # Errors
/// The map of the rules' names cannot be read.
pub fn previous_bits(pins: &Pins) -> Result<RuleBits> {
    let mut bits = RuleBits::new();
    for (bit, rule) in (0_u8..).zip(pins.rules()?) {
        if let Some(Ok(id)) = rule.map(|rule| rule.parse::<RuleId>()) {
            bits.insert(id, bit);
        }
    }
    Ok(bits)
}

/// Puts a policy and its zones into force. When this returns, no learned address has anything left
/// of rules that are gone or of patterns that were removed, and no flow leads to where the policy
/// does not let it.
///
/// # Errors
/// A map cannot be read or written. What is in force then may be the old policy or the new one.
pub fn apply(
    kernel: &Kernel,
    policy: &Policy,
    zones: &ZoneMap,
    reports: &mut impl Reports,
    state_directory: &Path,
) -> Result<Applied> {
    let is_freed = |number: u32| u8::try_from(number).is_ok_and(|bit| policy.freed.contains(bit));
    let before = Destinations::load(state_directory, kernel.pins().active()?.generation);
    let now = Destinations::of(policy);
    let lost = Lost::of(policy, before.as_ref(), &now);
    // Once the policy is in force, addresses are learned by its patterns, and those of the old
    // patterns are still there: the file has both, for the next process if this one ends in
    // between. Unknown old patterns stay unknown until all is clean.
    let unsaved = match &before {
        Some(before) => before.with(&now).save(state_directory).err(),
        None => Destinations::remove(state_directory).err(),
    };
    kernel.park_zones(zones)?;
    let rules = policy.rule_titles();
    // A rule that is gone keeps its name until its bit is clean: if this process ends before, the
    // next one sees it and clears it.
    kernel.set_infos("RULE_TITLES", &rules, |number| !is_freed(number))?;
    // Flows that another rule of the new policy allows belong to it from now on: once the policy is in
    // force, their next packet would end them.
    let names = reports.learner().names();
    let review = FlowReview::new(policy, names, lost.any).judge();
    if let Err(error) = kernel.review_flows(ReviewTime::Before, review) {
        log::warn!("flows that another rule allows from now on may end: {error:#}");
    }
    let generation = kernel.install(policy, policy.reused)?;
    kernel.take_from_hosts(policy.freed)?;
    reports.learner().tracker().forget_rules(policy.freed);
    reports.catch_up()?;
    let learner = reports.learner();
    let known = learner.names().len();
    // Of the targets too, by the names that led to them until now.
    let of_targets = learner.names().rules_of_targets(|name| policy.rules_of_name(name));
    let rules_of = |name: &str| -> BTreeSet<String> {
        let inherited = of_targets.get(name).copied();
        let rules = inherited.unwrap_or_else(|| policy.rules_of_name(name));
        policy.rules_of(rules).map(|rule| rule.id.to_string()).collect()
    };
    learner.names_mut().hand_over(rules_of);
    learner.names_mut().retain_rules(|name, rule| rules_of(name).contains(rule));
    let names_forgotten = known - learner.names().len();
    learner.tracker().forget_rules(lost.patterns);
    narrow(kernel, lost.patterns, reports)?;
    if !(policy.freed | lost.any).is_empty() {
        // Programs that have read the addresses before may open flows until they end.
        kernel.wait_for_programs()?;
        let names = reports.learner().names();
        let review = FlowReview::new(policy, names, lost.any).judge();
        kernel.review_flows(ReviewTime::After, review)?;
        kernel.end_flows_of_rules(policy.freed)?;
        kernel.end_flows_without_sender()?;
    }
    kernel.set_infos("RULE_TITLES", &rules, is_freed)?;
    let generation = if policy.reused.is_empty() {
        generation
    } else {
        kernel.install(policy, RuleMask::EMPTY)?
    };
    kernel.set_zones(zones)?;
    let saved = now.in_generation(generation).save(state_directory);
    Ok(Applied { generation, names_forgotten, unsaved: saved.err().or(unsaved) })
}

/// Takes rules of `mask` away from the learned addresses that no name backs any more, and
/// makes the others live no longer than their names.
fn narrow(kernel: &Kernel, mask: RuleMask, reports: &mut impl Reports) -> Result<()> {
    for round in 0..=ROUNDS {
        let mut hosts = kernel.pins().hosts()?;
        hosts.retain(|(_, host)| host.rules.intersects(&mask));
        if hosts.is_empty() {
            return Ok(());
        }
        // Afterwards every answer behind these addresses is known, unless its report was lost.
        kernel.wait_for_programs()?;
        reports.catch_up()?;
        let learner = reports.learner();
        // A name whose last answer has expired backs nothing.
        learner.expire(clock::boot_time());
        let mut missed = 0;
        for (address, host) in hosts {
            let (by_names, until) = learner.backed(address);
            let rules = !mask | by_names;
            // Of rules that no known name has given, it is not known until when they were.
            let known = (host.rules & rules & !by_names).is_empty();
            let until = if known { until } else { u64::MAX };
            let narrower = !(host.rules & !rules).is_empty() || host.expires > until;
            // What is refreshed again and again is narrowed all the same in the end.
            let expected = if round == ROUNDS { 0 } else { host.version };
            if narrower && kernel.narrow_host(address, expected, rules, until)?.is_none() {
                missed += 1;
            }
        }
        // Addresses that were refreshed meanwhile need another round.
        if missed == 0 {
            // And what was not looked at again gets back what it was given since.
            return if round == ROUNDS { reports.catch_up() } else { Ok(()) };
        }
    }
    bail!("answers keep busy the learned addresses from which rules are to be taken away")
}
