//! Reads the machine's state, and carries out the reconciler's commands.

use std::time::Instant;

use sd_notify::NotifyState;

use super::state::Daemon;
use crate::{
    daemon::interfaces::{Command, Told},
    kernel,
    system::{Interface, netlink::Snapshot},
};

impl Daemon<'_> {
    /// Reads the machine's state and acts on it.
    pub(super) async fn look(&mut self) {
        self.look_pace.looked(Instant::now());
        match self.netlink.snapshot().await {
            Ok(snapshot) => self.look_at(&snapshot),
            Err(error) => log::error!("{error:#}"),
        }
        self.announce();
    }

    /// Acts on the machine's state: attaches programs again that others have detached, then carries
    /// out the reconciler's commands.
    pub(super) fn look_at(&mut self, snapshot: &Snapshot) {
        let pins = self.kernel.pins();
        for interface in self.reconciler.attached_among(&snapshot.interfaces) {
            match pins.enforced(interface) {
                Ok(Some(_)) => {}
                Ok(None) => {
                    let name = &interface.name;
                    log::error!("{name}: somebody has taken a program off; putting it back");
                    self.reconciler.lost(name);
                }
                Err(error) => log::error!("{error:#}"),
            }
        }
        self.keep_tags(snapshot);
        for command in self.reconciler.observe(snapshot, Instant::now()) {
            self.execute(command);
        }
        self.keep_gate(snapshot);
        for told in self.on_link.observe(&self.in_force.config, snapshot, Instant::now()) {
            match told {
                Told::Info(text) => log::info!("{text}"),
                Told::Warning(text) => log::warn!("{text}"),
            }
        }
        self.intake.recorder.set_interfaces(&snapshot.interfaces);
        self.seen.clone_from(snapshot);
        self.tell_resolution();
    }

    /// Records that an interface cannot be enforced.
    pub(super) fn failed(&mut self, interface: &Interface, error: &anyhow::Error) {
        let error = format!("{error:#}");
        if self.reconciler.failed(interface, error.clone(), Instant::now()) {
            log::error!("{}: NOT enforced: {error}", interface.name);
        }
    }

    /// Carries out a command of the reconciler. A failure is logged.
    pub(super) fn execute(&mut self, command: Command) {
        let result = match command {
            Command::SetOwnAddresses(addresses) => {
                let result = self.kernel.set_own_addresses(&addresses);
                let addresses = addresses.into_iter().map(|(_, address)| address);
                self.intake.learner.set_own_addresses(addresses.collect());
                result
            }
            Command::SetZones(zones) => self.kernel.set_zones(&zones),
            Command::SetDevices(devices, senders) => {
                let result = self.kernel.set_devices(&devices);
                result.and_then(|()| self.kernel.set_senders(&senders))
            }
            Command::SetResolverDevices(devices) => self.kernel.set_resolver_devices(&devices),
            Command::Attach(interface, mode) => {
                let tags = self.see_tags(&interface.name);
                match tags.and_then(|()| self.kernel.attach(&interface, mode)) {
                    Ok(mode) => {
                        log::info!("{}: enforcing in {} mode", interface.name, mode.as_str());
                        self.reconciler.attached(&interface, mode);
                    }
                    Err(error) => self.failed(&interface, &error),
                }
                Ok(())
            }
            Command::Detach(name) => {
                log::info!("{name}: no longer enforced, since it is not configured");
                kernel::detach(self.kernel.directory(), &name)
            }
            Command::Await(name) => {
                log::warn!("{name}: there is no such interface; waiting for it");
                kernel::detach(self.kernel.directory(), &name)
            }
        };
        if let Err(error) = result {
            log::error!("{error:#}");
        }
    }

    /// Tells systemd once that the existing interfaces are enforced. Missing ones are not waited
    /// for, since they may themselves wait for this unit.
    pub(super) fn announce(&mut self) {
        if self.ready {
            return;
        }
        self.ready = true;
        if self.reconciler.is_enforcing() {
            log::info!("ready");
        } else {
            log::warn!("ready, and enforcing nothing: no interface of the configuration is there");
        }
        if let Err(error) = sd_notify::notify(&[NotifyState::Ready]) {
            log::warn!("cannot notify systemd: {error}");
        }
    }
}
