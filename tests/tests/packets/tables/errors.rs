//! ICMP errors: only about known flows, only to those whom they concern.

use intune_filter_ebpf::abi::Reason::{
    self, Icmp, IcmpError, Inbound, Policy, Protocol, UnlistedClient, Unsolicited,
};
use intune_filter_tests::prog_test_run::{
    Addresses, Datagram, Flags, Row, check_in_order, check_on,
    datagram::{TAG, patched},
    expect, from_client,
    site::{VLAN, changed_config, config},
    to_client,
};

use crate::run;

const WEB: &str = "core/web";

/// Types that tell of an error; "packet too big" and "fragmentation needed" are among them.
fn error_types(who: &Addresses) -> &'static [u8] {
    if who.client.is_ipv4() { &[3, 11, 12] } else { &[1, 2, 3, 4] }
}

/// Types that do not: source quench, redirect, address mask, or nothing known.
fn other_types(who: &Addresses) -> &'static [u8] {
    if who.client.is_ipv4() { &[4, 5, 17, 200] } else { &[5, 100, 127, 137, 200] }
}

fn sent(who: &Addresses) -> Datagram {
    Datagram::new(who.client, who.web).tcp(40000, 443, Flags::SYN)
}

fn received(who: &Addresses) -> Datagram {
    Datagram::new(who.web, who.client).tcp(443, 40000, Flags::ACK)
}

fn error(kind: u8, from: &Datagram, about: &[u8]) -> Vec<u8> {
    from.clone().icmp(kind, 0, [0; 4], about).frame()
}

/// Errors to a client that has sent one datagram.
pub(crate) fn to_clients(who: &Addresses) -> Vec<Row> {
    let router = Datagram::new(who.public2, who.client);
    let row = |what: &str, frame, reason| to_client(what, frame, expect(reason));
    let about = |datagram: Datagram| error(error_types(who)[0], &router, &datagram.packet());
    let other = |source, destination, from, to| {
        about(Datagram::new(source, destination).tcp(from, to, Flags::SYN))
    };
    let mut rows = Vec::new();
    for kind in error_types(who) {
        rows.push(row("an error", error(*kind, &router, &sent(who).packet()), IcmpError));
    }
    for kind in other_types(who) {
        rows.push(row("no error", error(*kind, &router, &sent(who).packet()), Unsolicited));
    }
    rows.extend([
        row("about another port of the remote", other(who.client, who.web, 40000, 80), Unsolicited),
        row("about another of the client's", other(who.client, who.web, 40001, 443), Unsolicited),
        row("about another remote", other(who.client, who.push, 40000, 443), Unsolicited),
        row("about another client", other(who.neighbour, who.web, 40000, 443), Unsolicited),
        row("about what was sent to it", about(received(who)), Unsolicited),
        row(
            "about another protocol",
            about(Datagram::new(who.client, who.web).udp(40000, 443, b"x")),
            Unsolicited,
        ),
        row("about a later fragment", about(sent(who).fragment(1, false)), Unsolicited),
        row("about nothing", error(error_types(who)[0], &router, &[]), Unsolicited),
    ]);
    let whole = sent(who).packet();
    let headers = if who.client.is_ipv4() { 20 } else { 40 };
    let cut = |length: usize| error(error_types(who)[0], &router, &whole[..length]);
    rows.push(row("about the first eight octets", cut(headers + 8), IcmpError));
    rows.push(row("about seven octets", cut(headers + 7), Unsolicited));
    rows.push(row("about half a header", cut(headers - 1), Unsolicited));
    let version = patched(whole, 0, &[0x50]);
    rows.push(row("about no IP", error(error_types(who)[0], &router, &version), Unsolicited));
    let to = |client| Datagram::new(who.public2, client).unreachable(&sent(who));
    rows.push(row("to another client", to(who.neighbour).frame(), Unsolicited));
    rows.push(row("in the VLAN", to(who.client).tag(TAG, VLAN).frame(), Unsolicited));
    rows.push(row("elsewhere", to(who.client).frame(), Unsolicited).on_other());
    rows
}

#[test]
fn errors_about_what_a_client_has_sent_come_back() {
    run("", "", |filter| {
        for who in Addresses::both() {
            let nothing = Datagram::new(who.public2, who.client).unreachable(&sent(&who));
            check_in_order(
                filter,
                &[
                    to_client("before", nothing.frame(), expect(Unsolicited)),
                    from_client("SYN", sent(&who).frame(), expect(Policy).rule(WEB)),
                ],
            );
            check_on(filter, &to_clients(&who));
            let answer =
                to_client("SYN ACK", received(&who).frame(), expect(Reason::Flow).rule(WEB));
            check_on(filter, &[answer]);
            check_on(filter, &to_clients(&who));
        }
    });
}

/// No sender quotes octets that follow a datagram in its frame.
#[test]
fn a_quotation_is_inside_of_its_error() {
    run("", "", |filter| {
        for who in Addresses::both() {
            let begin = [
                from_client("SYN", sent(&who).frame(), expect(Policy).rule(WEB)),
                to_client("SYN ACK", received(&who).frame(), expect(Reason::Flow).rule(WEB)),
            ];
            check_in_order(filter, &begin);
            let kind = error_types(&who)[0];
            let headers = if who.client.is_ipv4() { 20 } else { 40 };
            for (about, from, is_back) in [
                (sent(&who), Datagram::new(who.public2, who.client), true),
                (received(&who), Datagram::new(who.client, who.web), false),
            ] {
                let quoted = about.packet()[..headers + 8].to_vec();
                for length in 0..=quoted.len() {
                    let (inside, behind) = quoted.split_at(length);
                    let frame = [error(kind, &from, inside), behind.to_vec()].concat();
                    let what = format!("{length} octets of {} quoted", quoted.len());
                    let whole = length == quoted.len();
                    let row = if is_back {
                        to_client(what, frame, expect(if whole { IcmpError } else { Unsolicited }))
                    } else {
                        from_client(what, frame, expect(if whole { IcmpError } else { Icmp }))
                    };
                    check_on(filter, &[row]);
                }
            }
        }
    });
}

