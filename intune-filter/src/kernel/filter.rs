//! Filters of clsact, on kernels without TCX: attachments that have no link, and are found again by
//! where they stand.

use std::io;

use anyhow::{Context as _, Result};
use aya::programs::{
    SchedClassifier, TcAttachType,
    tc::{NlOptions, SchedClassifierLink, TcAttachOptions, TcHandle, qdisc_add_clsact},
};

use super::directory::Hook;

/// Where the program stands: before every filter of a usual priority.
const PRIORITY: u16 = 1;
const HANDLE: TcHandle = TcHandle::new(0, 1);

/// Attaches a program; an error if there is a filter in its place.
pub fn create(program: &mut SchedClassifier, interface: &str, hook: Hook) -> Result<()> {
    // It may be there already, ours or another's; without it the next step fails.
    let _ = qdisc_add_clsact(interface);
    let options = NlOptions { priority: PRIORITY, handle: HANDLE, classid: None };
    let id = program
        .attach_with_options(interface, direction(hook), TcAttachOptions::Netlink(options))
        .with_context(|| {
            let direction = hook.direction();
            format!(
                "cannot attach to TC {direction} of {interface} at priority {PRIORITY} \
                 (`tc filter show dev {interface} {direction}` tells what is there)"
            )
        })?;
    // Dropped, it would detach.
    std::mem::forget(program.take_link(id)?);
    Ok(())
}

/// Puts a program in place of the one that is attached.
pub fn replace(program: &mut SchedClassifier, interface: &str, hook: Hook) -> Result<()> {
    let link = existing(interface, hook)?;
    let id = program.attach_to_link(link)?;
    std::mem::forget(program.take_link(id)?);
    Ok(())
}

/// Removes the filter; that it is gone with its interface is no error.
pub fn remove(interface: &str, hook: Hook) {
    // Dropped, it detaches.
    drop(existing(interface, hook));
}

fn existing(interface: &str, hook: Hook) -> io::Result<SchedClassifierLink> {
    SchedClassifierLink::attached(interface, direction(hook), PRIORITY, HANDLE, None)
}

const fn direction(hook: Hook) -> TcAttachType {
    match hook {
        Hook::Egress => TcAttachType::Egress,
        Hook::Ingress | Hook::TcIngress => TcAttachType::Ingress,
    }
}
