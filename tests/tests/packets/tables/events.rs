//! The records of denied packets.

use intune_filter_ebpf::abi::{DeniedEvent, EventKind, Explanation, Reason, RuleMask};
use intune_filter_tests::prog_test_run::{
    Addresses, Bed, Datagram, Flags, HookPoint,
    datagram::TAG,
    site::VLAN,
    state::{Event, now},
};

use crate::run;

fn only_event(filter: &mut dyn Bed, place: HookPoint, frame: &[u8]) -> DeniedEvent {
    filter.clear().unwrap();
    filter.judge(place, frame).unwrap();
    // A packet that is audited opens a flow as well.
    let mut events = filter.events();
    events.retain(|event| !matches!(event, Event::Flow(_)));
    match events[..] {
        [Event::Denied(event)] => event,
        ref other => panic!("{other:?}"),
    }
}

#[test]
fn a_record_says_what_was_denied() {
    run("", "", |filter| {
        let index = filter.index("eth1").unwrap();
        let other = RuleMask::of(filter.rule("other/web"));
        let group = |name| u16::from(filter.group(name));
        let (lan, audited, tagged) = (group("lan"), group("audited"), group("tagged"));
        for who in Addresses::both() {
            let started = now().unwrap();
            let foreign = |source| Datagram::new(source, who.foreign).tcp(40000, 443, Flags::SYN);
            let common = DeniedEvent {
                kind: EventKind::Denied as u32,
                ifindex: index,
                rules: other,
                source: who.client.into(),
                destination: who.foreign.into(),
                source_port: 40000_u16.to_be(),
                destination_port: 443_u16.to_be(),
                zone: 1,
                group: lan,
                protocol: 6,
                reason: Reason::Service as u8,
                ..DeniedEvent::default()
            };
            let ingress = HookPoint::Ingress("eth1");
            let answer = Datagram::new(who.public, who.client).udp(7, 8, b"x");
            let cases = [
                (ingress, foreign(who.client), common),
                (ingress, foreign(who.audited), {
                    DeniedEvent { source: who.audited.into(), group: audited, audited: 1, ..common }
                }),
                (ingress, foreign(who.tagged).tag(TAG, VLAN), {
                    DeniedEvent { source: who.tagged.into(), group: tagged, zone: 2, ..common }
                }),
                (
                    ingress,
                    foreign(who.unlisted),
                    DeniedEvent {
                        source: who.unlisted.into(),
                        group: 255,
                        rules: RuleMask::EMPTY,
                        reason: Reason::UnlistedClient as u8,
                        ..common
                    },
                ),
                (
                    HookPoint::Egress("eth1"),
                    answer,
                    DeniedEvent {
                        source: who.public.into(),
                        destination: who.client.into(),
                        source_port: 7_u16.to_be(),
                        destination_port: 8_u16.to_be(),
                        protocol: 17,
                        rules: RuleMask::EMPTY,
                        reason: Reason::Unsolicited as u8,
                        egress: 1,
                        ..common
                    },
                ),
            ];
            for (place, datagram, expected) in cases {
                let event = only_event(filter, place, &datagram.frame());
                assert!(started <= event.time && event.time <= now().unwrap());
                assert_eq!(DeniedEvent { time: 0, ..event }, expected);
            }
        }
    });
}

#[test]
fn an_explanation_names_the_group() {
    run("", "", |filter| {
        for who in Addresses::both() {
            for (source, group) in [
                (who.client, Some("lan")),
                (who.audited, Some("audited")),
                (who.exempt, Some("exempt")),
                (who.server, Some("servers")),
                (who.unlisted, None),
            ] {
                for destination in [who.web, who.foreign, who.public, who.foreign_resolver] {
                    let frame = Datagram::new(source, destination).tcp(1, 53, Flags::SYN).frame();
                    let explained: Explanation = filter.explain("eth1", &frame).unwrap();
                    let expected = group.map(|group| filter.group(group));
                    assert_eq!(explained.group, expected, "{source} to {destination}");
                }
            }
        }
    });
}
