//! Reads the machine's state, and carries out the reconciler's commands.

use std::time::Instant;

use sd_notify::NotifyState;

use super::state::Daemon;
use crate::{
    config::Config,
    daemon::interfaces::{Command, Told, zone_devices},
    kernel,
    system::{Interface, LinkLayer, netlink::Snapshot, route},
};

impl Daemon<'_> {
    /// Reads the machine's state and acts on it.
    pub(super) async fn look(&mut self) {
        self.look_pace.looked(Instant::now());
        log::debug!("reading interfaces and addresses");
        match self.netlink.snapshot().await {
            Ok(snapshot) => {
                self.read_routes(&snapshot).await;
                self.look_at(snapshot);
            }
            Err(error) => log::error!("{error:#}"),
        }
        self.announce();
    }

    /// Records that interfaces or addresses may have changed.
    pub(super) fn heard_of_change(&mut self) {
        self.look_pace.heard(Instant::now());
        self.route_pace.heard();
    }

    /// Reads what is on-link by routes, if it is time.
    async fn read_routes(&mut self, snapshot: &Snapshot) {
        if !self.route_pace.is_due(Instant::now()) {
            return;
        }
        let devices = zone_devices(&self.in_force.config, snapshot);
        match route::read_on_link_networks(&devices).await {
            Ok(networks) => self.routed = networks,
            Err(error) => log::warn!("what is on-link by routes is not known: {error:#}"),
        }
    }

    /// Acts on the machine's state: attaches programs again that others have detached, then carries
    /// out the reconciler's commands.
    pub(super) fn look_at(&mut self, mut snapshot: Snapshot) {
        self.follow_names(&self.in_force.config.clone(), &mut snapshot);
        let snapshot = snapshot;
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
        self.keep_tags(&snapshot);
        let commands = self.reconciler.observe(&snapshot, Instant::now());
        // Shut before anything is taken off: an interface that has gone may be back already.
        self.shut_gate(&snapshot);
        for command in commands {
            self.execute(command);
        }
        if let Err(error) = kernel::take_off_leftovers(self.kernel.directory(), &snapshot) {
            log::error!("{error:#}");
        }
        self.keep_gate(&snapshot);
        let mut all = snapshot.clone();
        all.networks.extend(&self.routed);
        for told in self.on_link.observe(&self.in_force.config, &all, Instant::now()) {
            match told {
                Told::Info(text) => log::info!("{text}"),
                Told::Warning(text) => log::warn!("{text}"),
            }
        }
        self.intake.recorder.set_interfaces(&snapshot.interfaces);
        self.seen = snapshot;
        if let Some(retry) = self.reconciler.retry_due() {
            self.look_pace.by(retry);
        }
        self.tell_resolution();
    }

    /// Follows the names of renamed interfaces, as far as `config` names them; others keep the names
    /// under which they are judged.
    pub(super) fn follow_names(&self, config: &Config, snapshot: &mut Snapshot) {
        let wanted = config.interface_names();
        let directory = self.kernel.directory();
        if let Err(error) = kernel::follow_names(directory, &wanted, snapshot) {
            log::error!("{error:#}");
        }
        for interface in &snapshot.interfaces {
            if let Some(now) = &interface.renamed
                && self.seen.interface(&interface.name).is_none_or(|seen| seen.renamed.is_none())
            {
                log::warn!(
                    "{} is called {now} now, and goes on being judged; `interfaces` has to name it {now}",
                    interface.name
                );
            }
        }
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
                let may = self.may_enforce(&interface);
                match may.and_then(|()| self.kernel.attach(&interface, mode)) {
                    Ok(mode) => {
                        let layer3 = interface.link == LinkLayer::Layer3;
                        let why = if layer3 { ": its packets have no Ethernet header" } else { "" };
                        log::info!("{}: enforcing in {} mode{why}", interface.name, mode.as_str());
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
