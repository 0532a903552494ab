//! Frames and headers: what parses, what does not, and what hides something.

use intune_filter_ebpf::abi::Reason::{
    self, EtherType, Link, Malformed, Policy, Protocol, Source, SourceRoute, Unmanaged, VlanTag,
};
use intune_filter_tests::prog_test_run::{
    Addresses, Datagram, Flags, Row, both, check,
    datagram::{ETHERNET, SERVICE_TAG, TAG, frame_of, patched},
    expect, from_client,
    site::VLAN,
};

use crate::run;

const WEB: &str = "core/web";

fn syn(who: &Addresses) -> Datagram {
    Datagram::new(who.client, who.web).tcp(40000, 443, Flags::SYN)
}

/// Frames and their tags.
pub(crate) fn frames(who: &Addresses) -> Vec<Row> {
    let tagged = Datagram::new(who.tagged, who.web).tcp(40000, 443, Flags::SYN);
    let half = patched(frame_of(TAG, &[0, 20, 8]), 12, &TAG.to_be_bytes());
    vec![
        from_client("a VLAN of no zone", syn(who).tag(TAG, 30).frame(), expect(Unmanaged)),
        from_client(
            "a priority tag on the untagged zone",
            syn(who).tag(TAG, 0xe000).frame(),
            expect(Policy).rule(WEB),
        ),
        from_client(
            "priority bits beside the VLAN",
            tagged.clone().tag(TAG, 0xe000 | VLAN).frame(),
            expect(Policy).rule(WEB),
        ),
        from_client(
            "a service tag of the VLAN",
            tagged.clone().tag(SERVICE_TAG, VLAN).frame(),
            expect(Policy).rule(WEB),
        ),
        from_client(
            "a second tag",
            tagged.clone().tag(SERVICE_TAG, VLAN).tag(TAG, 30).frame(),
            expect(VlanTag),
        ),
        from_client(
            "the VLAN behind a priority tag",
            tagged.clone().tag(TAG, 0).tag(TAG, VLAN).frame(),
            expect(VlanTag),
        ),
        from_client(
            "a priority tag behind the VLAN",
            tagged.clone().tag(TAG, VLAN).tag(TAG, 0).frame(),
            expect(VlanTag),
        ),
        from_client(
            "three tags",
            tagged.tag(TAG, VLAN).tag(TAG, 1).tag(TAG, 2).frame(),
            expect(VlanTag),
        ),
        from_client("half a tag", half, expect(Malformed).silent()),
        from_client("PPPoE", frame_of(0x8864, &[0; 46]), expect(EtherType)),
        from_client("PPPoE discovery", frame_of(0x8863, &[0; 46]), expect(EtherType)),
        from_client("MPLS", frame_of(0x8847, &[0; 46]), expect(EtherType)),
        from_client("MACsec", frame_of(0x88e5, &[0; 46]), expect(EtherType)),
        from_client("IPX", frame_of(0x8137, &[0; 46]), expect(EtherType)),
        from_client("a local experiment", frame_of(0x88b5, &[0; 46]), expect(EtherType)),
        from_client("the first EtherType", frame_of(0x0600, &[0; 46]), expect(EtherType)),
        from_client("LLC", frame_of(0x05dc, &[0; 46]), expect(Link)),
        from_client("ARP", frame_of(0x0806, &[0; 28]), expect(Link)),
        from_client("EAPOL", frame_of(0x888e, &[0; 46]), expect(Link)),
        from_client("LLDP", frame_of(0x88cc, &[0; 46]), expect(Link)),
    ]
}

#[test]
fn frames_are_judged_by_their_tags_and_ethertype() {
    run("", "", |filter| check(filter, &both(frames)));
}

