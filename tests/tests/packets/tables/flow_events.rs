//! The records of flows that were opened and that have ended.

use intune_filter_ebpf::abi::{Ending, EventKind, Flow, FlowEvent, flow_flags};
use intune_filter_tests::prog_test_run::{
    Addresses, Bed, Datagram, Flags, HookPoint,
    datagram::{CLIENT_MAC, GATEWAY_MAC},
    site,
    state::{Event, now},
};

use crate::{
    run,
    tables::flows::{WEB, back, flows, out},
};

const SECOND: u64 = 1_000_000_000;
const INGRESS: HookPoint = HookPoint::Ingress("eth1");
const EGRESS: HookPoint = HookPoint::Egress("eth1");

/// The records of flows that these frames make.
fn records(filter: &mut dyn Bed, frames: &[(HookPoint, Vec<u8>)]) -> Vec<FlowEvent> {
    for (place, frame) in frames {
        filter.judge(*place, frame).unwrap();
    }
    let flow = |event| match event {
        Event::Flow(flow) => Some(flow),
        _ => None,
    };
    filter.events().into_iter().filter_map(flow).collect()
}

fn endings(records: &[FlowEvent]) -> Vec<Ending> {
    assert!(records.iter().all(|record| record.kind == EventKind::Closed as u32), "{records:?}");
    records.iter().map(|record| Ending::from_number(record.ending).unwrap()).collect()
}

fn change(filter: &dyn Bed, change: impl Fn(&mut Flow)) {
    filter.change_flows(&change).unwrap();
}

fn silent_for(filter: &dyn Bed, seconds: u64) {
    let then = now().unwrap() - seconds * SECOND;
    change(filter, |flow| flow.last_seen = then);
}

fn open(filter: &mut dyn Bed, who: &Addresses) -> Vec<FlowEvent> {
    filter.clear().unwrap();
    let begin = [(INGRESS, out(who, Flags::SYN)), (EGRESS, back(who, Flags::SYN_ACK))];
    records(filter, &begin)
}

#[test]
fn a_connection_is_told_of_when_it_is_opened_and_when_both_sides_have_ended_it() {
    run("", "", |filter| {
        for who in Addresses::both() {
            let started = now().unwrap();
            let [opened] = open(filter, &who)[..] else { panic!("not one record") };
            let length = (out(&who, Flags::SYN).len() - 14) as u64;
            assert!(started <= opened.time && opened.time == opened.flow.opened);
            let flow = Flow {
                opened: opened.time,
                last_seen: opened.time,
                client_packets: 1,
                client_bytes: length,
                client_end: 6,
                generation: 1,
                rule: filter.rule(WEB),
                group: filter.group("lan"),
                client_mac: CLIENT_MAC,
                ..Flow::default()
            };
            let expected = FlowEvent {
                kind: EventKind::Opened as u32,
                time: opened.time,
                flow,
                client: who.client.into(),
                remote: who.web.into(),
                client_port: 40000_u16.to_be(),
                remote_port: 443_u16.to_be(),
                zone: 1,
                protocol: 6,
                ending: Ending::Open as u8,
                ..FlowEvent::default()
            };
            assert_eq!(opened, expected);

            let none = records(
                filter,
                &[(INGRESS, out(&who, Flags::ACK)), (INGRESS, out(&who, Flags::FIN))],
            );
            assert_eq!(none, [], "one side alone ends nothing");
            let [closed] = records(filter, &[(EGRESS, back(&who, Flags::FIN))])[..] else {
                panic!("not one record")
            };
            let flow = Flow {
                client_packets: 3,
                client_bytes: 3 * length,
                remote_packets: 2,
                remote_bytes: 2 * length,
                client_end: 11,
                client_acknowledged: 6,
                remote_end: 11,
                remote_acknowledged: 6,
                flags: flow_flags::CLIENT_FIN
                    | flow_flags::REMOTE_FIN
                    | flow_flags::ANSWERED
                    | flow_flags::REPORTED,
                ..flow
            };
            let (kind, ending) = (EventKind::Closed as u32, Ending::Finished as u8);
            assert_eq!(closed, FlowEvent { kind, ending, time: closed.time, flow, ..expected });
            assert!(closed.time >= opened.time);

            let rest = [
                (INGRESS, out(&who, Flags::ACK)),
                (EGRESS, back(&who, Flags::FIN)),
                (INGRESS, out(&who, Flags::RST)),
            ];
            assert_eq!(records(filter, &rest), [], "an end is told once");
        }
    });
}

