//! Judges packets by the kernel's logic, built for the host, over a policy and its site: the one in
//! force, copied from the pins, or that of a configuration.

mod locate;
mod simulate;
mod site;
mod zone;

pub(crate) use locate::mac_of;
pub(crate) use simulate::Simulation;
pub(crate) use site::Site;
pub(crate) use zone::SimulatedZone;

use anyhow::{Context as _, Result};
use intune_filter_ebpf::abi::Explanation;

use crate::kernel::Pins;

/// Judges frames from clients behind an interface, untagged, over copies of the pinned maps: each as if it
/// were the first.
///
/// # Errors
/// A map cannot be read, or the interface has no zone.
pub fn explain_on_host(pins: &Pins, ifindex: u32, frames: &[Vec<u8>]) -> Result<Vec<Explanation>> {
    let simulation = Simulation::in_force(pins)?;
    for (address, host) in pins.hosts()? {
        simulation.learn(address, host.rules, host.expires);
    }
    let is_it = |zone: &&SimulatedZone| zone.key.ifindex == ifindex && zone.vlan() == 0;
    let zone = simulation.zones.iter().find(is_it).context("the interface has no zone")?;
    let explained = frames.iter().map(|frame| {
        let explanation = simulation.send(zone, frame);
        simulation.forget_packets();
        explanation
    });
    explained.collect()
}
