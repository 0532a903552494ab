//! Packets with a version, a length or an end that is wrong.

use intune_filter_ebpf::abi::Reason::{Malformed, Policy};
use intune_filter_tests::prog_test_run::{
    Addresses, Row, both, check,
    datagram::{ETHERNET, patched},
    expect, from_client,
};

use crate::{
    run_once,
    tables::{gateway, headers, links, other_dns, policy, queries, rejected},
};

/// Packets built field by field.
pub(crate) fn built() -> Vec<Row> {
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
pub(crate) fn broken(whole: &[Row]) -> Vec<Row> {
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

#[test]
fn allowed_packets_that_are_broken_are_malformed() {
    run_once("", "", |filter| check(filter, &broken(&built())));
}
