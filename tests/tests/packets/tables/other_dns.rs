//! DNS past the site's resolvers: over TLS or QUIC by its port, over HTTPS by its servers' names.

use intune_filter_ebpf::abi::Reason::{
    DnsOverHttps, DnsOverTls, DnsQuery, DnsUnlisted, Exempt, Gateway, LinkLocal, Policy,
    UnlistedClient,
};
use intune_filter_tests::prog_test_run::{
    Addresses, Datagram, Flags, Message, Row, both, check, check_in_order, expect, from_client,
    message::A, site::changed_config,
};

use crate::{
    run, run_without_policy,
    tables::{
        queries::ask,
        streams::{connected, framed, sent},
    },
};

const DNS_OVER_TLS: u16 = 853;

fn query(name: &str) -> Message {
    Message::query(1, name, A)
}

/// A resolver on the gateway may serve these ports unasked: nothing is learned from its answers
/// there, and no name is refused.
pub(crate) fn by_port(who: &Addresses) -> Vec<Row> {
    let tcp = |source, destination| {
        Datagram::new(source, destination).tcp(40000, DNS_OVER_TLS, Flags::SYN).frame()
    };
    let mut rows = Vec::new();
    for (what, destination) in [
        ("anywhere", who.public),
        ("a resolver beyond", who.resolver),
        ("the gateway", who.gateway),
        ("the gateway by its routes", who.gateway_by_route),
        ("the gateway's link", who.gateway_link_local),
    ] {
        let udp = Datagram::new(who.client, destination).udp(1, DNS_OVER_TLS, b"x").frame();
        rows.extend([
            from_client(format!("TLS to {what}"), tcp(who.client, destination), expect(DnsOverTls)),
            from_client(format!("QUIC to {what}"), udp, expect(DnsOverTls)),
            from_client(format!("to {what}, audited"), tcp(who.audited, destination), {
                expect(DnsOverTls).audited()
            }),
            from_client(format!("to {what}, exempt"), tcp(who.exempt, destination), expect(Exempt)),
            from_client(format!("to {what}, in no group"), tcp(who.unlisted, destination), {
                expect(UnlistedClient)
            }),
        ]);
    }
    rows.extend([
        from_client("of a service's destination", tcp(who.client, who.web), {
            expect(DnsOverTls).rule("core/web")
        }),
        from_client("from the link", tcp(who.link_local, who.gateway), expect(LinkLocal)),
        from_client(
            "another port of the gateway",
            Datagram::new(who.client, who.gateway).tcp(DNS_OVER_TLS, 854, Flags::SYN).frame(),
            expect(Gateway),
        ),
    ]);
    rows
}

#[test]
fn dns_over_tls_is_known_by_its_port() {
    run("", "", |filter| check(filter, &both(by_port)));
}

#[test]
fn a_service_may_have_the_port() {
    let site = "services:
  - {id: tls, title: T, cidrs: [203.0.113.0/24, '2001:db8:200::/48'], tcp: [853]}
";
    let change = |text: String| text.replace("services: [core, time]", "services: [core, tls]");
    run_without_policy("", "", |filter| {
        filter.install(&changed_config("", site, change)).expect("the policy goes into the maps");
        let rows = both(|who| {
            let to = Datagram::new(who.client, who.foreign);
            vec![
                from_client("TLS", to.clone().tcp(40000, DNS_OVER_TLS, Flags::SYN).frame(), {
                    expect(Policy).rule("tls/site")
                }),
                from_client("QUIC", to.udp(1, DNS_OVER_TLS, b"x").frame(), {
                    expect(DnsOverTls).rule("tls/site")
                }),
            ]
        });
        check(filter, &rows);
    });
}

pub(crate) fn by_name(who: &Addresses) -> Vec<Row> {
    let mut rows = Vec::new();
    for resolver in [who.gateway, who.resolver] {
        for name in ["dns.google", "DNS.Google", "chrome.cloudflare-dns.com", "a.b.dns.nextdns.io"]
        {
            let row = |source| ask(source, resolver, &query(name));
            rows.extend([
                from_client(name, row(who.client), expect(DnsOverHttps).no_name()),
                from_client(format!("{name}, audited"), row(who.audited), {
                    expect(DnsOverHttps).audited()
                }),
                from_client(format!("{name}, exempt"), row(who.exempt), expect(DnsQuery)),
            ]);
        }
        for name in ["google", "xdns.google", "nextdns.io", "dns.google.example"] {
            rows.push(from_client(name, ask(who.client, resolver, &query(name)), {
                expect(DnsUnlisted).no_name()
            }));
        }
    }
    rows
}

#[test]
fn servers_of_dns_over_https_are_known_by_their_names() {
    run("", "", |filter| {
        check(filter, &both(by_name));
        for who in Addresses::both() {
            let mut rows = connected(&who).to_vec();
            let known = framed(&[&query("dns.google")]);
            rows.push(sent("over TCP", &who, 0, &known, expect(DnsOverHttps).no_name()));
            check_in_order(filter, &rows);
        }
    });
}

#[test]
fn their_names_are_not_forwarded_where_others_are() {
    for (choice, silent) in [("forward", false), ("drop", true)] {
        run(&format!(", unlisted: {choice}"), "", |filter| {
            for who in Addresses::both() {
                let expected = || expect(DnsOverHttps);
                let frame = ask(who.client, who.resolver, &query("dns.google"));
                let answered = if silent { expected() } else { expected().refused() };
                check(filter, &[from_client(choice, frame, answered)]);
                let mut rows = connected(&who).to_vec();
                let known = framed(&[&query("dns.google")]);
                let ended = if silent { expected() } else { expected().rejected() };
                rows.push(sent("over TCP", &who, 0, &known, ended));
                check_in_order(filter, &rows);
            }
        });
    }
}

/// A client whose service has such a name asks for it, and its addresses are learned.
#[test]
fn a_service_may_have_such_a_name() {
    let site = "services:
  - {id: own, title: T, fqdns: [dns.google], tcp: [443]}
";
    let change = |text: String| text.replace("services: [core, time]", "services: [core, own]");
    run_without_policy("", "", |filter| {
        filter.install(&changed_config("", site, change)).expect("the policy goes into the maps");
        let rows = both(|who| {
            let row = |name, expected| {
                from_client(name, ask(who.client, who.resolver, &query(name)), expected)
            };
            vec![
                row("dns.google", expect(DnsQuery)),
                row("dns64.dns.google", expect(DnsOverHttps).no_name()),
                row("dns.quad9.net", expect(DnsOverHttps).no_name()),
            ]
        });
        check(filter, &rows);
    });
}
