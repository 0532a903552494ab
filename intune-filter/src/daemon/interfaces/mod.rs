//! Interfaces in step with the machine: what is wanted of each, the devices behind its zones, and what
//! is to be attached or detached.

pub(crate) mod devices;
mod reconciler;
mod wanted;

pub(crate) use reconciler::{Command, InterfaceReconciler};
pub(crate) use wanted::{Wanted, zones_of};
