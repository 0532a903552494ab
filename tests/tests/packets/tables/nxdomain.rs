//! Names of no rule with `dns.unlisted: nxdomain`: there is no such name, unless a listed name is
//! below it.

use intune_filter_ebpf::abi::Reason::{
    DnsMalformed, DnsOverHttps, DnsQuery, DnsUnlisted, LinkLocal, UnlistedClient,
};
use intune_filter_tests::prog_test_run::{
    Addresses, Datagram, Expected, Flags, Message, Row, both, check, check_in_order, check_on,
    datagram::TAG,
    expect, from_client,
    message::{A, AAAA},
    site::{VLAN, changed_config},
};

use super::{
    answers::{answer, query, teaches},
    queries::ask,
    streams::{CLIENT, PORT, RESOLVER, acknowledged, asked, came, connected, framed, sent},
};
use crate::run;

/// The default.
pub(crate) const NXDOMAIN: &str = "";

fn no_name() -> Expected {
    expect(DnsUnlisted).no_name()
}

fn no_data() -> Expected {
    expect(DnsUnlisted).no_data()
}

/// Names above those of the group's rules, and names of wildcards without their first label.
const ABOVE: [&str; 7] =
    ["", "example", "core.example", "cOrE.eXaMpLe", "apps.core.example", "blob.example", "EXAMPLE"];
/// Names at and above which nothing is listed.
const NOWHERE: [&str; 13] = [
    "net",
    "exampl",
    "xcore.example",
    "core.example.net",
    "x.portal.core.example",
    "xportal.core.example",
    "portal.core.exampl",
    "par.blob.example",
    "part1.x.blob.example",
    "x.part1.blob.example",
    // Another group's.
    "other.example",
    "google",
    "1.0.20.10.in-addr.arpa",
];

fn names(who: &Addresses) -> Vec<Row> {
    let mut rows = Vec::new();
    let mut row = |resolver, kind, name: &str, expected| {
        let frame = ask(who.client, resolver, &Message::query(1, name, kind));
        rows.push(from_client(format!("type {kind}, {name:?}"), frame, expected));
    };
    ABOVE.iter().for_each(|name| row(who.gateway, A, name, no_data()));
    NOWHERE.iter().for_each(|name| row(who.gateway, A, name, no_name()));
    // HTTPS, SOA, DS, DNSKEY, ANY.
    for kind in [AAAA, 65, 6, 43, 48, 255] {
        row(who.resolver, kind, "", no_data());
        row(who.resolver, kind, "apps.core.example", no_data());
        row(who.resolver, kind, "x.portal.core.example", no_name());
        row(who.resolver, kind, "portal.core.example", expect(DnsQuery));
        row(who.resolver, kind, "dns.google", expect(DnsOverHttps).no_name());
        row(who.resolver, kind, "a.b.dns.nextdns.io", expect(DnsOverHttps).no_name());
    }
    rows
}

#[test]
fn a_name_exists_if_a_listed_name_is_below_it() {
    run(NXDOMAIN, "", |filter| check(filter, &both(names)));
}

/// What is above a listed name depends on the group.
fn by_group(who: &Addresses) -> Vec<Row> {
    let message = |name| Message::query(1, name, A);
    let row = |what: &str, source, name, expected| {
        from_client(format!("{what}: {name}"), ask(source, who.resolver, &message(name)), expected)
    };
    let link = |name| {
        Datagram::new(who.link_local, who.gateway).udp(1, 53, message(name).octets()).frame()
    };
    let tagged = |name| {
        let query = Datagram::new(who.tagged, who.resolver).udp(1, 53, message(name).octets());
        query.tag(TAG, VLAN).frame()
    };
    let mut rows = vec![
        row("another group", who.other, "core.example", no_name()).on_other(),
        row("another group", who.other, "portal.core.example", no_name()).on_other(),
        row("another group", who.other, "example", no_data()).on_other(),
        row("another group", who.other, "other.example", expect(DnsQuery)).on_other(),
        row("audited", who.audited, "core.example", expect(DnsUnlisted).audited()),
        row("audited", who.audited, "elsewhere.example", expect(DnsUnlisted).audited()),
        row("exempt", who.exempt, "core.example", expect(DnsQuery)),
        row("told of denials", who.rejected, "elsewhere.example", no_name()),
        row("told of denials", who.rejected, "core.example", no_data()),
        row("in no group", who.unlisted, "core.example", expect(UnlistedClient)),
        from_client("on a VLAN", tagged("elsewhere.example"), no_name()),
        from_client("on a VLAN", tagged("core.example"), no_data()),
        from_client("link-local", link("elsewhere.example"), no_name()),
        from_client("link-local", link("core.example"), no_data()),
    ];
    let answered = message("elsewhere.example").answered();
    rows.push(from_client("no query", ask(who.client, who.resolver, &answered), {
        expect(DnsMalformed)
    }));
    if who.link_local.is_ipv4() {
        let query = Datagram::new(who.link_local, who.resolver);
        let query = query.udp(1, 53, message("elsewhere.example").octets());
        rows.push(from_client("forwarded", query.frame(), expect(LinkLocal)));
    }
    rows
}

