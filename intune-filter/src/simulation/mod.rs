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
