//! The flows of all four tables, and taking those out that have ended in silence.

use std::os::fd::AsFd as _;

use anyhow::Result;
use aya::{
    Pod,
    maps::{HashMap, MapData},
};
use intune_filter_ebpf::abi::{Address, Flow, FlowKey, V4, V6};

use super::{Kernel, Pins, syscall};

/// A flow of either family.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FlowEntry {
    /// Its key; IPv4 mapped.
    pub key: FlowKey<V6>,
    /// The flow.
    pub flow: Flow,
    /// Whether it is one of the answered.
    pub answered: bool,
}

/// What a sweep has found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Swept {
    /// The flows that are left.
    pub left: Vec<FlowEntry>,
    /// Those that were removed, as they were then.
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
            // Evicted or replaced by the kernel meanwhile: it tells of what it replaces.
            let Some(flow) = syscall::take_element::<_, Flow>(data.fd().as_fd(), &key)? else {
                continue;
            };
            if has_ended(key.protocol, &flow) {
                swept.removed.push(entry(flow));
            } else {
                // Another connection between the same ports. Unless the kernel has put it there
                // anew by now.
                let _ = map.insert(key, flow, u64::from(aya_obj::generated::BPF_NOEXIST));
                swept.left.push(entry(flow));
            }
        }
        Ok(())
    }
}

/// The tables of the flows that are answered, or not, by family.
const fn tables(answered: bool) -> [&'static str; 2] {
    if answered { ["FLOWS4", "FLOWS6"] } else { ["NEW_FLOWS4", "NEW_FLOWS6"] }
}

/// A key as those of both families are compared.
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
