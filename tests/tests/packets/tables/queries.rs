//! DNS queries: listed names pass, the rest is refused. How it is refused is in `nxdomain`.

use intune_filter_ebpf::abi::{
    Asked,
    Reason::{
        DnsMalformed, DnsQuery, DnsTransport, DnsUnlisted, Exempt, Fragment, Gateway, LinkLocal,
        Resolver, UnlistedClient,
    },
};
use intune_filter_tests::prog_test_run::{
    Addresses, Datagram, Expected, Flags, HookPoint, Message, Row, both, check,
    datagram::{SERVICE_TAG, TAG},
    expect, from_client,
    message::{A, AAAA, QUESTION, Section, name},
    site::{VLAN, changed_config},
};

use crate::run;

const HTTPS: u16 = 65;

pub(crate) fn ask(
    source: std::net::IpAddr,
    resolver: std::net::IpAddr,
    message: &Message,
) -> Vec<u8> {
    Datagram::new(source, resolver).udp(40000, 53, message.octets()).frame()
}

pub(crate) fn refused() -> Expected {
    expect(DnsUnlisted).no_name()
}

pub(crate) fn names(who: &Addresses) -> Vec<Row> {
    let long =
        format!("{}.apps.core.example", ["a".repeat(63), "b".repeat(63), "c".repeat(63)].join("."));
    let listed = [
        "portal.core.example",
        "PoRtAl.CoRe.ExAmPlE",
        "a.apps.core.example",
        "a.b.c.apps.core.example",
        "part.blob.example",
        "part1.blob.example",
        "PARTx-y.blob.example",
        "push.core.example",
        "time.example",
        &long,
    ];
    let unlisted = [
        "x.portal.core.example",
        "xportal.core.example",
        "portal.core.example.net",
        "portal.core.exampl",
        "portal-core.example",
        "par.blob.example",
        "xpart1.blob.example",
        "part1.x.blob.example",
        "x.part1.blob.example",
        "other.example",
        "1.0.20.10.in-addr.arpa",
    ];
    let mut rows = Vec::new();
    for resolver in [who.gateway, who.resolver] {
        for (kind, text) in [(A, "A"), (AAAA, "AAAA"), (HTTPS, "HTTPS"), (255, "ANY")] {
            for name in listed {
                let frame = ask(who.client, resolver, &Message::query(1, name, kind));
                rows.push(from_client(format!("{text} {name}"), frame, expect(DnsQuery)));
            }
        }
        for name in unlisted {
            let frame = ask(who.client, resolver, &Message::query(1, name, A));
            rows.push(from_client(format!("A {name:?}"), frame, refused()));
        }
    }
    rows
}

/// The end of a pattern cannot match the part of a label that its beginning matched.
#[test]
fn beginning_and_end_of_a_pattern_do_not_overlap_in_a_label() {
    let services = "services:
  - id: globs
    title: Globs
    fqdns: ['ab*ba.example', 'aa*aa.*.example']
    tcp: [443]
";
    let config = changed_config("", services, |text| {
        text.replace("services: [core, time]", "services: [core, time, globs]")
    });
    run("", "", |filter| {
        filter.install(&config).expect("the policy goes into the maps");
        let rows = both(|who| {
            let row = |name: &str, expected| {
                let frame = ask(who.client, who.resolver, &Message::query(1, name, A));
                from_client(format!("glob {name}"), frame, expected)
            };
            let listed = ["abba.example", "abxba.example", "abaXbaba.example", "aaaa.x.example"];
            // Above `aaaa.aba.example` and the like.
            let above = ["aba.example", "ab.example", "ba.example"];
            let unlisted = ["aaa.x.example", "aa.x.example"];
            let listed = listed.map(|name| row(name, expect(DnsQuery)));
            let above = above.map(|name| row(name, expect(DnsUnlisted).no_data()));
            let unlisted = unlisted.map(|name| row(name, refused()));
            listed.into_iter().chain(above).chain(unlisted).collect()
        });
        check(filter, &rows);
    });
}

#[test]
fn names_of_the_groups_rules_are_asked_for() {
    run("", "", |filter| check(filter, &both(names)));
}

