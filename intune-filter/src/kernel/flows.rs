//! Reads the flow tables of both families, and removes flows that have ended without a packet that
//! says so.

use std::os::fd::AsFd as _;

use anyhow::Result;
use aya::{
    Pod,
    maps::{HashMap, MapData},
};
use intune_filter_ebpf::abi::{Address, Flow, FlowKey, V4, V6};

use super::{Kernel, Pins, syscall};

/// Flow of either address family.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FlowEntry {
    /// Key of the flow, with IPv4 addresses mapped.
    pub key: FlowKey<V6>,
    /// State of the flow.
    pub flow: Flow,
    /// Whether the flow is in the table of answered flows.
    pub answered: bool,
}

/// Result of a sweep through the flow tables.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Swept {
    /// Flows that remain.
    pub left: Vec<FlowEntry>,
    /// Removed flows, with their state at removal.
    pub removed: Vec<FlowEntry>,
}

impl Pins {
    /// Every flow.
    ///
    /// # Errors
    /// A map cannot be read.
    pub fn flows(&self) -> Result<Vec<FlowEntry>> {
        let mut flows = Vec::new();
        for answered in [true, false] {
            let [four, six] = tables(answered);
            flows.extend(self.flows_in::<V4>(four, answered)?);
            flows.extend(self.flows_in::<V6>(six, answered)?);
        }
        Ok(flows)
    }

    fn flows_in<A: Address>(
        &self,
        name: &str,
        answered: bool,
    ) -> Result<impl Iterator<Item = FlowEntry>>
    where
        FlowKey<A>: Pod,
    {
        let elements = self.elements::<FlowKey<A>, Flow>(name)?.into_iter();
        Ok(elements.map(move |(key, flow)| FlowEntry { key: wide(&key), flow, answered }))
    }
}

impl Kernel {
    /// Reads every flow, and removes those that have ended by the word of `has_ended`, which is
    /// told their protocol.
    ///
    /// # Errors
    /// A map cannot be read or written.
    pub fn sweep_flows(&self, has_ended: impl Fn(u8, &Flow) -> bool) -> Result<Swept> {
        let mut swept = Swept::default();
        for answered in [true, false] {
            let [four, six] = tables(answered);
            self.sweep_in::<V4>(four, answered, &has_ended, &mut swept)?;
            self.sweep_in::<V6>(six, answered, &has_ended, &mut swept)?;
        }
        Ok(swept)
    }

    fn sweep_in<A: Address>(
        &self,
        name: &str,
        answered: bool,
        has_ended: impl Fn(u8, &Flow) -> bool,
        swept: &mut Swept,
    ) -> Result<()>
    where
        FlowKey<A>: Pod,
    {
        let pins = self.pins();
        let data = pins.data(name)?;
        let mut map: HashMap<MapData, FlowKey<A>, Flow> = pins.map(name)?;
        for (key, flow) in pins.elements::<FlowKey<A>, Flow>(name)? {
            let entry = |flow| FlowEntry { key: wide(&key), flow, answered };
            if !has_ended(key.protocol, &flow) {
                swept.left.push(entry(flow));
                continue;
            }
            // The kernel may have evicted or replaced the flow, and reports replaced flows itself.
            let Some(flow) = syscall::take_element::<_, Flow>(data.fd().as_fd(), &key)? else {
                continue;
            };
            if has_ended(key.protocol, &flow) {
                swept.removed.push(entry(flow));
            } else {
                // A new connection between the same ports took its place: back with it, unless the
                // kernel has inserted another entry meanwhile.
                let _ = map.insert(key, flow, u64::from(aya_obj::generated::BPF_NOEXIST));
                swept.left.push(entry(flow));
            }
        }
        Ok(())
    }
}

/// Returns the tables of answered or of unanswered flows, by address family.
const fn tables(answered: bool) -> [&'static str; 2] {
    if answered { ["FLOWS4", "FLOWS6"] } else { ["NEW_FLOWS4", "NEW_FLOWS6"] }
}

/// Widens a flow's key, so that keys of both families compare.
pub(super) fn wide<A: Address>(key: &FlowKey<A>) -> FlowKey<V6> {
    FlowKey {
        zone: key.zone,
        protocol: key.protocol,
        reserved: 0,
        client_port: key.client_port,
        remote_port: key.remote_port,
        client: key.client.wide(),
        remote: key.remote.wide(),
    }
}
