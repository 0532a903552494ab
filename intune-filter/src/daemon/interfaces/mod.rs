//! Keeps interfaces in step with the machine: wanted interfaces, the devices behind their zones,
//! and attachments.

pub(crate) mod devices;
mod other_vlans;
mod reconciler;
mod wanted;

pub(crate) use devices::resolver_devices;
pub(crate) use other_vlans::{cut_off, other_vlans};
pub(crate) use reconciler::{Command, InterfaceReconciler};
pub(crate) use wanted::{EnforcedInterface, zones_of};
