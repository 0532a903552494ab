//! Attaches filters of clsact on kernels without TCX. Such a filter has no link, and is found again
//! by its priority and handle, and told from others by its program.

use std::io;

use anyhow::{Context as _, Result};
use aya::programs::{
    SchedClassifier, TcAttachType,
    tc::{NlOptions, SchedClassifierLink, TcAttachOptions, TcHandle, qdisc_add_clsact},
};

use super::directory::Hook;
use crate::system::clsact::{self, Direction, PRIORITY};

const HANDLE: TcHandle = TcHandle::new(0, clsact::HANDLE);

/// Attaches a program; fails if there is a filter at its priority and handle.
pub(super) fn create(program: &mut SchedClassifier, interface: &str, hook: Hook) -> Result<()> {
    // The qdisc may exist already. Without it, attaching fails.
    let _ = qdisc_add_clsact(interface);
    let options = NlOptions { priority: PRIORITY, handle: HANDLE, classid: None };
    let id = program
        .attach_with_options(interface, of(hook.clsact()), TcAttachOptions::Netlink(options))
        .with_context(|| {
            let direction = hook.direction();
            format!(
                "cannot attach to TC {direction} of {interface} at priority {PRIORITY} \
                 (`tc filter show dev {interface} {direction}` tells what is there)"
            )
        })?;
    // Dropping the link would detach the program.
    std::mem::forget(program.take_link(id)?);
    Ok(())
}

/// Replaces the attached program.
pub(super) fn replace(program: &mut SchedClassifier, interface: &str, hook: Hook) -> Result<()> {
    let link = existing(interface, hook.clsact())?;
    let id = program.attach_to_link(link)?;
    std::mem::forget(program.take_link(id)?);
    Ok(())
}

/// Removes the filter at the place of ours. An interface that is gone is no error.
pub(super) fn remove(interface: &str, direction: Direction) {
    // Dropping the link detaches the program.
    drop(existing(interface, direction));
}

fn existing(interface: &str, direction: Direction) -> io::Result<SchedClassifierLink> {
    SchedClassifierLink::attached(interface, of(direction), PRIORITY, HANDLE, None)
}

const fn of(direction: Direction) -> TcAttachType {
    match direction {
        Direction::Ingress => TcAttachType::Ingress,
        Direction::Egress => TcAttachType::Egress,
    }
}