pub(crate) fn malformed(who: &Addresses) -> Vec<Row> {
    let listed = || Message::query(1, "portal.core.example", A);
    let header = || Message::header(1, 0x0100);
    let compressed = [&[6][..], b"portal", &[0xc0, 12]].concat();
    let long = [&[63][..], &[b'a'; 63]].concat().repeat(4);
    let messages = [
        ("nothing", header().cut(0)),
        ("half a header", listed().cut(11)),
        ("a header", header()),
        ("a header that promises a question", header().count(4, 1)),
        ("half a question", listed().cut(20)),
        ("a question without its class", listed().cut(listed().octets().len() - 2)),
        ("a question cut by one octet", listed().cut(listed().octets().len() - 1)),
        ("an answer", listed().answered()),
        ("a notification", listed().flags(0x2000)),
        ("an update", listed().flags(0x2800)),
        ("an inverse query", listed().flags(0x0800)),
        ("two questions", listed().question(&name("portal.core.example"), AAAA)),
        ("a count of two", listed().count(4, 1)),
        ("a count of none", listed().count(4, 0xffff)),
        ("a count of many", listed().count(4, 0xfffe)),
        ("an answer record", listed().address(&QUESTION, 1, who.web)),
        ("an authority record", listed().record(Section::Authority, &QUESTION, A, 1, &[1; 4])),
        ("a compressed name", header().question(&compressed, A)),
        ("a name that points to itself", header().question(&QUESTION, A)),
        ("a label of another type", header().question(&[0x41, b'a', 0], A)),
        ("a label of a reserved type", header().question(&[0x80, 0], A)),
        ("a name without an end", header().question(&[3, b'a', b'b', b'c'], A).cut(16)),
        ("a name of 257 octets", header().question(&[&long[..], &[0]].concat(), A)),
        ("a label beyond the end", header().question(&[40, b'a', 0], A)),
    ];
    let mut rows = Vec::new();
    for (what, message) in messages {
        let row =
            |source, expected| from_client(what, ask(source, who.resolver, &message), expected);
        rows.push(row(who.client, expect(DnsMalformed)));
        rows.push(row(who.audited, expect(DnsMalformed).audited()));
        rows.push(from_client(what, ask(who.client, who.gateway, &message), expect(DnsMalformed)));
        let from_link = ask(who.link_local, who.gateway, &message);
        rows.push(from_client(what, from_link, expect(DnsMalformed)));
        rows.push(row(who.unlisted, expect(UnlistedClient)));
    }
    rows
}

#[test]
fn what_is_no_query_is_denied() {
    run("", "", |filter| check(filter, &both(malformed)));
}

pub(crate) fn whole(who: &Addresses) -> Vec<Row> {
    let listed = || Message::query(1, "portal.core.example", A);
    let labels = |count| {
        let labels = "a.".repeat(count);
        Message::query(1, &format!("{labels}apps.core.example"), A)
    };
    let cookie = [0, 10, 0, 8, 1, 2, 3, 4, 5, 6, 7, 8];
    let messages = [
        ("with EDNS", listed().edns(1232, 0x8000, &cookie)),
        ("with an additional record", listed().record(Section::Additional, &[0], A, 0, &[1; 4])),
        ("followed by something", listed().followed_by(&[0; 30])),
        ("without recursion", listed().flags(0)),
        ("with all harmless flags", listed().flags(0x07b0)),
        ("with a hundred labels", labels(100)),
        ("of 255 octets", {
            let [a, b] = ["a".repeat(63), "b".repeat(63)];
            let name = format!("{a}.{b}.{}.{}.apps.core.example", "c".repeat(63), "d".repeat(43));
            assert_eq!(self::name(&name).len(), 255);
            Message::query(1, &name, A)
        }),
    ];
    messages
        .into_iter()
        .map(|(what, message)| {
            from_client(what, ask(who.client, who.resolver, &message), expect(DnsQuery))
        })
        .collect()
}

#[test]
fn queries_of_every_form_pass() {
    run("", "", |filter| check(filter, &both(whole)));
}

