//! Tests the reconciler by snapshots of the machine and the commands that follow.

use super::*;

fn wanted(name: &str) -> EnforcedInterface {
    EnforcedInterface::bare(name, &[(0, 1), (20, 2)])
}

fn interface(name: &str, index: u32) -> Interface {
    Interface::bare(name, index)
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
    let commands = reconciler.observe(&snapshot(&[interface("lan", 5), interface("wan", 6)]), now);
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
    assert!(commands.contains(&Command::Attach(attached(interface("lan", 9)), WantedMode::Auto)));
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
    assert_eq!(reconciler.observe(&seen, now + FIRST_RETRY / 2), []);
    assert_eq!(reconciler.retry_due(), Some(now + FIRST_RETRY));
    let retry = reconciler.observe(&seen, now + FIRST_RETRY);
    assert_eq!(retry, [Command::Attach(interface("lan", 5), WantedMode::Auto)]);
    let mut at = now + FIRST_RETRY;
    assert!(!reconciler.failed(&interface("lan", 5), "busy".into(), at));
    assert_eq!(reconciler.retry_due(), Some(at + FIRST_RETRY * 2));
    for _ in 0..9 {
        at += RETRY_INTERVAL;
        assert!(!reconciler.failed(&interface("lan", 5), "busy".into(), at));
    }
    assert_eq!(reconciler.retry_due(), Some(at + RETRY_INTERVAL));
    // Another interface of the name begins anew.
    assert!(reconciler.failed(&interface("lan", 7), "other".into(), at));
    assert_eq!(reconciler.retry_due(), Some(at + FIRST_RETRY));
    assert_eq!(reconciler.status()[0].error.as_deref(), Some("other"));
    reconciler.attached(&interface("lan", 7), Mode::Native);
    assert_eq!(reconciler.retry_due(), None);
}

#[test]
fn interfaces_that_the_policy_no_longer_names_are_detached() {
    let (mut reconciler, now) = running();
    let linked = ["lan".to_owned(), "old".to_owned()];
    let commands = reconciler.want(vec![wanted("new")], &linked);
    assert_eq!(commands, [Command::Detach("lan".into()), Command::Detach("old".into())]);
    let commands = reconciler.observe(&snapshot(&[interface("lan", 5), interface("new", 6)]), now);
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