#[test]
fn every_way_to_end_is_told_once_and_by_its_name() {
    run("", "", |filter| {
        for who in Addresses::both() {
            for (place, frame) in
                [(EGRESS, back(&who, Flags::RST)), (INGRESS, out(&who, Flags::RST))]
            {
                open(filter, &who);
                let told = records(filter, &[(place, frame)]);
                assert_eq!(endings(&told), [Ending::Reset]);
                let again = records(filter, &[(INGRESS, out(&who, Flags::SYN))]);
                let kinds: Vec<_> = again.iter().map(|record| record.kind).collect();
                assert_eq!(kinds, [EventKind::Opened as u32], "a connection in its place");
            }

            // The clock cannot be set back to before the machine's start.
            if now().unwrap() > 7500 * SECOND {
                open(filter, &who);
                silent_for(filter, 7441);
                let late = (EGRESS, back(&who, Flags::ACK));
                let told = records(filter, &[late.clone(), late]);
                assert_eq!(endings(&told), [Ending::Expired]);
            }
            let ask = Datagram::new(who.client, who.web).echo_request(1).frame();
            filter.clear().unwrap();
            assert_eq!(records(filter, &[(INGRESS, ask.clone())]).len(), 1);
            silent_for(filter, 61);
            let told = records(filter, &[(INGRESS, ask)]);
            let kinds: Vec<_> = told.iter().map(|record| (record.kind, record.ending)).collect();
            let (closed, opened) = (EventKind::Closed as u32, EventKind::Opened as u32);
            assert_eq!(kinds, [(closed, Ending::Expired as u8), (opened, 0)]);
        }
    });
}

#[test]
fn a_flow_that_a_new_policy_ends_is_told_of() {
    run("", "", |filter| {
        for who in Addresses::both() {
            filter.install(&site::config("", "")).unwrap();
            open(filter, &who);
            let without = |text: String| text.replace("services: [core, time]", "services: [time]");
            filter.install(&site::changed_config("", "", without)).unwrap();
            let frame = (INGRESS, out(&who, Flags::ACK));
            let told = records(filter, &[frame.clone(), frame]);
            assert_eq!(endings(&told), [Ending::Revoked]);
            assert_eq!(flows(filter, "FLOWS").len(), 0);
        }
    });
}

#[test]
fn queries_are_no_flows_in_the_records() {
    run("", "", |filter| {
        for who in Addresses::both() {
            filter.clear().unwrap();
            let ask = Datagram::new(who.exempt, who.foreign_resolver).udp(5000, 53, &[0; 20]);
            let frame = (INGRESS, ask.frame());
            assert_eq!(records(filter, &[frame.clone(), frame]), []);
            assert_eq!(flows(filter, "NEW_FLOWS").len(), 1, "its answer has to find its way");
        }
    });
}

#[test]
fn a_flow_from_outside_has_the_hardware_address_that_its_first_frame_goes_to() {
    run("", "", |filter| {
        for who in Addresses::both() {
            filter.clear().unwrap();
            let syn = Datagram::new(who.public, who.server).tcp(999, 22, Flags::SYN).frame();
            let [opened] = records(filter, &[(EGRESS, syn)])[..] else { panic!("not one record") };
            assert_eq!(opened.flow.client_mac, GATEWAY_MAC);
            assert_eq!((opened.flow.far_zone, opened.flow.name_state), (0, [0; 2]));
        }
    });
}