/// Linux takes priorities off until it finds a VLAN's tag: one that is judged would be reached from
/// where nothing is.
#[test]
fn no_vlan_hides_behind_a_priority() {
    run("", "", |filter| {
        let mut zones = filter.zones().unwrap();
        zones.retain(|(_, vlan), _| *vlan != 0);
        filter.set_zones(&zones).unwrap();
        let rows = both(|who| {
            let tagged = |tags: &[u16]| {
                let datagram = Datagram::new(who.tagged, who.public).tcp(40000, 443, Flags::SYN);
                tags.iter().fold(datagram, |datagram, tag| datagram.tag(TAG, *tag)).frame()
            };
            let service = syn(who).tag(SERVICE_TAG, 0).tag(TAG, VLAN).frame();
            let hidden = |what, frame| from_client(what, frame, expect(VlanTag).silent());
            vec![
                from_client("untagged", tagged(&[]), expect(Unmanaged)),
                from_client("a priority alone", tagged(&[0xe000]), expect(Unmanaged)),
                from_client("the VLAN", tagged(&[VLAN]), expect(Reason::Destination)),
                hidden("the VLAN behind a priority", tagged(&[0, VLAN])),
                hidden("with priority bits", tagged(&[0xe000, 0xe000 | VLAN])),
                hidden("behind two", tagged(&[0, 0, VLAN])),
                hidden("behind a service tag's", service),
                hidden("another VLAN behind a priority", tagged(&[0, 30])),
                from_client("the VLAN in another", tagged(&[30, VLAN]), expect(Unmanaged)),
            ]
        });
        check(filter, &rows);
    });
}

/// Lengths that contradict each other.
pub(crate) fn lengths(who: &Addresses) -> Vec<Row> {
    let v4 = who.client.is_ipv4();
    let transport = ETHERNET + if v4 { 20 } else { 40 };
    let at = |offset: usize, octets: &[u8]| patched(syn(who).frame(), offset, octets);
    let to = || Datagram::new(who.client, who.web);
    let ntp = || Datagram::new(who.client, who.ntp).udp(123, 123, b"1234").frame();
    let mut rows = vec![
        ("no version", at(ETHERNET, &[0x05])),
        ("version 5", at(ETHERNET, &[0x55])),
        ("the other family's version", at(ETHERNET, &[if v4 { 0x65 } else { 0x40 }])),
        ("the other family's EtherType", at(12, if v4 { &[0x86, 0xdd] } else { &[8, 0] })),
        ("no header", frame_of(if v4 { 0x0800 } else { 0x86dd }, &[])),
        ("a TCP header of 16 octets", at(transport + 12, &[0x40])),
        ("a TCP header without octets", at(transport + 12, &[0])),
        ("a TCP header beyond the end", at(transport + 12, &[0xf0])),
        ("a TCP header cut off", to().raw(6, &[0x50; 19]).frame()),
        ("no TCP header", to().raw(6, &[]).frame()),
        ("a UDP length of 7", patched(ntp(), transport + 4, &[0, 7])),
        ("a UDP length beyond the end", patched(ntp(), transport + 4, &[0, 13])),
        ("a UDP length of 0", patched(ntp(), transport + 4, &[0, 0])),
        ("a UDP header cut off", to().raw(17, &[0; 7]).frame()),
        ("an echo request cut off", to().raw(if v4 { 1 } else { 58 }, &[8; 7]).frame()),
    ];
    if v4 {
        rows.extend([
            ("a header of 16 octets", at(ETHERNET, &[0x44])),
            ("a header without octets", at(ETHERNET, &[0x40])),
            ("a header longer than the datagram", at(ETHERNET, &[0x4f])),
            ("a length of 0", at(ETHERNET + 2, &[0, 0])),
            ("a length shorter than the header", at(ETHERNET + 2, &[0, 19])),
            ("a length beyond the frame", at(ETHERNET + 2, &[0, 45])),
            ("the greatest length", at(ETHERNET + 2, &[0xff, 0xff])),
        ]);
    } else {
        rows.extend([
            ("a length beyond the frame", at(ETHERNET + 4, &[0, 25])),
            ("the greatest length", at(ETHERNET + 4, &[0xff, 0xff])),
            ("a jumbogram's length", at(ETHERNET + 4, &[0, 0])),
        ]);
    }
    let denied = |(what, frame)| from_client(what, frame, expect(Malformed));
    let mut rows: Vec<Row> = rows.into_iter().map(denied).collect();
    rows.push(from_client(
        "a UDP length before the end",
        patched(ntp(), transport + 4, &[0, 9]),
        expect(Policy).rule("time/ntp"),
    ));
    rows
}

