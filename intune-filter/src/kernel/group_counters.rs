//! Exact counts of denials, by group and reason: elements for the groups of each policy, and what groups
//! of the same names had before.
//!
//! A group's number may be another one in the next policy. Each slot therefore has elements of its own,
//! and the sums of the policies before go with the group's name.

use std::collections::BTreeMap;

use anyhow::{Context as _, Result, anyhow};
use aya::{
    maps::{MapData, MapError, PerCpuHashMap, PerCpuValues},
    util::nr_cpus,
};
use intune_filter_ebpf::abi::{DENIALS, GROUPS, GroupCounter, group_base, group_counter};

use super::Pins;
use crate::policy::Policy;

/// Name of the map.
const MAP: &str = "GROUP_COUNTERS";

/// The kernel's elements.
pub(super) struct GroupCounters(PerCpuHashMap<MapData, u32, GroupCounter>);

/// Counts of groups, by their names.
pub(super) type Totals = BTreeMap<String, GroupCounter>;

impl GroupCounters {
    /// Opens the map.
    pub(super) fn open(pins: &Pins) -> Result<Self> {
        pins.map(MAP).map(Self)
    }

    /// Returns what each group has counted so far; `names` are those of the groups in `slot`, by number.
    pub(super) fn totals(&self, slot: u32, names: &[Option<String>]) -> Result<Totals> {
        let mut totals = Totals::new();
        for (number, name) in (0..GROUPS as u8).zip(names) {
            let Some(name) = name else { continue };
            let mut sum = self.sum(group_counter(slot, number))?;
            add(&mut sum, &self.sum(group_base(slot, number))?);
            totals.insert(name.clone(), sum);
        }
        Ok(totals)
    }

    /// Makes the elements of a policy's groups in the slot that is not in force: they have counted
    /// nothing yet, beyond what groups of their names had before.
    pub(super) fn prepare(&mut self, slot: u32, policy: &Policy, before: &Totals) -> Result<()> {
        for number in 0..GROUPS as u8 {
            self.remove(group_counter(slot, number))?;
            self.remove(group_base(slot, number))?;
        }
        for (number, _) in (0..GROUPS as u8).zip(&policy.groups) {
            self.set(group_counter(slot, number), GroupCounter::default())?;
        }
        self.carry(slot, policy, before)
    }

    /// Makes `before` what groups of a policy had before it.
    pub(super) fn carry(&mut self, slot: u32, policy: &Policy, before: &Totals) -> Result<()> {
        for (number, group) in (0..GROUPS as u8).zip(&policy.groups) {
            let had = before.get(&group.name).copied().unwrap_or_default();
            self.set(group_base(slot, number), had)?;
        }
        Ok(())
    }

    fn sum(&self, key: u32) -> Result<GroupCounter> {
        let mut sum = GroupCounter::default();
        match self.0.get(&key, 0) {
            Ok(values) => values.iter().for_each(|one| add(&mut sum, one)),
            Err(MapError::KeyNotFound) => {}
            Err(error) => return Err(error).with_context(|| format!("cannot read {MAP}")),
        }
        Ok(sum)
    }

    /// Makes the value of the first CPU this one, and those of the others empty.
    fn set(&mut self, key: u32, value: GroupCounter) -> Result<()> {
        let cpus = nr_cpus().map_err(|(what, error)| anyhow!("{what}: {error}"))?;
        let mut values = vec![GroupCounter::default(); cpus];
        if let Some(first) = values.first_mut() {
            *first = value;
        }
        let written = PerCpuValues::try_from(values)
            .map_err(anyhow::Error::new)
            .and_then(|values| self.0.insert(key, values, 0).map_err(anyhow::Error::new));
        written.with_context(|| format!("cannot write {MAP}"))
    }

    fn remove(&mut self, key: u32) -> Result<()> {
        match self.0.remove(&key) {
            Ok(()) | Err(MapError::KeyNotFound) => Ok(()),
            // What is not there.
            Err(MapError::SyscallError(error))
                if error.io_error.raw_os_error() == Some(nix::libc::ENOENT) =>
            {
                Ok(())
            }
            Err(error) => Err(error).with_context(|| format!("cannot change {MAP}")),
        }
    }
}

fn add(sum: &mut GroupCounter, more: &GroupCounter) {
    for number in 0..DENIALS {
        let both = [(&mut sum.denied, &more.denied), (&mut sum.audited, &more.audited)];
        for (sum, more) in both {
            if let (Some(sum), Some(more)) = (sum.get_mut(number), more.get(number)) {
                *sum = sum.wrapping_add(*more);
            }
        }
    }
}
