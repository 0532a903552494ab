//! NAT64: the name by which clients find their prefix, and learned IPv4 addresses in their form below it.

use std::net::IpAddr;

use intune_filter_ebpf::abi::{
    Occurrence::{AnswerRefused, NothingLearned},
    Reason::{
        Destination, DnsAnswer, DnsQuery, DnsUnlisted, Expired, Flow, Policy, Port, Service,
        UnlistedClient,
    },
    RuleMask,
};
use intune_filter_tests::prog_test_run::{
    Addresses, Bed, Datagram, Expected, Flags, Message, Row, both, check, check_in_order, check_on,
    expect, from_client,
    message::{A, AAAA, QUESTION},
    site::{WAN, changed_config},
    to_client,
};

use crate::{
    run, run_without_policy,
    tables::{
        answers::{NONE, PORTAL, WEB, addresses, answered, asked, hosts, teaches, try_answer},
        queries::ask,
        streams::{connected, framed, sent},
    },
};

/// A prefix of each length of RFC 6052, with the forms of [`LEARNED`] and [`FOREIGN`] below it, and two
/// addresses that differ from the first form in an octet that the standard leaves zero.
const FORMS: [(&str, [&str; 4]); 6] = [
    (
        "2a03:1::/32",
        ["2a03:1:1400:7::", "2a03:1:1400:8::", "2a03:1:1400:7:100::", "2a03:1:1400:7::1"],
    ),
    (
        "2a03:2:100::/40",
        ["2a03:2:114:0:7::", "2a03:2:114:0:8::", "2a03:2:114:0:107::", "2a03:2:114:0:7::1"],
    ),
    (
        "2a03:3:122::/48",
        [
            "2a03:3:122:1400:0:700::",
            "2a03:3:122:1400:0:800::",
            "2a03:3:122:1400:100:700::",
            "2a03:3:122:1400:0:701::",
        ],
    ),
    (
        "2a03:4:122:300::/56",
        [
            "2a03:4:122:314:0:7::",
            "2a03:4:122:314:0:8::",
            "2a03:4:122:314:100:7::",
            "2a03:4:122:314:0:7:0:1",
        ],
    ),
    (
        "fd64:0:0:344::/64",
        [
            "fd64::344:14:0:700:0",
            "fd64::344:14:0:800:0",
            "fd64::344:114:0:700:0",
            "fd64::344:14:0:700:1",
        ],
    ),
    (
        "64:ff9b::/96",
        ["64:ff9b::20.0.0.7", "64:ff9b::20.0.0.8", "64:ff9b::1:20.0.0.7", "64:ff9b:1::20.0.0.7"],
    ),
];
const LEARNED: &str = "20.0.0.7";
const FOREIGN: &str = "20.0.0.8";
const OTHER: &str = "other/web";
const DISCOVERY: &str = "ipv4only.arpa";

fn prefixes() -> String {
    format!("nat64: {:?}", FORMS.map(|(prefix, _)| prefix))
}

fn parse(address: &str) -> IpAddr {
    address.parse().unwrap()
}

fn six() -> Addresses {
    Addresses::both()[1]
}

#[test]
fn a_learned_address_holds_in_its_form_below_each_prefix() {
    run("", &prefixes(), |filter| {
        for (prefix, forms) in FORMS {
            let [form, foreign, others @ ..] = forms.map(parse);
            let connect = |to, port| Datagram::new(six().client, to).tcp(1, port, Flags::SYN);
            let row = |to, port, expected| {
                from_client(format!("{prefix}: {to} {port}"), connect(to, port).frame(), expected)
            };
            let denied = [form, foreign].map(|form| row(form, 443, expect(Destination)));
            check(filter, &denied);
            let learn = |filter: &dyn Bed, seconds| {
                filter.learn(parse(LEARNED), WEB, seconds).unwrap();
                filter.learn(parse(FOREIGN), OTHER, seconds).unwrap();
            };
            learn(filter, 300);
            check_on(
                filter,
                &[
                    row(form, 443, expect(Policy).rule(WEB).by_name()),
                    row(form, 22, expect(Port).rule(WEB)),
                    row(foreign, 443, expect(Service).rule(OTHER)),
                    row(others[0], 443, expect(Destination)),
                    row(others[1], 443, expect(Destination)),
                ],
            );
            filter.clear().unwrap();
            learn(filter, -1);
            check_on(
                filter,
                &[
                    row(form, 443, expect(Expired).rule(WEB)),
                    row(others[0], 443, expect(Destination)),
                ],
            );
            filter.clear().unwrap();
        }
    });
}

