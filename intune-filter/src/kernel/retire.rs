//! Ends the flows of rules and zones that are gone.

use std::sync::PoisonError;

use anyhow::Result;
use aya::{
    Pod,
    maps::{HashMap, MapData},
};
use intune_filter_ebpf::abi::{Address, Flow, FlowKey, RuleMask, V4, V6, flow_flags};

use super::{Kernel, flows::wide};

/// Flow maps by address family.
const FLOWS4: [&str; 2] = ["FLOWS4", "NEW_FLOWS4"];
const FLOWS6: [&str; 2] = ["FLOWS6", "NEW_FLOWS6"];

/// Flows without a rule of their own.
const UNRULED: u16 = flow_flags::UNRULED | flow_flags::AUDITED | flow_flags::INBOUND;

impl Kernel {
    /// Ends the flows that rules opened.
    pub(super) fn end_flows_of_rules(&self, mask: RuleMask) -> Result<()> {
        self.end_flows(|_, flow| flow.flags & UNRULED == 0 && mask.contains(flow.rule))
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
        for name in FLOWS4 {
            self.end_flows_in::<V4>(name, &ends)?;
        }
        for name in FLOWS6 {
            self.end_flows_in::<V6>(name, &ends)?;
        }
        Ok(())
    }

    fn end_flows_in<A: Address>(&self, name: &str, ends: impl Fn(u16, &Flow) -> bool) -> Result<()>
    where
        FlowKey<A>: Pod,
    {
        let pins = self.pins();
        let mut map: HashMap<MapData, FlowKey<A>, Flow> = pins.map(name)?;
        let mut ended = Vec::new();
        for (key, flow) in pins.elements::<FlowKey<A>, Flow>(name)? {
            // The flow may be evicted already, which serves as well.
            if ends(key.zone, &flow) && map.remove(&key).is_ok() {
                ended.push((wide(&key), flow));
            }
        }
        self.revoked.lock().unwrap_or_else(PoisonError::into_inner).extend(ended);
        Ok(())
    }
}
