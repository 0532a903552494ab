//! Reads the exact counters of the pinned maps: by reason and occurrence, by rule, by group.

use std::collections::BTreeMap;

use anyhow::Result;
use aya::maps::PerCpuArray;
use intune_filter_ebpf::abi::{Counted, Counter, GroupCounter, RULES, RuleCounter};

use super::{Pins, group_counters::GroupCounters};

impl Pins {
    /// The sums over all CPUs, by what is counted.
    ///
    /// # Errors
    /// The map cannot be read.
    pub fn counters(&self) -> Result<Vec<(Counted, Counter)>> {
        let map: PerCpuArray<_, Counter> = self.map("COUNTERS")?;
        let mut counters = Vec::new();
        for counted in Counted::all() {
            let mut sum = Counter::default();
            for one in map.get(&counted.counter(), 0)?.iter() {
                sum.packets = sum.packets.wrapping_add(one.packets);
                sum.bytes = sum.bytes.wrapping_add(one.bytes);
            }
            counters.push((counted, sum));
        }
        Ok(counters)
    }

    /// The sum over all CPUs, by rule.
    ///
    /// # Errors
    /// A map cannot be read.
    pub fn rule_counters(&self) -> Result<Vec<RuleCounter>> {
        let map: PerCpuArray<_, RuleCounter> = self.map("RULE_COUNTERS")?;
        (0..RULES as u32)
            .map(|rule| {
                let mut sum = RuleCounter::default();
                for one in map.get(&rule, 0)?.iter() {
                    sum.packets = sum.packets.wrapping_add(one.packets);
                    sum.bytes = sum.bytes.wrapping_add(one.bytes);
                    sum.flows = sum.flows.wrapping_add(one.flows);
                    sum.denied = sum.denied.wrapping_add(one.denied);
                    sum.audited = sum.audited.wrapping_add(one.audited);
                }
                Ok(sum)
            })
            .collect()
    }

    /// Denials of every group in force, by its name: what the kernel has counted since its maps were
    /// made.
    ///
    /// # Errors
    /// A map cannot be read.
    pub fn group_counters(&self) -> Result<BTreeMap<String, GroupCounter>> {
        let slot = self.active()?.generation & 1;
        GroupCounters::open(self)?.totals(slot, &self.groups()?)
    }
}
