//! Keeps interfaces in step with the machine: wanted interfaces, the devices behind their zones,
//! and attachments.

pub(crate) mod devices;
mod on_link;
mod other_vlans;
mod pace;
mod reconciler;
mod wanted;

pub(crate) use devices::resolver_devices;
pub(crate) use on_link::{OnLinkWatch, Told, on_link, zone_devices};
pub(crate) use other_vlans::{cut_off, other_vlans};
pub(crate) use pace::{LookPace, RoutePace};
pub(crate) use reconciler::{Command, InterfaceReconciler};
pub(crate) use wanted::{EnforcedInterface, zones_of};
