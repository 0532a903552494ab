//! Decides about interfaces and addresses: events in, commands out, no I/O.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use super::{
    devices,
    wanted::{EnforcedInterface, zones_of},
};
use crate::{
    config::Resolver,
    kernel::{Devices, OwnAddresses, ResolverDevices, Senders, WantedMode, ZoneMap},
    system::{Interface, Mode, netlink::Snapshot},
};

/// Delay after a first failed attachment before the next attempt: the interface may have been away for a
/// moment, and be back under its index.
const FIRST_RETRY: Duration = Duration::from_millis(200);

/// Longest delay, after further failures, each of which doubles it.
const RETRY_INTERVAL: Duration = Duration::from_secs(5);

/// Command to the daemon; commands are carried out in their order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Command {
    /// Replacement of the gateway's own addresses.
    SetOwnAddresses(OwnAddresses),
    /// Replacement of the zones.
    SetZones(ZoneMap),
    /// Replacement of the zones' devices, and of those that they send from.
    SetDevices(Devices, Senders),
    /// Replacement of the devices by which resolvers' answers come in.
    SetResolverDevices(ResolverDevices),
    /// Attachment to an interface, or replacement of its programs. Report the result to
    /// [`InterfaceReconciler::attached`] or [`InterfaceReconciler::failed`].
    Attach(Interface, WantedMode),
    /// Detachment from an interface that is no longer wanted, with its pins.
    Detach(String),
    /// Detachment from a wanted interface that does not exist, with its pins.
    Await(String),
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum State {
    /// The interface does not exist.
    Missing,
    /// The programs of both directions are attached.
    Attached { index: u32, mode: Mode },
    /// The programs could not be attached.
    Failed { index: u32, retry: Instant, wait: Duration, error: String },
}

/// State of an interface as commands show it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct InterfaceStatus {
    /// Name of the interface.
    pub name: String,
    /// Mode in which packets are judged, once attached.
    pub mode: Option<Mode>,
    /// Error that prevents the attachment to an existing interface.
    pub error: Option<String>,
}

/// States of the interfaces, and the machine's state in the maps.
#[derive(Debug, Default)]
pub(crate) struct InterfaceReconciler {
    wanted: Vec<EnforcedInterface>,
    states: BTreeMap<String, State>,
    written_zones: Option<ZoneMap>,
    written_devices: Option<(Devices, Senders)>,
    own_addresses: Option<OwnAddresses>,
    resolvers: Vec<Resolver>,
    written_resolver_devices: Option<ResolverDevices>,
}

impl InterfaceReconciler {
    /// Replaces the wanted interfaces. `linked` are those with pinned links, of this process or an
    /// earlier one; links of interfaces that are no longer wanted are detached.
    pub(crate) fn want(
        &mut self,
        wanted: Vec<EnforcedInterface>,
        linked: &[String],
    ) -> Vec<Command> {
        let named = |name: &str| wanted.iter().any(|interface| interface.name == name);
        let commands = linked
            .iter()
            .filter(|name| !named(name))
            .map(|name| Command::Detach(name.clone()))
            .collect();
        self.states.retain(|name, _| named(name));
        for interface in &wanted {
            let before = self.wanted.iter().find(|before| before.name == interface.name);
            if before.is_some_and(|before| before.mode != interface.mode) {
                self.states.remove(&interface.name);
            }
        }
        self.wanted = wanted;
        // Setting the zones clears the devices of those that change.
        self.written_devices = None;
        commands
    }

    /// Replaces the resolvers.
    pub(crate) fn want_resolvers(&mut self, resolvers: Vec<Resolver>) {
        self.resolvers = resolvers;
        // Others were added before the policy was put into force.
        self.written_resolver_devices = None;
    }

    /// Compares the machine with the wanted state, and returns the commands that close the gap.
    pub(crate) fn observe(&mut self, snapshot: &Snapshot, now: Instant) -> Vec<Command> {
        let mut commands = Vec::new();
        let own = devices::own_addresses(snapshot);
        if self.own_addresses.as_ref() != Some(&own) {
            commands.push(Command::SetOwnAddresses(own.clone()));
            self.own_addresses = Some(own);
        }
        // Zones come before attachments: a program on an interface without a zone judges nothing.
        let zones = self.zones(snapshot);
        if self.written_zones.as_ref() != Some(&zones) {
            commands.push(Command::SetZones(zones.clone()));
            self.written_zones = Some(zones);
            self.written_devices = None;
        }
        let devices = devices::devices_and_senders(&self.wanted, snapshot);
        if self.written_devices.as_ref() != Some(&devices) {
            commands.push(Command::SetDevices(devices.0.clone(), devices.1.clone()));
            self.written_devices = Some(devices);
        }
        let answers = devices::resolver_devices(&self.resolvers, &self.wanted, snapshot);
        if self.written_resolver_devices.as_ref() != Some(&answers) {
            commands.push(Command::SetResolverDevices(answers.clone()));
            self.written_resolver_devices = Some(answers);
        }
        for wanted in &self.wanted {
            let before = self.states.get(&wanted.name);
            let Some(interface) = snapshot.interface(&wanted.name) else {
                if !matches!(before, Some(State::Missing)) {
                    commands.push(Command::Await(wanted.name.clone()));
                    self.states.insert(wanted.name.clone(), State::Missing);
                }
                continue;
            };
            let asked = wanted.mode_on(interface, snapshot);
            let settled = match before {
                Some(State::Attached { index, mode }) => {
                    *index == interface.index
                        && (*mode == Mode::Tc || interface.xdp.is_some())
                        && (*mode, asked) != (Mode::Native, WantedMode::Generic)
                }
                Some(State::Failed { index, retry, .. }) => {
                    *index == interface.index && now < *retry
                }
                Some(State::Missing) | None => false,
            };
            if !settled {
                commands.push(Command::Attach(interface.clone(), asked));
            }
        }
        commands
    }