pub(crate) fn others(who: &Addresses) -> Vec<Row> {
    let listed = Message::query(1, "portal.core.example", A);
    let unlisted = Message::query(1, "elsewhere.example", A);
    let row = |what: &str, source, message: &Message, expected| {
        from_client(what, ask(source, who.resolver, message), expected)
    };
    let tcp = |source, resolver| Datagram::new(source, resolver).tcp(40000, 53, Flags::SYN).frame();
    let first = |message: &Message| {
        let length = message.octets().len();
        let filled = message.clone().followed_by(&vec![0; length.next_multiple_of(8) - length]);
        let datagram = Datagram::new(who.client, who.gateway).fragment(0, true);
        datagram.udp(40000, 53, filled.octets()).frame()
    };
    let from = |source, message: &Message| {
        let datagram = Datagram::new(source, who.resolver).fragment(0, true);
        let octets = message.octets();
        datagram.udp(40000, 53, &octets[..octets.len() / 8 * 8]).frame()
    };
    let foreign = Message::query(1, "other.example", A);
    let from_link = |message: &Message| ask(who.link_local, who.gateway, message);
    vec![
        row("audited, listed", who.audited, &listed, expect(DnsQuery)),
        row("audited, unlisted", who.audited, &unlisted, expect(DnsUnlisted).audited()),
        row("exempt, unlisted", who.exempt, &unlisted, expect(DnsQuery)),
        row("exempt, no query", who.exempt, &unlisted.answered(), expect(Exempt)),
        from_client("link-local, listed", from_link(&listed), expect(DnsQuery)),
        from_client("link-local, unlisted", from_link(&unlisted), refused()),
        from_client("link-local, the other zone's name", from_link(&foreign), refused()),
        from_client("link-local, there", from_link(&foreign), expect(DnsQuery)).on_other(),
        from_client("link-local, a listed name there", from_link(&listed), refused()).on_other(),
        row("unlisted client", who.unlisted, &listed, expect(UnlistedClient)),
        row("the other zone's name", who.client, &foreign, refused()),
        row("in the other zone", who.other, &foreign, expect(DnsQuery)).on_other(),
        row("a listed name there", who.other, &listed, refused()).on_other(),
        row("a client there", who.client, &listed, expect(UnlistedClient)).on_other(),
        from_client("TCP", tcp(who.client, who.resolver), expect(DnsTransport)),
        from_client("TCP to the gateway", tcp(who.client, who.gateway), expect(DnsTransport)),
        from_client("TCP, audited", tcp(who.audited, who.resolver), expect(DnsTransport).audited()),
        from_client("TCP, exempt", tcp(who.exempt, who.resolver), expect(Exempt)),
        from_client("TCP from the link", tcp(who.link_local, who.gateway), expect(DnsTransport)),
        from_client("a first fragment, listed", first(&listed), expect(DnsMalformed)),
        from_client("a first fragment, unlisted", first(&unlisted), expect(DnsMalformed)),
        from_client("a first fragment, audited", from(who.audited, &listed), {
            expect(DnsMalformed).audited()
        }),
        from_client("a first fragment, exempt", from(who.exempt, &listed), expect(Exempt)),
        from_client(
            "a first fragment without its name",
            {
                Datagram::new(who.client, who.gateway)
                    .fragment(0, true)
                    .udp(1, 53, &[0; 24])
                    .frame()
            },
            expect(DnsMalformed),
        ),
        from_client(
            "a later fragment to a resolver beyond",
            {
                Datagram::new(who.client, who.resolver).fragment(2, false).raw(17, &[0; 24]).frame()
            },
            expect(Fragment),
        ),
    ]
}

#[test]
fn who_asks_and_how_matters() {
    run("", "", |filter| check(filter, &both(others)));
}

/// A resolver that listens on every address of the gateway would answer whatever it is asked.
#[test]
fn only_the_resolvers_of_the_configuration_are_asked() {
    run("", "", |filter| {
        let rows = both(|who| {
            let listed = Message::query(1, "portal.core.example", A);
            let mut rows = Vec::new();
            for gateway in [who.gateway_by_route, who.gateway_link_local] {
                let tcp =
                    |source| Datagram::new(source, gateway).tcp(40000, 53, Flags::SYN).frame();
                rows.extend([
                    from_client("UDP", ask(who.client, gateway, &listed), expect(Resolver)),
                    from_client("TCP", tcp(who.client), expect(Resolver)),
                    from_client("audited", tcp(who.audited), expect(Resolver).audited()),
                    from_client("exempt", tcp(who.exempt), expect(Exempt)),
                    from_client("unlisted", tcp(who.unlisted), expect(UnlistedClient)),
                    from_client("link-local", tcp(who.link_local), expect(LinkLocal)),
                    from_client(
                        "from port 53",
                        Datagram::new(who.client, gateway).udp(53, 40000, b"x").frame(),
                        expect(Gateway),
                    ),
                ]);
            }
            rows
        });
        check(filter, &rows);
    });
}

