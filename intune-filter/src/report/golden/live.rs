//! Tests the JSON of `clients`, `services`, `names`, `flows`, `events` and `explain --pcap`.

use super::{
    compare, compare_both_ways,
    values::{address, full_denial, full_flow, place, sparse_flow, time, traffic},
};
use crate::{
    events::{Closed, Denied, Event, Learned, Traffic, What, ZoneName},
    report::{
        CaptureExplained, CapturedTotals, CapturedTraffic, CapturedVerdicts, Client, EventLine,
        Judged, LastDenied, LearnedAddress, LiveFlow, SCHEMA, ServiceTraffic,
    },
};

#[test]
fn clients() {
    let denial = LastDenied {
        reason: "port".into(),
        destination: Some(address("192.0.2.9")),
        port: Some(22),
        protocol: "tcp".into(),
        name: Some("a.example".into()),
        ago_s: 6,
    };
    let bare = LastDenied { destination: None, port: None, name: None, ..denial.clone() };
    let full = Client {
        client: address("10.20.0.10"),
        place: place(),
        group: Some("devices".into()),
        flows: 2,
        traffic: traffic(),
        denied: Some(5),
        audited: Some(1),
        last_seen_s: 4,
        last_denied: Some(denial),
    };
    let sparse = Client {
        place: ZoneName::default(),
        group: None,
        flows: 0,
        traffic: Traffic::default(),
        denied: None,
        audited: None,
        last_denied: None,
        ..full.clone()
    };
    compare("clients", &[full, Client { last_denied: Some(bare), ..sparse.clone() }]);
    compare("clients-sparse", &[sparse]);
}

#[test]
fn services() {
    let id = "web".to_owned();
    compare(
        "services",
        &[ServiceTraffic { id, packets: 4, bytes: 20, flows: 2, denied: 1, audited: 3 }],
    );
}

#[test]
fn names() {
    let full = LearnedAddress {
        name: Some("a.example".into()),
        address: address("192.0.2.1"),
        services: ["core".to_owned(), "push".to_owned()].into(),
        expires_in_s: 40,
    };
    let sparse = LearnedAddress {
        name: None,
        address: address("2001:db8::1"),
        services: Default::default(),
        expires_in_s: 0,
    };
    compare("names", &[full]);
    compare("names-sparse", &[sparse]);
}

#[test]
fn flows() {
    let live = |flow, state| LiveFlow { flow, state, traffic: traffic(), age_s: 9000, idle_s: 7 };
    let full = ["new", "established", "closing"].map(|state| live(full_flow(), state));
    compare("flows", &full);
    compare("flows-sparse", &[live(sparse_flow(), "new")]);
}

#[test]
fn events() {
    let learned = Learned {
        name: "a.example".into(),
        addresses: vec![address("192.0.2.1"), address("2001:db8::1")],
        targets: vec!["t.example".into()],
        services: vec!["web".into()],
        client: address("10.20.0.10"),
        expires_in_s: 330,
    };
    let closed =
        Closed { flow: full_flow(), traffic: traffic(), ending: "expired".into(), duration_s: 1.5 };
    let line = |what| EventLine { schema: SCHEMA, event: Event { time: time(), what } };
    let full = [
        What::Denied(full_denial()),
        What::Learned(learned.clone()),
        What::Full(learned.clone()),
        What::Conflict(Learned { targets: Vec::new(), ..learned.clone() }),
        What::Opened(full_flow()),
        What::Closed(closed),
        What::Lost { count: 3 },
    ];
    compare_both_ways("events", &full.map(line).to_vec());
    let Denied { protocol, reason, .. } = full_denial();
    let denied = Denied { protocol, reason, ..Denied::default() };
    let (addresses, targets, services) = Default::default();
    let nothing = Learned { addresses, targets, services, ..learned };
    let sparse = [What::Denied(denied), What::Full(nothing), What::Opened(sparse_flow())].map(line);
    compare_both_ways("events-sparse", &sparse.to_vec());
}

#[test]
fn capture() {
    let row = CapturedTraffic {
        client: address("10.0.0.5"),
        group: Some("devices".into()),
        name: Some("x.a.test".into()),
        address: None,
        protocol: "tcp".into(),
        port: Some(443),
        to_client: false,
        verdict: "allow".into(),
        policy_verdict: "deny".into(),
        audited: true,
        reason: "port".into(),
        rule: Some("web/main".into()),
        packets: 3,
        octets: 180,
        first_ms: 12,
        last_ms: 4567,
    };
    let sparse = CapturedTraffic {
        group: None,
        name: None,
        address: "192.0.2.1".parse().ok(),
        port: None,
        rule: None,
        ..row.clone()
    };
    let explained = CaptureExplained {
        schema: SCHEMA,
        judged: Judged::File,
        edition: "2026-08".into(),
        notes: vec!["no daemon runs".into()],
        verdicts: CapturedVerdicts {
            packets: 9,
            octets: 700,
            duration_ms: 4567,
            totals: CapturedTotals { allowed: 1, audited: 6, denied: 0 },
            outside: 1,
            other: 1,
            cut: 1,
            segments: 0,
            forgotten: 0,
            left_out: 0,
            traffic: vec![row, sparse],
        },
    };
    compare("explain-pcap", &explained);
}