    /// Returns the wanted state of an interface.
    #[must_use]
    pub(crate) fn wanted(&self, name: &str) -> Option<&EnforcedInterface> {
        self.wanted.iter().find(|wanted| wanted.name == name)
    }

    /// Returns the attached ones of `interfaces`, according to the reconciler's records.
    pub(crate) fn attached_among<'i>(&self, interfaces: &'i [Interface]) -> Vec<&'i Interface> {
        interfaces.iter().filter(|interface| self.is_attached(interface)).collect()
    }

    /// Records that a program was detached from an interface by others, so that it is attached
    /// anew.
    pub(crate) fn lost(&mut self, name: &str) {
        if matches!(self.states.get(name), Some(State::Attached { .. })) {
            self.states.remove(name);
        }
    }

    /// Whether the programs of both directions are attached to an interface.
    #[must_use]
    pub(crate) fn is_attached(&self, interface: &Interface) -> bool {
        let state = self.states.get(&interface.name);
        matches!(state, Some(State::Attached { index, .. }) if *index == interface.index)
    }

    /// Whether something is recorded of an interface with a name.
    pub(crate) fn is_known(&self, name: &str) -> bool {
        self.states.contains_key(name)
    }

    /// Records an attachment to an interface.
    pub(crate) fn attached(&mut self, interface: &Interface, mode: Mode) {
        self.states
            .insert(interface.name.clone(), State::Attached { index: interface.index, mode });
    }

    /// Records a failed attachment. Returns whether the error is new.
    pub(crate) fn failed(&mut self, interface: &Interface, error: String, now: Instant) -> bool {
        let before = self.states.remove(&interface.name);
        let index = interface.index;
        let (wait, is_news) = match &before {
            Some(State::Failed { index: same, wait, error: told, .. }) if *same == index => {
                ((*wait * 2).min(RETRY_INTERVAL), *told != error)
            }
            Some(State::Failed { error: told, .. }) => (FIRST_RETRY, *told != error),
            _ => (FIRST_RETRY, true),
        };
        let state = State::Failed { index, retry: now + wait, wait, error };
        self.states.insert(interface.name.clone(), state);
        is_news
    }

    /// Returns when the next failed attachment is to be tried again.
    #[must_use]
    pub(crate) fn retry_due(&self) -> Option<Instant> {
        let retries = self.states.values().filter_map(|state| match state {
            State::Failed { retry, .. } => Some(*retry),
            _ => None,
        });
        retries.min()
    }

    /// Whether every existing wanted interface is enforced, and at least one exists.
    #[must_use]
    pub(crate) fn is_enforcing(&self) -> bool {
        let mut states = self.wanted.iter().map(|wanted| self.states.get(&wanted.name));
        let settled = states
            .clone()
            .all(|state| matches!(state, Some(State::Attached { .. } | State::Missing)));
        settled && states.any(|state| matches!(state, Some(State::Attached { .. })))
    }

    /// Returns every wanted interface, in the order of the configuration.
    #[must_use]
    pub(crate) fn status(&self) -> Vec<InterfaceStatus> {
        self.wanted
            .iter()
            .map(|wanted| {
                let (mode, error) = match self.states.get(&wanted.name) {
                    Some(State::Attached { mode, .. }) => (Some(*mode), None),
                    Some(State::Failed { error, .. }) => (None, Some(error.clone())),
                    Some(State::Missing) | None => (None, None),
                };
                InterfaceStatus { name: wanted.name.clone(), mode, error }
            })
            .collect()
    }

    /// Returns the zones of the wanted interfaces that exist.
    #[must_use]
    pub(crate) fn zones(&self, snapshot: &Snapshot) -> ZoneMap {
        zones_of(&self.wanted, snapshot)
    }
}

#[cfg(test)]
mod tests;