#[test]
fn without_the_prefix_an_address_has_no_other_form() {
    run("", "nat64: ['2a03:1::/32']", |filter| {
        filter.learn(parse(LEARNED), WEB, 300).unwrap();
        let to = |to| Datagram::new(six().client, parse(to)).tcp(1, 443, Flags::SYN).frame();
        check_on(
            filter,
            &[
                from_client("well known", to("64:ff9b::20.0.0.7"), expect(Destination)),
                from_client("mapped", to("::ffff:20.0.0.7"), expect(Destination)),
            ],
        );
    });
}

/// What an address was learned as itself counts beside what the IPv4 address was learned for.
#[test]
fn both_forms_have_their_rules_and_times() {
    run("", "nat64: ['64:ff9b::/96']", |filter| {
        let (v4, v6) = (parse(LEARNED), parse("64:ff9b::20.0.0.7"));
        let to = |port| Datagram::new(six().client, v6).tcp(1, port, Flags::SYN).frame();
        for (four, six, web, push) in [
            (300, 300, true, true),
            (300, -1, true, false),
            (-1, 300, false, true),
            (-1, -1, false, false),
        ] {
            filter.clear().unwrap();
            filter.learn(v4, WEB, four).unwrap();
            filter.learn(v6, "core/push", six).unwrap();
            let row = |port, rule: &'static str, holds: bool| {
                let expected = match holds {
                    true => expect(Policy).rule(rule).by_name(),
                    false if web || push => expect(Port).rule(if web { WEB } else { "core/push" }),
                    false => expect(Expired).rule(WEB),
                };
                from_client(format!("{four} {six} {rule}"), to(port), expected)
            };
            check_on(filter, &[row(443, WEB, web), row(5223, "core/push", push)]);
        }
    });
}

#[test]
fn flows_by_nat64_have_their_way_back_and_echoes() {
    run("", "nat64: ['64:ff9b::/96']", |filter| {
        let (client, remote) = (six().client, parse("64:ff9b::20.0.0.7"));
        filter.learn(parse(LEARNED), WEB, 300).unwrap();
        let out = Datagram::new(client, remote);
        let back = Datagram::new(remote, client);
        let opened = out.clone().udp(40000, 443, b"x");
        check_on(
            filter,
            &[
                from_client("an echo request", out.clone().echo_request(7).frame(), {
                    expect(Policy).rule(WEB).by_name()
                }),
                to_client("its reply", back.clone().echo_reply(7).frame(), expect(Flow).rule(WEB)),
                from_client("TCP", out.clone().tcp(1, 443, Flags::SYN).frame(), {
                    expect(Policy).rule(WEB).by_name()
                }),
                to_client("its answer", back.clone().tcp(443, 1, Flags::SYN_ACK).frame(), {
                    expect(Flow).rule(WEB)
                }),
            ],
        );
        filter.forget_addresses().unwrap();
        check_on(
            filter,
            &[
                from_client("more of the flow", out.clone().tcp(1, 443, Flags::ACK).frame(), {
                    expect(Flow).rule(WEB)
                }),
                from_client("another", opened.frame(), expect(Destination)),
            ],
        );
    });
}

/// Answers below a NAT64 prefix teach what those with the IPv4 address would.
#[test]
fn what_is_not_public_is_refused_below_the_prefix() {
    run("", &prefixes(), |filter| {
        let who = six();
        let begin = || Message::query(0x1234, PORTAL, AAAA).answered();
        for (address, refused) in [
            ("64:ff9b::20.0.0.7", false),
            ("fd64::344:14:0:700:0", false),
            ("64:ff9b::10.20.0.1", true),
            ("64:ff9b::10.0.0.1", true),
            ("64:ff9b::192.0.0.170", true),
            ("fd64::344:a:0:100:0", true),
            ("2a03:1:a00:1::", true),
            ("2a03:1:c000:aa::", true),
        ] {
            let message = begin().address(&QUESTION, 300, parse(address));
            let length = message.octets().len();
            let expected = if refused {
                expect(DnsAnswer).and(NothingLearned, length).and(AnswerRefused, length)
            } else {
                teaches(&message)
            };
            try_answer(filter, &who, address, &message, expected);
            let known = if refused { vec![] } else { vec![parse(address)] };
            assert_eq!(addresses(filter), known, "{address}");
        }
    });
}

