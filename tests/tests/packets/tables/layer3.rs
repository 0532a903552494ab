//! Packets without an Ethernet header: they begin at the IP header, and the kernel tells their EtherType.

use std::net::IpAddr;

use intune_filter_ebpf::abi::Reason::{
    self, Destination, DnsQuery, DnsUnlisted, EtherType, Flow, Fragment, FragmentAllowed,
    Malformed, Policy, SourceInterface, Unsolicited,
};
use intune_filter_tests::prog_test_run::{
    Bed, Datagram, Flags, HookPoint, Message, check, check_in_order,
    datagram::ETHERNET,
    expect, from_client,
    message::A,
    site::{LAN, changed_config},
    to_client,
};

use crate::run_layer3;

/// Addresses in which the EtherType of their family stands where one is in a frame: see the bed of layer 3.
struct Who {
    client: IpAddr,
    apart: IpAddr,
    web: IpAddr,
    push: IpAddr,
    foreign: IpAddr,
    resolver: IpAddr,
    remote: IpAddr,
}

fn both() -> [Who; 2] {
    let who = |of: [&str; 7]| {
        let [client, apart, web, push, foreign, resolver, remote] =
            of.map(|text| text.parse().expect("an address"));
        Who { client, apart, web, push, foreign, resolver, remote }
    };
    [
        who([
            "8.0.20.10",
            "8.0.66.6",
            "198.51.100.5",
            "198.51.101.5",
            "192.0.2.9",
            "8.0.53.53",
            "8.0.99.9",
        ]),
        who([
            "2001:db8:86dd:20::10",
            "2001:db8:86dd:66::6",
            "2001:db8:100::5",
            "2001:db8:101::5",
            "2001:db8:9::9",
            "2001:db8:86dd:53::53",
            "2001:db8:86dd:99::9",
        ]),
    ]
}

/// Runs a test with clients at layer 3.
fn at_layer3(test: impl Fn(&mut dyn Bed) + Sync) {
    run_layer3("", "", |filter| {
        let config = changed_config("", "", |text| {
            text.replace(
                "[10.20.0.0/24, 'fd00:20::/64']",
                "[10.20.0.0/24, 'fd00:20::/64', 8.0.20.0/24, 8.0.66.0/24, \
                 '2001:db8:86dd:20::/64', '2001:db8:86dd:66::/64']",
            )
            .replace("resolvers: [", "resolvers: [8.0.53.53, '2001:db8:86dd:53::53', ")
        });
        filter.install(&config).expect("the policy goes into the maps");
        test(filter);
    });
}

#[test]
fn packets_are_judged_from_their_ip_header_on() {
    at_layer3(|filter| {
        for who in both() {
            let to = |to| Datagram::new(who.client, to);
            let query = |name| Message::query(1, name, A);
            let ask = |name| to(who.resolver).udp(40000, 53, query(name).octets()).frame();
            check(
                filter,
                &[
                    from_client(
                        "TCP to a network of a rule",
                        to(who.web).tcp(40000, 443, Flags::SYN).frame(),
                        expect(Policy).rule("core/web"),
                    ),
                    from_client(
                        "TCP to elsewhere",
                        to(who.foreign).tcp(40000, 443, Flags::SYN).frame(),
                        expect(Destination),
                    ),
                    from_client("a listed name", ask("portal.core.example"), expect(DnsQuery)),
                    from_client(
                        "an unlisted name",
                        ask("www.example.org"),
                        expect(DnsUnlisted).no_name(),
                    ),
                    from_client(
                        "a source that the routes lead to by another device",
                        Datagram::new(who.apart, who.web).tcp(40000, 443, Flags::SYN).frame(),
                        expect(SourceInterface).rule("core/web"),
                    ),
                    to_client(
                        "a packet that nobody asked for",
                        Datagram::new(who.remote, who.client).udp(443, 40000, &[7; 8]).frame(),
                        expect(Unsolicited),
                    ),
                ],
            );
        }
    });
}

#[test]
fn flows_and_fragments_go_on_without_hardware_addresses() {
    at_layer3(|filter| {
        for who in both() {
            let to = || Datagram::new(who.client, who.web);
            let fragment = |offset, more| {
                let octets = Datagram::new(who.client, who.push).udp(40001, 5223, &[7; 56]).frame();
                let udp = octets[octets.len() - 64..].to_vec();
                let at = usize::from(offset) * 8;
                let part = if more { &udp[..32] } else { &udp[at..] };
                Datagram::new(who.client, who.push).fragment(offset, more).raw(17, part).frame()
            };
            check_in_order(
                filter,
                &[
                    from_client(
                        "the first segment",
                        to().tcp(40000, 443, Flags::SYN).frame(),
                        expect(Policy).rule("core/web"),
                    ),
                    from_client(
                        "the next one",
                        to().tcp(40000, 443, Flags::ACK).frame(),
                        expect(Flow).rule("core/web"),
                    ),
                    from_client("a later fragment first", fragment(4, false), expect(Fragment)),
                    from_client(
                        "the first fragment",
                        fragment(0, true),
                        expect(Policy).rule("core/push"),
                    ),
                    from_client(
                        "the later one again",
                        fragment(4, false),
                        expect(FragmentAllowed).rule("core/push"),
                    ),
                ],
            );
        }
    });
}

/// What the filter reads is what the receiver reads: the kernel takes a packet for what its EtherType
/// says, and drops it if the version in the header is another.
#[test]
fn the_ethertype_and_the_version_have_to_agree() {
    at_layer3(|filter| {
        let frame = |source: &str, version: u8| {
            let source: IpAddr = source.parse().expect("an address");
            let to: IpAddr = "198.51.100.5".parse().expect("an address");
            // Long enough for a test run as either family.
            let mut frame = Datagram::new(source, to).udp(40000, 443, &[7; 64]).frame();
            let in_source = [frame[ETHERNET + 12], frame[ETHERNET + 13]];
            frame[12..14].copy_from_slice(&in_source);
            frame[ETHERNET] = version << 4 | 5;
            frame
        };
        for (description, source, version, reason) in [
            ("IPv4 by its EtherType, IPv6 by its version", "8.0.20.10", 6, Malformed),
            ("IPv6 by its EtherType, IPv4 by its version", "134.221.0.1", 4, Malformed),
            ("no version", "8.0.20.10", 0, Malformed),
            ("the EtherType of ARP", "8.6.0.1", 4, EtherType),
            ("the EtherType of LLDP", "136.204.0.1", 4, EtherType),
            ("a length in place of an EtherType", "0.60.0.1", 4, EtherType),
        ] {
            judged(filter, description, &frame(source, version), reason);
        }
    });
}

/// Judges a frame, and checks the reason that is counted. The program that explains gets frames alone.
fn judged(filter: &mut dyn Bed, description: &str, frame: &[u8], reason: Reason) {
    let counted = |filter: &dyn Bed| {
        let state = filter.counted().expect("counters");
        state.counters[reason as usize].packets
    };
    let before = counted(filter);
    filter.judge(HookPoint::Ingress(LAN), frame).expect("the program runs");
    assert_eq!(counted(filter) - before, 1, "{description}: {reason:?}");
}
