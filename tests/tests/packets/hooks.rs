//! One table, three hooks: what a driver's XDP, the network stack's and TC make of every packet is
//! the same, and what was expected.

use intune_filter_ebpf::abi::Reason::{Malformed, Policy};
use intune_filter_tests::prog_test_run::{
    Addresses, IngressHook, Row, both, datagram::patched, expect, from_client, run_at, site::config,
};

use crate::tables::{gateway, headers, links, other_dns, policy, queries, rejected};

/// Packets that the table has at least.
const ENOUGH: usize = 300;
const ETHERNET: usize = 14;

/// Packets built field by field.
fn built() -> Vec<Row> {
    let [four, six] = Addresses::both();
    [
        both(policy::allowed),
        both(policy::denied),
        both(gateway::to_every_address),
        both(headers::frames),
        both(headers::lengths),
        headers::options(&four),
        headers::extensions(&six),
        links::link_scope4(&four),
        links::link_scope6(&six),
        links::tunnels4(&four),
        links::tunnels6(&six),
        both(links::tunnels),
        both(queries::names),
        both(queries::malformed),
        both(queries::whole),
        both(queries::others),
        both(other_dns::by_port),
        both(other_dns::by_name),
        both(rejected::denied),
    ]
    .concat()
}

/// The octets of allowed packets with a version, a length or an end that is wrong.
fn broken(whole: &[Row]) -> Vec<Row> {
    let mut rows = Vec::new();
    for row in whole.iter().filter(|row| row.expected.reason == Policy) {
        let frame = &row.frame;
        let (header, length) = match frame[12..ETHERNET] {
            [8, 0] => (20, 2),
            [0x86, 0xdd] => (40, 4),
            _ => continue,
        };
        let field = ETHERNET + length;
        let said = u16::from_be_bytes([frame[field], frame[field + 1]]);
        let fixed = if header == 40 { header } else { 0 };
        // What is padded can lose its end, and be said to be longer.
        if frame.len() != ETHERNET + fixed + usize::from(said) {
            continue;
        }
        let (version, longer) = (frame[ETHERNET], (said + 1).to_be_bytes());
        for (what, frame) in [
            ("no version", patched(frame.clone(), ETHERNET, &[version & 0x0f])),
            ("another version", patched(frame.clone(), ETHERNET, &[version ^ 0x80])),
            ("a length of one more", patched(frame.clone(), field, &longer)),
            ("nothing but Ethernet", frame[..ETHERNET].to_vec()),
            ("half an IP header", frame[..ETHERNET + header / 2].to_vec()),
            ("an IP header alone", frame[..ETHERNET + header].to_vec()),
            ("one octet less", frame[..frame.len() - 1].to_vec()),
        ] {
            let description = format!("{}: {what}", row.description);
            rows.push(from_client(description, frame, expect(Malformed)));
        }
    }
    rows
}

/// What each of the packets meets at a hook, from an empty state.
fn observe(hook: IngressHook, rows: &[Row]) -> Vec<[String; 3]> {
    let mut observed = Vec::new();
    run_at(hook, "", "", |filter| {
        filter.install(&config("", "")).unwrap();
        filter.attach().unwrap();
        for row in rows {
            filter.clear().unwrap();
            let one = row.observe(filter);
            observed.push(
                one.unwrap_or_else(|error| [format!("{error:#}"), String::new(), String::new()]),
            );
        }
    });
    observed
}

#[test]
fn every_packet_gets_one_verdict_at_every_hook() {
    let built = built();
    let broken = broken(&built);
    println!("the table has {} packets built, and {} broken", built.len(), broken.len());
    let rows = [built, broken].concat();
    let rows: Vec<Row> = rows.into_iter().filter(Row::is_ingress).collect();
    println!("{} of them come in", rows.len());
    assert!(rows.len() >= ENOUGH, "{} packets", rows.len());
    let mut report = String::new();
    for hook in IngressHook::ALL {
        for (row, observed) in rows.iter().zip(observe(hook, &rows)) {
            let expected = row.prediction();
            if observed != expected {
                let what = &row.description;
                report += &format!("{what} at {hook:?}: {observed:?}, expected {expected:?}\n");
            }
        }
    }
    assert!(report.is_empty(), "packets that are not judged as expected:\n{report}");
}
