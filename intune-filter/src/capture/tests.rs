use std::{net::IpAddr, sync::OnceLock};

use etherparse::PacketBuilder;
use proptest::prelude::*;

use super::{
    error::Fault,
    follow::{Follower, follow},
};
use crate::{
    catalogue::Catalogue,
    config::Config,
    policy::{Policy, RuleBits, compile},
    report::CapturedVerdicts,
    simulation::{Simulation, Site},
};

const CONFIG: &str = "
interfaces: [{name: lan}]
clients: [{name: all, networks: [10.0.0.0/24, 'fd00::/64'], services: [site]}]
dns: {resolvers: [10.0.0.1, 'fd00::1']}
services: [{id: site, fqdns: ['*.test'], cidrs: [20.0.0.0/24], tcp: [443], udp: [53, 443]}]
";

fn parts() -> &'static (Config, Policy) {
    static PARTS: OnceLock<(Config, Policy)> = OnceLock::new();
    PARTS.get_or_init(|| {
        let config = Config::parse("test", CONFIG).unwrap();
        let policy = compile(&config, Catalogue::builtin(), &RuleBits::new()).unwrap();
        (config, policy)
    })
}

fn follower() -> Follower {
    let (config, policy) = parts();
    let simulation = Simulation::of_policy(config, policy, &Site::Elsewhere).unwrap();
    Follower::new(simulation, std::iter::empty::<(IpAddr, String)>(), None)
}

/// A pcap file with these packets of Ethernet, a second apart.
fn pcap(packets: &[Vec<u8>]) -> Vec<u8> {
    let mut file = 0xa1b2_c3d4_u32.to_le_bytes().to_vec();
    file.extend([2, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 4, 0, 1, 0, 0, 0]);
    for (second, octets) in (0_u32..).zip(packets) {
        file.extend([second.to_le_bytes(), [0; 4]].concat());
        file.extend([(octets.len() as u32).to_le_bytes(); 2].concat());
        file.extend(octets);
    }
    file
}

fn packets() -> Vec<Vec<u8>> {
    let from = |client: [u8; 4], to: [u8; 4]| {
        PacketBuilder::ethernet2([2, 0, 0, 0, 0, 1], [2, 0, 0, 0, 0, 2]).ipv4(client, to, 64)
    };
    let (client, server, resolver) = ([10, 0, 0, 5], [20, 0, 0, 1], [10, 0, 0, 1]);
    let write = |builder: etherparse::PacketBuilderStep<etherparse::TcpHeader>| {
        let mut frame = Vec::new();
        builder.write(&mut frame, b"data").unwrap();
        frame
    };
    let mut query = vec![7, 7, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0, 1, b'a', 4];
    query.extend(b"test\0\0\x01\0\x01");
    let mut answer = query.clone();
    answer[2..8].copy_from_slice(&[0x81, 0x80, 0, 1, 0, 1]);
    answer.extend([0xc0, 12, 0, 1, 0, 1, 0, 0, 1, 0, 0, 4, 30, 0, 0, 1]);
    let mut asked = Vec::new();
    from(client, resolver).udp(5353, 53).write(&mut asked, &query).unwrap();
    let mut answered = Vec::new();
    from(resolver, client).udp(53, 5353).write(&mut answered, &answer).unwrap();
    vec![
        asked,
        answered,
        write(from(client, server).tcp(5000, 443, 1, 100).syn()),
        write(from(server, client).tcp(443, 5000, 1, 100).syn().ack(2)),
        write(from(client, [30, 0, 0, 1]).tcp(5001, 443, 1, 100).syn()),
        write(from(client, [40, 0, 0, 1]).tcp(5002, 443, 1, 100).syn()),
    ]
}

fn followed(file: &[u8]) -> Result<CapturedVerdicts, super::CaptureError> {
    follow(follower(), std::io::Cursor::new(file.to_vec()))
}

#[test]
fn names_are_learned_and_flows_followed() {
    let told = followed(&pcap(&packets())).unwrap();
    let row = |name: Option<&str>, port| {
        let is_it = |row: &&crate::report::CapturedTraffic| {
            row.name.as_deref() == name && row.port == Some(port)
        };
        told.traffic.iter().find(is_it).unwrap_or_else(|| panic!("{name:?} {port}: {told:#?}"))
    };
    assert_eq!(row(Some("a.test"), 443).reason, "policy");
    assert_eq!(row(Some("a.test"), 53).reason, "dns_query");
    let denied = &told.traffic[0];
    assert_eq!((denied.reason.as_str(), denied.address), ("destination", "40.0.0.1".parse().ok()));
    assert_eq!((told.packets, told.totals.denied, told.totals.allowed), (6, 1, 5));
}

#[test]
fn times_that_leap_or_go_back_move_no_clock() {
    let mut file = pcap(&packets());
    let second = 24 + 16 + packets()[0].len();
    file[second..second + 4].copy_from_slice(&u32::MAX.to_le_bytes());
    let told = followed(&file).unwrap();
    assert_eq!((told.duration_ms, told.totals.denied), (5000, 1));
}

#[test]
fn a_capture_that_ends_too_early_is_told_where() {
    let file = pcap(&packets());
    let error = followed(&file[..file.len() - 1]).unwrap_err();
    let last = packets().last().unwrap().len() + 16;
    assert_eq!((error.offset, error.fault), ((file.len() - last) as u64, Fault::Truncated));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(cases()))]

    #[test]
    fn mutations_never_panic(
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..24),
        cut in prop::option::of(any::<prop::sample::Index>()),
    ) {
        let mut file = pcap(&packets());
        for (at, octet) in changes {
            let at = at.index(file.len());
            file[at] = octet;
        }
        if let Some(cut) = cut {
            file.truncate(cut.index(file.len()));
        }
        let _ = followed(&file);
    }

    #[test]
    fn mutated_packets_never_panic(
        changes in prop::collection::vec((0_usize..6, any::<prop::sample::Index>(), any::<u8>()), 1..24),
    ) {
        let mut packets = packets();
        for (packet, at, octet) in changes {
            let at = at.index(packets[packet].len());
            packets[packet][at] = octet;
        }
        prop_assert!(followed(&pcap(&packets)).is_ok());
    }
}

/// Cases of each property: a hundredth of `INTUNE_CASES`, or so many.
fn cases() -> u32 {
    let wanted: Option<u32> = std::env::var("INTUNE_CASES").ok().and_then(|text| text.parse().ok());
    wanted.map_or(200, |cases| cases / 100)
}