#[test]
fn lengths_have_to_agree() {
    run("", "", |filter| check(filter, &both(lengths)));
}

/// Options of IPv4.
pub(crate) fn options(who: &Addresses) -> Vec<Row> {
    let with = |octets: &[u8]| syn(who).options(octets).frame();
    let row = |what, octets: &[u8], reason: Reason| {
        let expected = if reason == Policy { expect(Policy).rule(WEB) } else { expect(reason) };
        from_client(what, with(octets), expected)
    };
    let mut rows = vec![
        row("no operation", &[1, 1, 1, 1], Policy),
        row("nothing but the end", &[0, 0, 0, 0], Policy),
        row("all room there is", &[1; 40], Policy),
        row("a router alert", &[148, 4, 0, 0], Policy),
        row("a recorded route", &[7, 7, 4, 0, 0, 0, 0], Policy),
        row("a timestamp", &[68, 8, 5, 0, 0, 0, 0, 0], Policy),
        row("an unknown option", &[222, 4, 1, 2], Policy),
        row("a source route behind the end", &[0, 131, 7, 4, 8, 8, 8, 8], Policy),
        row("a loose source route", &[131, 7, 4, 8, 8, 8, 8], SourceRoute),
        row("a strict source route", &[137, 7, 4, 8, 8, 8, 8], SourceRoute),
        row("a source route that is used up", &[131, 7, 8, 8, 8, 8, 8], SourceRoute),
        row("one behind no operation", &[1, 131, 7, 4, 8, 8, 8, 8], SourceRoute),
        row("one behind an option", &[148, 4, 0, 0, 137, 7, 4, 8, 8, 8, 8], SourceRoute),
        row("one in the last octet", &[1, 1, 1, 131], SourceRoute),
        row("one inside of an option", &[222, 4, 131, 137], Policy),
        row("an option of length 0", &[222, 0, 1, 1], Malformed),
        row("an option of length 1", &[222, 1, 131, 7], Malformed),
        row("an option beyond the header", &[222, 5, 1, 1], Malformed),
        row("an option without a length", &[1, 1, 1, 222], Malformed),
    ];
    for source in [who.exempt, who.audited, who.unlisted] {
        for destination in [who.public, who.gateway] {
            let datagram = Datagram::new(source, destination).tcp(1, 443, Flags::SYN);
            rows.push(from_client(
                format!("a source route from {source} to {destination}"),
                datagram.options(&[131, 7, 4, 8, 8, 8, 8]).frame(),
                expect(SourceRoute),
            ));
        }
    }
    rows
}

#[test]
fn options_are_read_through_to_their_end() {
    let [who, _] = Addresses::both();
    run("", "", |filter| check(filter, &options(&who)));
}

/// Seven octets that pad an extension header, behind its next header.
const PADDED: [u8; 7] = [0, 1, 4, 0, 0, 0, 0];
/// An authentication header with an empty value, in units of four octets less two.
const AUTHENTICATION: [u8; 15] = [2, 0, 0, 0, 0, 0, 1, 0, 0, 0, 1, 0, 0, 0, 0];
const HOP_BY_HOP: u8 = 0;
const ROUTING: u8 = 43;
const FRAGMENT: u8 = 44;
const DESTINATION: u8 = 60;