#[test]
fn unlisted_names_are_refused_forwarded_or_dropped_if_the_site_says_so() {
    let choices = [
        ("refuse", expect(DnsUnlisted).refused()),
        ("forward", expect(DnsQuery)),
        ("drop", expect(DnsUnlisted)),
    ];
    for (choice, expected) in choices {
        run(&format!(", unlisted: {choice}"), "", |filter| {
            let rows = both(|who| {
                let unlisted = Message::query(1, "elsewhere.example", A);
                let frame = |resolver| ask(who.client, resolver, &unlisted);
                vec![
                    from_client(choice, frame(who.resolver), expected.clone()),
                    from_client(choice, frame(who.gateway), expected.clone()),
                    from_client(
                        "of a group that is told of denials",
                        ask(who.rejected, who.resolver, &unlisted),
                        expected.clone(),
                    ),
                    from_client(
                        "no query",
                        ask(who.client, who.resolver, &unlisted.answered()),
                        expect(DnsMalformed),
                    ),
                ]
            });
            check(filter, &rows);
        });
    }
}

#[test]
fn what_is_asked_is_remembered() {
    run("", "", |filter| {
        for who in Addresses::both() {
            filter.clear().unwrap();
            let message = Message::query(0x1234, "portal.core.example", A);
            filter
                .judge(HookPoint::Ingress("eth1"), &ask(who.client, who.resolver, &message))
                .unwrap();
            let refused = Message::query(0x1235, "elsewhere.example", A);
            filter
                .judge(HookPoint::Ingress("eth1"), &ask(who.client, who.resolver, &refused))
                .unwrap();
            let pending = filter.queries().unwrap();
            let [(key, pending)] = pending[..] else { panic!("{pending:?}") };
            assert_eq!(key.zone, 1);
            assert_eq!(key.id, 0x1234_u16.to_be());
            assert_eq!(key.port, 40000_u16.to_be());
            assert_eq!(std::net::IpAddr::from(key.client), who.client);
            assert_eq!(std::net::IpAddr::from(key.resolver), who.resolver);
            assert_eq!(
                pending.questions.map(|asked| (asked.times, asked.answers)),
                [(Asked::PROVEN | 1, 0), (0, 0)]
            );
        }
    });
}

#[test]
fn a_tagged_query_belongs_to_its_vlan() {
    run("", "", |filter| {
        let rows = both(|who| {
            let listed = Message::query(1, "portal.core.example", A);
            let query = |source| Datagram::new(source, who.resolver).udp(1, 53, listed.octets());
            vec![
                from_client("there", query(who.tagged).tag(TAG, VLAN).frame(), expect(DnsQuery)),
                from_client("from another", query(who.client).tag(TAG, VLAN).frame(), {
                    expect(UnlistedClient)
                }),
                from_client(
                    "twice",
                    query(who.tagged).tag(SERVICE_TAG, VLAN).tag(TAG, 1).frame(),
                    expect(intune_filter_ebpf::abi::Reason::VlanTag),
                ),
            ]
        });
        check(filter, &rows);
    });
}

#[test]
fn who_is_in_no_group_is_not_told_to_be_in_the_first() {
    run("", "", |filter| {
        for who in Addresses::both() {
            for (source, group) in [(who.client, Some(filter.group("lan"))), (who.link_local, None)]
            {
                for name in ["portal.core.example", "unlisted.example"] {
                    let query = Message::query(1, name, A);
                    let query = Datagram::new(source, who.gateway).udp(1, 53, query.octets());
                    let explanation = filter.explain("eth1", &query.frame()).unwrap();
                    assert_eq!(explanation.group, group, "{source}, {name}: {explanation:?}");
                }
            }
        }
    });
}
