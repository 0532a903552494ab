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

/// Delay after a failed attachment before the next attempt.
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
    Failed { index: u32, since: Instant, error: String },
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
        let answers = devices::resolver_devices(&self.resolvers, snapshot);
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
            let asked = wanted.mode_on(interface.index, snapshot);
            let settled = match before {
                Some(State::Attached { index, mode }) => {
                    *index == interface.index
                        && (*mode == Mode::Tc || interface.xdp.is_some())
                        && (*mode, asked) != (Mode::Native, WantedMode::Generic)
                }
                Some(State::Failed { index, since, .. }) => {
                    *index == interface.index
                        && now.saturating_duration_since(*since) < RETRY_INTERVAL
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

    /// Records an attachment to an interface.
    pub(crate) fn attached(&mut self, interface: &Interface, mode: Mode) {
        self.states
            .insert(interface.name.clone(), State::Attached { index: interface.index, mode });
    }

    /// Records a failed attachment. Returns whether the error is new.
    pub(crate) fn failed(&mut self, interface: &Interface, error: String, now: Instant) -> bool {
        let state = State::Failed { index: interface.index, since: now, error: error.clone() };
        let before = self.states.insert(interface.name.clone(), state);
        !matches!(before, Some(State::Failed { error: before, .. }) if before == error)
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
mod tests {
    use super::*;

    fn wanted(name: &str) -> EnforcedInterface {
        EnforcedInterface {
            name: name.into(),
            mode: WantedMode::Auto,
            zones: vec![(0, 1), (20, 2)],
            manage_offloads: true,
            denies_other_vlans: false,
        }
    }

    fn interface(name: &str, index: u32) -> Interface {
        Interface { name: name.into(), index, up: true, xdp: None }
    }

    fn attached(mut interface: Interface) -> Interface {
        interface.xdp = Some((7, Mode::Native));
        interface
    }

    fn snapshot(interfaces: &[Interface]) -> Snapshot {
        Snapshot {
            interfaces: interfaces.to_vec(),
            networks: vec![(5, "10.0.0.1/24".parse().unwrap())],
            ..Snapshot::default()
        }
    }

    fn running() -> (InterfaceReconciler, Instant) {
        let (mut reconciler, now) = (InterfaceReconciler::default(), Instant::now());
        assert_eq!(reconciler.want(vec![wanted("lan")], &[]), []);
        reconciler.observe(&snapshot(&[interface("lan", 5)]), now);
        reconciler.attached(&interface("lan", 5), Mode::Native);
        (reconciler, now)
    }

    #[test]
    fn zones_and_addresses_are_in_the_maps_before_anything_is_attached() {
        let (mut reconciler, now) = (InterfaceReconciler::default(), Instant::now());
        reconciler.want(vec![wanted("lan")], &[]);
        let commands =
            reconciler.observe(&snapshot(&[interface("lan", 5), interface("wan", 6)]), now);
        assert_eq!(
            commands,
            [
                Command::SetOwnAddresses([(5, "10.0.0.1".parse().unwrap())].into()),
                Command::SetZones([((5, 0), 1), ((5, 20), 2)].into()),
                Command::SetDevices([(1, 5)].into(), [(5, 1)].into()),
                Command::SetResolverDevices([].into()),
                Command::Attach(interface("lan", 5), WantedMode::Auto),
            ]
        );
        assert!(!reconciler.is_enforcing());
        reconciler.attached(&interface("lan", 5), Mode::Native);
        assert!(reconciler.is_enforcing());
    }

    #[test]
    fn what_is_settled_is_left_alone() {
        let (mut reconciler, now) = running();
        assert_eq!(reconciler.observe(&snapshot(&[attached(interface("lan", 5))]), now), []);
    }

    #[test]
    fn an_interface_that_returns_is_attached_anew_under_its_new_index() {
        let (mut reconciler, now) = running();
        assert_eq!(
            reconciler.observe(&snapshot(&[]), now),
            [
                Command::SetZones(BTreeMap::new()),
                Command::SetDevices([].into(), [].into()),
                Command::Await("lan".into())
            ]
        );
        assert!(!reconciler.is_enforcing());
        assert_eq!(reconciler.observe(&snapshot(&[]), now), []);
        assert_eq!(
            reconciler.observe(&snapshot(&[interface("lan", 9)]), now),
            [
                Command::SetZones([((9, 0), 1), ((9, 20), 2)].into()),
                Command::SetDevices([(1, 9)].into(), [(9, 1)].into()),
                Command::Attach(interface("lan", 9), WantedMode::Auto),
            ]
        );
    }

    #[test]
    fn an_interface_that_was_replaced_between_two_looks_is_attached_anew() {
        let (mut reconciler, now) = running();
        let commands = reconciler.observe(&snapshot(&[attached(interface("lan", 9))]), now);
        assert!(
            commands.contains(&Command::Attach(attached(interface("lan", 9)), WantedMode::Auto))
        );
    }

    #[test]
    fn a_program_that_someone_took_off_is_put_back() {
        let (mut reconciler, now) = running();
        assert_eq!(
            reconciler.observe(&snapshot(&[interface("lan", 5)]), now),
            [Command::Attach(interface("lan", 5), WantedMode::Auto)]
        );
    }

    #[test]
    fn at_tc_no_xdp_program_is_waited_for_and_what_is_lost_is_put_back() {
        let (mut reconciler, now) = (InterfaceReconciler::default(), Instant::now());
        reconciler.want(vec![EnforcedInterface { mode: WantedMode::Tc, ..wanted("lan") }], &[]);
        let seen = snapshot(&[interface("lan", 5)]);
        assert!(
            reconciler
                .observe(&seen, now)
                .contains(&Command::Attach(interface("lan", 5), WantedMode::Tc))
        );
        reconciler.attached(&interface("lan", 5), Mode::Tc);
        assert_eq!(reconciler.observe(&seen, now), []);
        reconciler.lost("lan");
        assert_eq!(
            reconciler.observe(&seen, now),
            [Command::Attach(interface("lan", 5), WantedMode::Tc)]
        );
    }

    #[test]
    fn what_was_lost_is_attached_again_though_another_program_is_there() {
        let (mut reconciler, now) = running();
        let seen = [attached(interface("lan", 5)), interface("wan", 6)];
        assert_eq!(reconciler.attached_among(&seen), [&seen[0]]);
        // An interface with another index is a new one, which is attached anyway.
        assert!(reconciler.attached_among(&[interface("lan", 9)]).is_empty());
        reconciler.lost("lan");
        assert!(!reconciler.is_enforcing() && reconciler.attached_among(&seen).is_empty());
        let again = Command::Attach(seen[0].clone(), WantedMode::Auto);
        assert_eq!(reconciler.observe(&snapshot(&seen[..1]), now), [again]);
        reconciler.attached(&seen[0], Mode::Native);
        assert_eq!(reconciler.observe(&snapshot(&seen[..1]), now), []);
        reconciler.lost("wan");
        assert!(reconciler.is_enforcing());
    }

    #[test]
    fn tags_have_to_be_seen_by_xdp_alone() {
        assert!(wanted("lan").needs_tags());
        assert!(!EnforcedInterface { mode: WantedMode::Tc, ..wanted("lan") }.needs_tags());
        let untagged = EnforcedInterface { zones: vec![(0, 1)], ..wanted("lan") };
        assert!(!untagged.needs_tags());
        let denying = EnforcedInterface { denies_other_vlans: true, ..untagged };
        assert!(denying.needs_tags());
        assert!(!EnforcedInterface { mode: WantedMode::Tc, ..denying }.needs_tags());
    }

    #[test]
    fn a_failed_attachment_is_tried_again_after_a_while_and_is_news_once() {
        let (mut reconciler, now) = (InterfaceReconciler::default(), Instant::now());
        reconciler.want(vec![wanted("lan")], &[]);
        let seen = snapshot(&[interface("lan", 5)]);
        reconciler.observe(&seen, now);
        assert!(reconciler.failed(&interface("lan", 5), "busy".into(), now));
        assert!(!reconciler.is_enforcing());
        assert_eq!(reconciler.observe(&seen, now + RETRY_INTERVAL / 2), []);
        let retry = reconciler.observe(&seen, now + RETRY_INTERVAL);
        assert_eq!(retry, [Command::Attach(interface("lan", 5), WantedMode::Auto)]);
        assert!(!reconciler.failed(&interface("lan", 5), "busy".into(), now + RETRY_INTERVAL));
        assert!(reconciler.failed(&interface("lan", 5), "other".into(), now + RETRY_INTERVAL * 2));
        assert_eq!(reconciler.status()[0].error.as_deref(), Some("other"));
    }

    #[test]
    fn interfaces_that_the_policy_no_longer_names_are_detached() {
        let (mut reconciler, now) = running();
        let linked = ["lan".to_owned(), "old".to_owned()];
        let commands = reconciler.want(vec![wanted("new")], &linked);
        assert_eq!(commands, [Command::Detach("lan".into()), Command::Detach("old".into())]);
        let commands =
            reconciler.observe(&snapshot(&[interface("lan", 5), interface("new", 6)]), now);
        assert_eq!(
            commands,
            [
                Command::SetZones([((6, 0), 1), ((6, 20), 2)].into()),
                Command::SetDevices([(1, 6)].into(), [(6, 1)].into()),
                Command::Attach(interface("new", 6), WantedMode::Auto),
            ]
        );
    }

    #[test]
    fn another_mode_is_another_attachment() {
        let (mut reconciler, now) = running();
        let generic = EnforcedInterface { mode: WantedMode::Generic, ..wanted("lan") };
        reconciler.want(vec![generic], &["lan".into()]);
        assert_eq!(
            reconciler.observe(&snapshot(&[attached(interface("lan", 5))]), now),
            [
                Command::SetDevices([(1, 5)].into(), [(5, 1)].into()),
                Command::Attach(attached(interface("lan", 5)), WantedMode::Generic)
            ]
        );
        // Where a veth peer does not receive native answers.
        let (mut reconciler, native) = (running().0, attached(interface("lan", 5)));
        reconciler.attached(&native, Mode::Native);
        let deaf = Snapshot { deaf: [5].into(), ..snapshot(std::slice::from_ref(&native)) };
        let commands = reconciler.observe(&deaf, now);
        assert!(commands.contains(&Command::Attach(native.clone(), WantedMode::Generic)));
    }

    #[test]
    fn a_missing_interface_does_not_keep_the_others_from_being_enforced() {
        let (mut reconciler, now) = (InterfaceReconciler::default(), Instant::now());
        reconciler.want(vec![wanted("lan"), wanted("spare")], &[]);
        reconciler.observe(&snapshot(&[interface("lan", 5)]), now);
        reconciler.attached(&interface("lan", 5), Mode::Generic);
        assert!(reconciler.is_enforcing());
    }
}