/// A policy that ends a flow ends what is told of it, whether a packet has met the flow or not.
#[test]
fn errors_about_a_revoked_flow_pass_no_more() {
    run("", "", |filter| {
        for who in Addresses::both() {
            let back = Datagram::new(who.public2, who.client).unreachable(&sent(&who)).frame();
            let told = Datagram::new(who.client, who.web).unreachable(&received(&who)).frame();
            let open = from_client("SYN", sent(&who).frame(), expect(Policy).rule(WEB));
            let answer =
                to_client("SYN ACK", received(&who).frame(), expect(Reason::Flow).rule(WEB));
            for begin in [&[open.clone()][..], &[open, answer]] {
                check_in_order(filter, begin);
                filter.install(&config("", "")).unwrap();
                check_on(
                    filter,
                    &[
                        to_client("still allowed", back.clone(), expect(IcmpError)),
                        from_client("still allowed", told.clone(), expect(IcmpError)),
                    ],
                );
                let without = changed_config("", "", |text| {
                    text.replacen("services: [core, time]", "services: [time]", 1)
                });
                filter.install(&without).unwrap();
                check_on(
                    filter,
                    &[
                        to_client("revoked", back.clone(), expect(Unsolicited)),
                        from_client("revoked", told.clone(), expect(Icmp)),
                    ],
                );
                filter.install(&config("", "")).unwrap();
            }
        }
    });
}

#[test]
fn errors_about_an_echo_come_back() {
    run("", "", |filter| {
        for who in Addresses::both() {
            let echo = |id| Datagram::new(who.client, who.web).echo_request(id);
            let about = |id| Datagram::new(who.public2, who.client).unreachable(&echo(id)).frame();
            check_in_order(
                filter,
                &[
                    from_client("an echo", echo(7).frame(), expect(Policy).rule(WEB)),
                    to_client("its error", about(7), expect(IcmpError)),
                    to_client("another's", about(8), expect(Unsolicited)),
                ],
            );
        }
    });
}

/// Errors from a client to which a flow has brought a datagram.
pub(crate) fn from_clients(who: &Addresses) -> Vec<Row> {
    let remote = Datagram::new(who.client, who.web);
    let row = |what: &str, frame, reason| from_client(what, frame, expect(reason));
    let about = |datagram: Datagram| error(error_types(who)[0], &remote, &datagram.packet());
    let other = |source, destination, from, to| {
        about(Datagram::new(source, destination).tcp(from, to, Flags::ACK))
    };
    let mut rows = Vec::new();
    for kind in error_types(who) {
        rows.push(row("an error", error(*kind, &remote, &received(who).packet()), IcmpError));
    }
    for kind in other_types(who) {
        rows.push(row("no error", error(*kind, &remote, &received(who).packet()), Icmp));
    }
    let told = |client, whom| Datagram::new(client, whom).unreachable(&received(who)).frame();
    rows.extend([
        row("told to an allowed host that did not send it", told(who.client, who.push), Icmp),
        row("told to a foreign host", told(who.client, who.public), Icmp),
        row("told by another client", told(who.neighbour, who.web), Icmp),
        row("told by an unlisted source", told(who.unlisted, who.web), UnlistedClient),
        row("about another port of the remote", other(who.web, who.client, 80, 40000), Icmp),
        row("about another of the client's", other(who.web, who.client, 443, 40001), Icmp),
        row("about what the client has sent", about(sent(who)), Icmp),
        row("about nothing", error(error_types(who)[0], &remote, &[]), Icmp),
        row(
            "the other family's error",
            remote.clone().raw(if who.web.is_ipv4() { 58 } else { 1 }, &[3; 60]).frame(),
            Protocol,
        ),
    ]);
    rows
}

#[test]
fn errors_from_a_client_go_to_the_sender_alone() {
    run("", "", |filter| {
        for who in Addresses::both() {
            let early = Datagram::new(who.client, who.web).unreachable(&received(&who));
            check_in_order(
                filter,
                &[
                    from_client("before", early.frame(), expect(Icmp)),
                    from_client("SYN", sent(&who).frame(), expect(Policy).rule(WEB)),
                    to_client("SYN ACK", received(&who).frame(), expect(Reason::Flow).rule(WEB)),
                ],
            );
            check_on(filter, &from_clients(&who));
        }
    });
}

#[test]
fn a_server_may_say_that_a_port_is_closed() {
    run("", "", |filter| {
        for who in Addresses::both() {
            let ask = Datagram::new(who.public, who.server).udp(999, 7, b"x");
            let told = |whom| Datagram::new(who.server, whom).unreachable(&ask).frame();
            check_in_order(
                filter,
                &[
                    from_client("before", told(who.public), expect(Icmp)),
                    to_client("let in", ask.frame(), expect(Inbound)),
                    from_client("told", told(who.public), expect(IcmpError)),
                    from_client("told to somebody else", told(who.public2), expect(Icmp)),
                ],
            );
        }
    });
}