#[test]
fn what_exists_depends_on_the_group() {
    run(NXDOMAIN, "", |filter| check(filter, &both(by_group)));
}

/// Labels with a wildcard, and labels that are longer than what one step compares.
#[test]
fn wildcards_and_long_labels_have_names_above_them_too() {
    let long = "l".repeat(30);
    let services = format!(
        "services:
  - id: own
    title: Own
    fqdns: ['deep.{long}.test', 'in.ab*cd.sub.test', '*.wide.test', 'only.*.any.test']
    tcp: [443]
"
    );
    let config = changed_config(NXDOMAIN, &services, |text| {
        text.replace("services: [core, time]", "services: [core, time, own]")
    });
    let above = [
        "test".to_owned(),
        format!("{long}.test"),
        "sub.test".to_owned(),
        "abcd.sub.test".to_owned(),
        "abXcd.sub.test".to_owned(),
        "wide.test".to_owned(),
        "any.test".to_owned(),
        "whatever.any.test".to_owned(),
    ];
    let nowhere = [
        // What one step compares.
        format!("{}.test", "l".repeat(24)),
        format!("{}.test", "l".repeat(29)),
        format!("{long}l.test"),
        "abc.sub.test".to_owned(),
        "x.abcd.sub.test".to_owned(),
        "x.whatever.any.test".to_owned(),
        "x.only.whatever.any.test".to_owned(),
    ];
    let listed = ["in.abcd.sub.test", "x.wide.test", "only.whatever.any.test"];
    run(NXDOMAIN, "", |filter| {
        filter.install(&config).expect("the policy goes into the maps");
        let rows = both(|who| {
            let row = |name: &str, expected| {
                let frame = ask(who.client, who.resolver, &Message::query(1, name, A));
                from_client(name, frame, expected)
            };
            let above = above.iter().map(|name| row(name, no_data()));
            let nowhere = nowhere.iter().map(|name| row(name, no_name()));
            above
                .chain(nowhere)
                .chain(listed.iter().map(|name| row(name, expect(DnsQuery))))
                .collect()
        });
        check(filter, &rows);
    });
}

/// The longest name, alone and with EDNS: the answer is longer than the query by 56 octets.
#[test]
fn the_longest_name_is_answered_too() {
    let labels = [63, 63, 63, 61].map(|length| "x".repeat(length));
    run(NXDOMAIN, "", |filter| {
        let rows = both(|who| {
            let query = Message::query(1, &labels.join("."), A);
            let padded = query.clone().edns(512, 0, &[&[0, 12, 1, 44][..], &[0; 300]].concat());
            let messages = [
                ("plain", query.clone()),
                ("EDNS", query.clone().edns(512, 0, &[])),
                ("padded", padded),
                ("followed by octets", query.followed_by(&[7; 900])),
            ];
            let row = |(what, message): (&str, Message)| {
                from_client(what, ask(who.client, who.resolver, &message), no_name())
            };
            messages.map(row).to_vec()
        });
        check(filter, &rows);
    });
}

