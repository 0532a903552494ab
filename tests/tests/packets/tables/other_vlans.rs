//! The configuration's `other_vlans`: tags that no zone has.

use intune_filter_ebpf::abi::{
    DeniedEvent, EventKind,
    Reason::{self, GatewaySent, Malformed, OtherVlan, Policy, Unmanaged, VlanTag},
};
use intune_filter_tests::prog_test_run::{
    Addresses, Datagram, Flags, HookPoint, Row, both, check,
    datagram::{SERVICE_TAG, TAG, frame_of},
    expect, from_client,
    site::VLAN,
    state::Event,
    to_client,
};

use crate::run;

/// A VLAN of no zone.
const FOREIGN: u16 = 30;

/// What clients send, and what is forwarded to them, with a tag that no zone has.
fn foreign(who: &Addresses, reason: Reason) -> Vec<Row> {
    let allowed = || Datagram::new(who.client, who.web).tcp(40000, 443, Flags::SYN);
    let tagged = |tag| allowed().tag(TAG, tag).frame();
    let to_gateway = Datagram::new(who.client, who.gateway).tcp(40000, 22, Flags::SYN);
    let query = Datagram::new(who.client, who.gateway).udp(40000, 53, b"no message");
    let answer = || Datagram::new(who.web, who.client).tcp(443, 40000, Flags::ACK);
    let arp = [&FOREIGN.to_be_bytes()[..], &0x0806_u16.to_be_bytes(), &[0; 28]].concat();
    vec![
        from_client("allowed in the untagged zone", tagged(FOREIGN), expect(reason)),
        from_client("the greatest id", tagged(4094), expect(reason)),
        from_client("a reserved id", tagged(0xfff), expect(reason)),
        from_client("with a priority", tagged(0xe000 | FOREIGN), expect(reason)),
        from_client("a service tag", allowed().tag(SERVICE_TAG, FOREIGN).frame(), expect(reason)),
        from_client(
            "around a VLAN of a zone",
            allowed().tag(TAG, FOREIGN).tag(TAG, VLAN).frame(),
            expect(reason),
        ),
        from_client(
            "an exempt source",
            {
                let datagram = Datagram::new(who.exempt, who.public).tcp(40000, 443, Flags::SYN);
                datagram.tag(TAG, FOREIGN).frame()
            },
            expect(reason),
        ),
        from_client("to the gateway", to_gateway.tag(TAG, FOREIGN).frame(), expect(reason)),
        from_client("to a resolver", query.tag(TAG, FOREIGN).frame(), expect(reason)),
        from_client("ARP", frame_of(TAG, &arp), expect(reason)),
        from_client("a zone's VLAN elsewhere", tagged(VLAN), expect(reason)).on_other(),
        to_client("forwarded", answer().tag(TAG, FOREIGN).frame(), expect(reason)),
        to_client("forwarded elsewhere", answer().tag(TAG, VLAN).frame(), expect(reason))
            .on_other(),
    ]
}

/// What `other_vlans` leaves alone.
fn others(who: &Addresses) -> Vec<Row> {
    let syn = |source| Datagram::new(source, who.web).tcp(40000, 443, Flags::SYN);
    let web = || expect(Policy).rule("core/web");
    let cut = frame_of(TAG, &FOREIGN.to_be_bytes());
    vec![
        from_client("untagged", syn(who.client).frame(), web()),
        from_client("a priority alone", syn(who.client).tag(TAG, 0xe000).frame(), web()),
        from_client("a zone's VLAN", syn(who.tagged).tag(TAG, VLAN).frame(), web()),
        from_client(
            "a second tag in a zone's VLAN",
            syn(who.tagged).tag(TAG, VLAN).tag(TAG, FOREIGN).frame(),
            expect(VlanTag),
        ),
        from_client("half a tag", cut, expect(Malformed).silent()),
    ]
}

fn sent(who: &Addresses, reason: Reason) -> Row {
    let frame = Datagram::new(who.gateway, who.client).tag(TAG, FOREIGN).tcp(22, 40000, Flags::ACK);
    to_client("sent by the gateway", frame.frame(), expect(reason)).sent_by_gateway()
}

#[test]
fn tags_of_no_zone_pass_or_are_denied() {
    for (choice, reason, own) in [
        ("", Unmanaged, Unmanaged),
        ("other_vlans: pass", Unmanaged, Unmanaged),
        ("other_vlans: deny", OtherVlan, GatewaySent),
    ] {
        run("", choice, |filter| {
            let rows = both(|who| {
                let mut rows = foreign(who, reason);
                rows.extend(others(who));
                rows.push(sent(who, own));
                rows
            });
            check(filter, &rows);
        });
    }
}

/// Untagged frames of an interface that has tags alone are of no zone, and have no tag.
#[test]
fn untagged_frames_of_no_zone_pass() {
    run("", "other_vlans: deny", |filter| {
        let mut zones = filter.zones().unwrap();
        zones.retain(|(_, vlan), _| *vlan != 0);
        filter.set_zones(&zones).unwrap();
        let rows = both(|who| {
            let syn = || Datagram::new(who.client, who.public).tcp(40000, 443, Flags::SYN);
            vec![
                from_client("untagged", syn().frame(), expect(Unmanaged)),
                from_client("a priority alone", syn().tag(TAG, 0xe000).frame(), expect(Unmanaged)),
                from_client(
                    "a VLAN behind a priority",
                    syn().tag(TAG, 0).tag(TAG, FOREIGN).frame(),
                    expect(VlanTag).silent(),
                ),
                from_client("a VLAN", syn().tag(TAG, FOREIGN).frame(), expect(OtherVlan)),
            ]
        });
        check(filter, &rows);
    });
}

#[test]
fn a_record_has_the_vlan() {
    run("", "other_vlans: deny", |filter| {
        let index = filter.index("eth1").unwrap();
        for who in Addresses::both() {
            let frame = Datagram::new(who.client, who.web).tag(TAG, 0xe000 | FOREIGN);
            let frame = frame.tcp(40000, 443, Flags::SYN).frame();
            for (place, egress) in [(HookPoint::Ingress("eth1"), 0), (HookPoint::Egress("eth1"), 1)]
            {
                filter.clear().unwrap();
                filter.judge(place, &frame).unwrap();
                let [Event::Denied(event)] = filter.events()[..] else { panic!("one record") };
                let expected = DeniedEvent {
                    kind: EventKind::Denied as u32,
                    ifindex: index,
                    group: 255,
                    reason: OtherVlan as u8,
                    egress,
                    vlan: FOREIGN.into(),
                    ..DeniedEvent::default()
                };
                assert_eq!(DeniedEvent { time: 0, ..event }, expected);
            }
        }
    });
}