/// An address of the gateway's own that is public is refused below a prefix of the site's, too.
#[test]
fn the_gateways_own_address_is_refused_below_the_prefix() {
    run("", "nat64: ['2a03:1::/32', '64:ff9b::/96']", |filter| {
        let own = [(filter.index(WAN).unwrap(), parse(LEARNED))];
        filter.set_own_addresses(&own.into()).unwrap();
        for address in ["2a03:1:1400:7::", "64:ff9b::20.0.0.7"] {
            let message = Message::query(0x1234, PORTAL, AAAA).answered();
            let message = message.address(&QUESTION, 300, parse(address));
            let length = message.octets().len();
            let refused = expect(DnsAnswer).and(NothingLearned, length).and(AnswerRefused, length);
            try_answer(filter, &six(), address, &message, refused);
        }
    });
}

/// The name by which clients find their prefix, and what is like it.
fn discovery(who: &Addresses, found: bool) -> Vec<Row> {
    let of = |found: bool| if found { expect(DnsQuery) } else { expect(DnsUnlisted).no_name() };
    let row = |source, kind, name: &str, expected: Expected| {
        let frame = ask(source, who.resolver, &Message::query(1, name, kind));
        from_client(format!("{name}, type {kind}, {source}"), frame, expected)
    };
    let other_type = if found { expect(DnsUnlisted).no_data() } else { of(false) };
    vec![
        row(who.client, A, DISCOVERY, of(found)),
        row(who.client, AAAA, DISCOVERY, of(found)),
        row(who.client, AAAA, "IPv4Only.ARPA", of(found)),
        row(who.client, 65, DISCOVERY, other_type.clone()),
        row(who.client, 255, DISCOVERY, other_type.clone()),
        // It exists, and so does what is above it.
        row(who.client, AAAA, "arpa", other_type),
        row(who.client, AAAA, "x.ipv4only.arpa", of(false)),
        row(who.client, AAAA, "xipv4only.arpa", of(false)),
        row(who.client, AAAA, "ipv4only.arpa.example", of(false)),
        row(who.unlisted, AAAA, DISCOVERY, expect(UnlistedClient)),
    ]
}

#[test]
fn clients_find_their_prefix_where_the_site_has_one() {
    for (more, found) in [("nat64: ['64:ff9b::/96']", true), ("", false)] {
        run("", more, |filter| {
            check(filter, &both(|who| discovery(who, found)));
            for who in Addresses::both() {
                let mut rows = connected(&who).to_vec();
                let query = Message::query(1, DISCOVERY, AAAA);
                let expected = if found { expect(DnsQuery) } else { expect(DnsUnlisted).no_name() };
                rows.push(sent("over TCP", &who, 0, &framed(&[&query]), expected));
                check_in_order(filter, &rows);
            }
        });
    }
}

/// Not even where a service has every name, and the site allows the addresses.
#[test]
fn the_addresses_by_which_they_find_it_are_no_destinations() {
    let dns = ", allow_private: [192.0.0.0/16]";
    let site = "nat64: ['64:ff9b::/96']
services: [{id: each, title: T, allow_broad: true, fqdns: ['*'], tcp: [443]}]
";
    let change = |text: String| text.replace("services: [core, time]", "services: [core, each]");
    run_without_policy("", "", |filter| {
        filter.install(&changed_config(dns, site, change)).expect("the policy goes into the maps");
        let all = RuleMask::of(filter.rule("each/site"));
        for who in Addresses::both() {
            for (kind, address) in [
                (A, "192.0.0.170"),
                (A, "192.0.0.171"),
                (AAAA, "64:ff9b::192.0.0.170"),
                (AAAA, "64:ff9b::192.0.0.171"),
            ] {
                let learn = |name: &str, expected: &dyn Fn(&Message) -> Expected| {
                    let query = Message::query(0x1234, name, kind);
                    let message = query.answered().address(&QUESTION, 300, parse(address));
                    let frame = answered(&who, &message).frame();
                    [asked(&who, &query), to_client(address, frame, expected(&message))]
                };
                check_in_order(filter, &learn(DISCOVERY, &|_| expect(DnsAnswer)));
                assert_eq!(addresses(filter), NONE, "{address}");
                check_in_order(filter, &learn("another.example", &teaches));
                assert_eq!(hosts(filter)[&parse(address)].0, all, "{address}");
            }
        }
    });
}