/// Extension headers of IPv6.
pub(crate) fn extensions(who: &Addresses) -> Vec<Row> {
    let chain = |kinds: &[u8]| {
        kinds.iter().fold(syn(who), |datagram, kind| match *kind {
            51 => datagram.extension(51, &AUTHENTICATION),
            FRAGMENT => datagram.extension(FRAGMENT, &[0; 7]),
            kind => datagram.extension(kind, &PADDED),
        })
    };
    let row = |what, datagram: Datagram, reason: Reason| {
        let expected = if reason == Policy { expect(Policy).rule(WEB) } else { expect(reason) };
        from_client(what, datagram.frame(), expected)
    };
    let long = |units: u8| {
        let octets = [&[units], &vec![0; usize::from(units) * 8 + 6][..]].concat();
        syn(who).extension(DESTINATION, &octets)
    };
    let cut = |kind: u8, octets: &[u8]| Datagram::new(who.client, who.web).raw(kind, octets);
    vec![
        row("hop-by-hop options", chain(&[HOP_BY_HOP]), Policy),
        row("destination options", chain(&[DESTINATION]), Policy),
        row("authentication", chain(&[51]), Policy),
        row("mobility", chain(&[135]), Policy),
        row("host identity", chain(&[139]), Policy),
        row("shim6", chain(&[140]), Policy),
        row("an atomic fragment", chain(&[FRAGMENT]), Policy),
        row("several", chain(&[HOP_BY_HOP, DESTINATION, 51, DESTINATION]), Policy),
        row("eight", chain(&[DESTINATION; 8]), Policy),
        row("nine", chain(&[DESTINATION; 9]), Malformed),
        row("a thousand octets", long(125), Policy),
        row("two thousand octets", long(255), Malformed),
        row("a routing header", chain(&[ROUTING]), SourceRoute),
        row("one behind hop-by-hop options", chain(&[HOP_BY_HOP, ROUTING]), SourceRoute),
        row("one in the ninth place", chain(&[60, 60, 60, 60, 60, 60, 60, 60, 43]), SourceRoute),
        row("one behind an atomic fragment's", chain(&[FRAGMENT, ROUTING]), SourceRoute),
        row("hop-by-hop options twice", chain(&[HOP_BY_HOP, HOP_BY_HOP]), Malformed),
        row("hop-by-hop options later", chain(&[DESTINATION, HOP_BY_HOP]), Malformed),
        row("two fragment headers", chain(&[FRAGMENT, FRAGMENT]), Malformed),
        row("a header beyond the end", syn(who).extension(60, &[9, 0, 0, 0, 0, 0, 0]), Malformed),
        row("a header cut off", cut(DESTINATION, &[6, 0, 0, 0, 0, 0, 0]), Malformed),
        row("no header", cut(DESTINATION, &[]), Malformed),
        row("no TCP behind it", cut(DESTINATION, &[6, 0, 1, 4, 0, 0, 0, 0]), Malformed),
        row("nothing behind it", cut(DESTINATION, &[59, 0, 1, 4, 0, 0, 0, 0]), Protocol),
        row("an encrypted packet behind it", cut(0, &[50, 0, 1, 4, 0, 0, 0, 0, 1, 2]), Protocol),
    ]
}

#[test]
fn extension_headers_are_passed_up_to_eight() {
    let [_, who] = Addresses::both();
    run("", "", |filter| check(filter, &extensions(&who)));
}

#[test]
fn no_client_can_have_some_sources() {
    run("", "unlisted_clients: allow", |filter| {
        let rows = both(|who| {
            let sources: &[&str] = if who.client.is_ipv4() {
                &[
                    "127.0.0.1",
                    "127.255.255.255",
                    "224.0.0.1",
                    "239.1.1.1",
                    "240.0.0.1",
                    "255.255.255.255",
                ]
            } else {
                &["::1", "ff02::1", "ff0e::1", "::ffff:10.20.0.10", "::ffff:8.8.8.8"]
            };
            let mut rows = Vec::new();
            for source in sources {
                let source: std::net::IpAddr = source.parse().unwrap();
                for destination in [who.web, who.public, who.gateway, who.resolver] {
                    let datagram = Datagram::new(source, destination).udp(40000, 53, b"x");
                    rows.push(from_client(
                        format!("{source} to {destination}"),
                        datagram.frame(),
                        expect(Source).silent(),
                    ));
                }
            }
            rows
        });
        check(filter, &rows);
    });
}