/// A segment of the client's with options, an acknowledgment, and data.
pub(crate) fn segment(
    who: &Addresses,
    options: &[u8],
    flags: Flags,
    at: usize,
    got: usize,
    data: &[u8],
) -> Vec<u8> {
    let numbers = [CLIENT.wrapping_add(1 + at as u32), RESOLVER.wrapping_add(1 + got as u32)];
    let datagram = Datagram::new(who.client, who.resolver);
    datagram.segment_with(options, [PORT, 53], flags, numbers, data).frame()
}

fn unlisted(name: &str) -> Vec<u8> {
    framed(&[&Message::query(1, name, A)])
}

/// Over TCP the answer ends the connection.
#[test]
fn over_tcp_the_answer_is_the_last_of_its_connection() {
    let data = unlisted("elsewhere.example");
    let end = data.len();
    // What the client acknowledges: an answer with an SOA record, and its end.
    let last = end + 50 + 1;
    run(NXDOMAIN, "", |filter| {
        for who in Addresses::both() {
            let rows = [
                sent("the query", &who, 0, &data, no_name()),
                // The answer was lost.
                sent("the query again", &who, 0, &data, no_name()),
                from_client("its end", segment(&who, &[], Flags::ACK, end, last, b""), {
                    expect(DnsUnlisted)
                }),
                from_client("more", segment(&who, &[], Flags::ACK, end, last, &data), {
                    expect(DnsUnlisted)
                }),
                from_client("FIN", segment(&who, &[], Flags::FIN, end, last, b""), {
                    expect(DnsUnlisted).rejected()
                }),
                from_client("RST", segment(&who, &[], Flags::RST, end, last, b""), {
                    expect(DnsQuery)
                }),
            ];
            check_in_order(filter, &connected(&who));
            check_on(filter, &rows);
            check_in_order(filter, &connected(&who));
            check_on(filter, &[sent("above", &who, 0, &unlisted("core.example"), no_data())]);
            check_in_order(filter, &connected(&who));
            check_on(
                filter,
                &[
                    sent("its length", &who, 0, &data[..2], expect(DnsQuery)),
                    acknowledged(&who, 2),
                    sent("the query", &who, 2, &data[2..], no_name()),
                ],
            );
            let known = unlisted("dns.google");
            check_in_order(filter, &connected(&who));
            check_on(
                filter,
                &[sent("over HTTPS", &who, 0, &known, expect(DnsOverHttps).no_name())],
            );
        }
    });
}

/// Where the answer cannot be the next and last of the connection, the connection is reset.
#[test]
fn over_tcp_a_connection_that_cannot_be_answered_is_reset() {
    let timed = [1, 1, 8, 10, 0, 0, 0, 1, 0, 0, 0, 2];
    let data = unlisted("elsewhere.example");
    run(NXDOMAIN, "", |filter| {
        for who in Addresses::both() {
            let reset = || expect(DnsUnlisted).rejected();
            let ask = framed(&[&query(&who)]);
            let reply = framed(&[&answer(&who)]);
            let rows = [
                sent("two", &who, 0, &[&data[..], &data].concat(), reset()),
                sent("and a listed one", &who, 0, &[&ask[..], &data].concat(), reset()),
                from_client(
                    "other options",
                    {
                        segment(
                            &who,
                            &[1, 1, 5, 10, 0, 0, 0, 1, 0, 0, 0, 2],
                            Flags::ACK,
                            0,
                            0,
                            &data,
                        )
                    },
                    reset(),
                ),
                from_client(
                    "more options",
                    segment(&who, &[&timed[..], &[1; 4]].concat(), Flags::ACK, 0, 0, &data),
                    reset(),
                ),
                from_client(
                    "timestamps",
                    segment(&who, &timed, Flags::ACK, 0, 0, &data),
                    no_name(),
                ),
            ];
            check_in_order(filter, &connected(&who));
            check_on(filter, &rows);
            check_in_order(filter, &asked(&who));
            let next = ask.len();
            check_on(
                filter,
                &[
                    sent("before another's answer", &who, next, &data, reset()),
                    came("that answer", &who, 0, &reply, teaches(&answer(&who))),
                    sent("before it was acknowledged", &who, next, &data, reset()),
                    from_client(
                        "at last",
                        segment(&who, &[], Flags::ACK, next, reply.len(), &data),
                        no_name(),
                    ),
                ],
            );
        }
    });
}
