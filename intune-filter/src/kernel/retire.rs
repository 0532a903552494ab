//! Ends the flows of rules, zones and destinations that are gone, and gives flows to the rules that
//! allow them now.

use std::{collections::HashSet, sync::PoisonError};

use anyhow::Result;
use aya::{
    Pod,
    maps::{HashMap, MapData},
};
use aya_obj::generated::BPF_EXIST;
use intune_filter_ebpf::abi::{Address, Flow, FlowKey, NO_RULE, RuleMask, V4, V6, flow_flags};

use super::{Kernel, RevokedFlow, flows::wide};

/// Flow maps of unanswered and of answered flows. In this order: a flow that is answered meanwhile
/// is met in the second if not in the first.
const FLOWS: [[&str; 2]; 2] = [["NEW_FLOWS4", "NEW_FLOWS6"], ["FLOWS4", "FLOWS6"]];

/// Flows without a rule of their own.
const UNRULED: u16 = flow_flags::UNRULED | flow_flags::AUDITED;

/// Whether a rule has opened a flow, from either side.
const fn is_ruled(flow: &Flow) -> bool {
    flow.flags & UNRULED == 0 && flow.rule != NO_RULE
}

/// What becomes of a flow under a policy that is put into force.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FlowFate {
    /// It goes on, or the programs end it at its next packet.
    Goes,
    /// It goes on by another rule.
    BelongsTo(u8),
    /// It ends.
    Ends,
}

/// Time of a review of the flows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReviewTime {
    /// Before the policy is in force: nothing ends.
    Before,
    /// When it is.
    After,
}

impl Kernel {
    /// Does with every flow what `judge` says.
    ///
    /// # Errors
    /// A map cannot be read or written.
    pub fn review_flows(
        &self,
        time: ReviewTime,
        mut judge: impl FnMut(&FlowKey<V6>, &Flow) -> FlowFate,
    ) -> Result<()> {
        self.change_flows(&mut judge, time)
    }

    /// Ends the flows that rules opened.
    ///
    /// # Errors
    /// A map cannot be read or written.
    pub fn end_flows_of_rules(&self, mask: RuleMask) -> Result<()> {
        if mask.is_empty() {
            return Ok(());
        }
        self.end_flows(|_, flow| is_ruled(flow) && mask.contains(flow.rule))
    }

    /// Ends the flows that were opened from another zone, and whose sender has none there any more.
    ///
    /// # Errors
    /// A map cannot be read or written.
    pub fn end_flows_without_sender(&self) -> Result<()> {
        let mut senders = HashSet::new();
        self.change_flows(
            &mut |key, flow| {
                if flow.origin() == 0 {
                    senders.insert(*key);
                }
                FlowFate::Goes
            },
            ReviewTime::After,
        )?;
        let mut judge = |key: &FlowKey<V6>, flow: &Flow| {
            let origin = flow.origin();
            let is_sent = origin == 0 || senders.contains(&key.of_remote(origin));
            if is_sent { FlowFate::Goes } else { FlowFate::Ends }
        };
        self.change_flows(&mut judge, ReviewTime::After)
    }

    /// Ends the flows of zones.
    ///
    /// # Errors
    /// A map cannot be read or written.
    pub fn end_flows_of_zones(&self, zones: &[u32]) -> Result<()> {
        if zones.is_empty() {
            return Ok(());
        }
        self.end_flows(|zone, _| zones.contains(&u32::from(zone)))
    }

    fn end_flows(&self, ends: impl Fn(u16, &Flow) -> bool) -> Result<()> {
        let mut judge = |key: &FlowKey<V6>, flow: &Flow| {
            if ends(key.zone, flow) { FlowFate::Ends } else { FlowFate::Goes }
        };
        self.change_flows(&mut judge, ReviewTime::After)
    }

    fn change_flows(&self, judge: &mut Judge<'_>, time: ReviewTime) -> Result<()> {
        let generation = self.pins().active()?.generation;
        if generation == 0 {
            // No policy has opened any.
            return Ok(());
        }
        let mut review = Review { judge, time, generation };
        let mut ended = Vec::new();
        for (number, [four, six]) in FLOWS.into_iter().enumerate() {
            if number > 0 {
                // A program may be moving a flow that it has found in the first table.
                self.wait_for_programs()?;
            }
            self.review_in::<V4>(four, &mut review, &mut ended)?;
            self.review_in::<V6>(six, &mut review, &mut ended)?;
        }
        self.revoked.lock().unwrap_or_else(PoisonError::into_inner).extend(ended);
        Ok(())
    }

    fn review_in<A: Address>(
        &self,
        name: &str,
        review: &mut Review<'_>,
        ended: &mut Vec<RevokedFlow>,
    ) -> Result<()>
    where
        FlowKey<A>: Pod,
    {
        let pins = self.pins();
        let mut map: HashMap<MapData, FlowKey<A>, Flow> = pins.map(name)?;
        for (key, flow) in pins.elements::<FlowKey<A>, Flow>(name)? {
            let wide_key = wide(&key);
            match (review.judge)(&wide_key, &flow) {
                FlowFate::Ends if review.time == ReviewTime::After => {
                    // The flow may be evicted already, which serves as well.
                    if map.remove(&key).is_ok() {
                        ended.push((wide_key, flow));
                    }
                }
                FlowFate::BelongsTo(rule) => {
                    // As it is now: what programs note of it in between is lost, as a packet's count
                    // may be when two of them note at once. One that is gone stays gone.
                    if let Ok(flow) = map.get(&key, 0)
                        && (review.judge)(&wide_key, &flow) == FlowFate::BelongsTo(rule)
                    {
                        let _ = map.insert(key, review.moved(flow, rule), BPF_EXIST.into());
                    }
                }
                FlowFate::Goes | FlowFate::Ends => {}
            }
        }
        Ok(())
    }
}

/// Decides about a flow.
type Judge<'a> = dyn FnMut(&FlowKey<V6>, &Flow) -> FlowFate + 'a;

/// Review of the flow tables.
struct Review<'a> {
    judge: &'a mut Judge<'a>,
    time: ReviewTime,
    /// Generation of the policy in force.
    generation: u32,
}

impl Review<'_> {
    /// The flow, by another rule.
    fn moved(&self, flow: Flow, rule: u8) -> Flow {
        let was_ruled = is_ruled(&flow);
        // Every flow by a rule is one that the policy in force allows, and is not judged again as long
        // as that policy is: the new rule may mean nothing to it.
        let generation = match self.time {
            ReviewTime::Before if was_ruled => self.generation,
            _ => flow.generation,
        };
        Flow { rule, generation, flags: flow.flags & !UNRULED, ..flow }
    }
}
