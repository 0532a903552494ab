//! The warm-up: what passes until its deadline, what does not, and what becomes of its flows.

use intune_filter_ebpf::abi::Reason::{
    self, Destination, DnsOverTls, Expired, LinkLocal, Policy, Port, Protocol, Resolver, Service,
    UnlistedClient, Unsolicited,
};
use intune_filter_tests::prog_test_run::{
    Addresses, Bed, Datagram, Flags, check, check_in_order, check_on, expect, from_client,
    site::{changed_config, config},
    state::now,
    to_client,
};

use crate::{
    run,
    tables::flows::{WEB, flows},
};

const MINUTE: u64 = 60_000_000_000;

fn warm(filter: &mut dyn Bed) {
    filter.install_warming(&config("", ""), now().unwrap() + MINUTE).unwrap();
}

/// Lets the deadline of the policy in force pass: nothing but the clock tells the kernel.
fn let_end(filter: &mut dyn Bed) {
    let now = now().unwrap();
    filter.change_settings(&|settings| settings.warm_up_until = now).unwrap();
}

fn private(who: &Addresses) -> std::net::IpAddr {
    if who.client.is_ipv4() { "10.99.0.1" } else { "fd99::1" }.parse().unwrap()
}

#[test]
fn unknown_destinations_pass_audited_on_the_ports_of_services_alone() {
    run("", "", |filter| {
        warm(filter);
        for who in Addresses::both() {
            let to = |destination| Datagram::new(who.client, destination);
            let tcp = |destination, port| to(destination).tcp(40000, port, Flags::SYN).frame();
            let unknown = || expect(Destination);
            let rows = [
                from_client("unknown", tcp(who.public, 443), unknown().audited()),
                from_client("another service's port", tcp(who.public, 5223), unknown().audited()),
                from_client("UDP", to(who.public).udp(1, 123, b"x").frame(), unknown().audited()),
                from_client("ping", to(who.public).echo_request(7).frame(), unknown().audited()),
                from_client("no service's port", tcp(who.public, 22), unknown()),
                from_client("DNS over TLS", tcp(who.public, 853), expect(DnsOverTls)),
                from_client("the port, but UDP", to(who.public).udp(1, 443, b"x").frame(), {
                    unknown()
                }),
                from_client("a private destination", tcp(private(&who), 443), unknown()),
                from_client("another resolver", tcp(who.public, 53), expect(Resolver)),
                from_client("the same over UDP", to(who.public).udp(1, 53, b"x").frame(), {
                    expect(Resolver)
                }),
                from_client("known, another port", tcp(who.web, 22), expect(Port).rule(WEB)),
                from_client("known, another group's", tcp(who.foreign, 443), {
                    expect(Service).rule("other/web")
                }),
                from_client("known", tcp(who.web, 443), expect(Policy).rule(WEB)),
                from_client("another protocol", to(who.public).raw(47, &[0; 8]).frame(), {
                    expect(Protocol)
                }),
                to_client(
                    "unasked",
                    Datagram::new(who.public, who.client).tcp(443, 1, Flags::SYN).frame(),
                    expect(Unsolicited),
                ),
            ];
            check(filter, &rows);
            let from = |source| Datagram::new(source, who.public).tcp(40000, 443, Flags::SYN);
            let rows = [
                from_client("audited anyway", from(who.audited).frame(), unknown().audited()),
                from_client("in no group", from(who.unlisted).frame(), expect(UnlistedClient)),
                from_client("link-local", from(who.link_local).frame(), expect(LinkLocal)),
                from_client("told of denials", from(who.rejected).frame(), unknown().audited()),
            ];
            check(filter, &rows);
            filter.learn(who.public, WEB, -10).unwrap();
            let expired = expect(Expired).rule(WEB).audited();
            check_on(filter, &[from_client("expired", tcp(who.public, 443), expired)]);
        }
    });
}

#[test]
fn a_rule_without_names_opens_no_port() {
    run("", "", |filter| {
        let more = "services: [{id: printer, cidrs: [192.0.2.0/28], tcp: [631]}]";
        let config =
            changed_config("", more, |text| text.replacen("[core, time]", "[core, printer]", 1));
        filter.install_warming(&config, now().unwrap() + MINUTE).unwrap();
        for who in Addresses::both() {
            let to = |port| Datagram::new(who.client, who.public).tcp(40000, port, Flags::SYN);
            let rows = [
                from_client(
                    "a name may be missing",
                    to(443).frame(),
                    expect(Destination).audited(),
                ),
                from_client("none can be", to(631).frame(), expect(Destination)),
            ];
            check(filter, &rows);
        }
    });
}

#[test]
fn flows_of_the_warm_up_end_with_it_unless_their_destination_is_known_by_then() {
    run("", "", |filter| {
        for who in Addresses::both() {
            let out = |flags| Datagram::new(who.client, who.public).tcp(40000, 443, flags).frame();
            let back = |flags| Datagram::new(who.public, who.client).tcp(443, 40000, flags).frame();
            let known = || expect(Reason::Flow).audited();
            let begin = [
                from_client("SYN", out(Flags::SYN), expect(Destination).audited()),
                to_client("SYN ACK", back(Flags::SYN_ACK), known()),
                from_client("ACK", out(Flags::ACK), known()),
                to_client("data", back(Flags::ACK), known()),
            ];
            for (learned, to_client_first) in
                [(true, false), (true, true), (false, false), (false, true)]
            {
                warm(filter);
                check_in_order(filter, &begin);
                let [flow] = flows(filter, "FLOWS")[..] else { panic!("one flow") };
                assert_eq!((flow.generation, flow.client_packets, flow.remote_packets), (0, 2, 2));
                if learned {
                    filter.learn(who.public, WEB, 60).unwrap();
                }
                check_on(filter, &[from_client("still", out(Flags::ACK), known())]);
                let_end(filter);
                let from =
                    if learned { expect(Policy).rule(WEB).by_name() } else { expect(Destination) };
                let then =
                    if learned { expect(Reason::Flow).rule(WEB) } else { expect(Unsolicited) };
                let from = from_client("from the client", out(Flags::ACK), from);
                let rows = if to_client_first {
                    let first = to_client("first to it", back(Flags::ACK), expect(Unsolicited));
                    vec![first, from, to_client("then", back(Flags::ACK), then)]
                } else {
                    vec![from, to_client("then", back(Flags::ACK), then)]
                };
                check_on(filter, &rows);
            }
        }
    });
}

#[test]
fn flows_of_the_warm_up_outlive_a_reload_within_it_and_no_other() {
    run("", "", |filter| {
        for who in Addresses::both() {
            let out = |flags| Datagram::new(who.client, who.public).tcp(40000, 443, flags).frame();
            let begin = [from_client("SYN", out(Flags::SYN), expect(Destination).audited())];
            let known = || from_client("more", out(Flags::ACK), expect(Reason::Flow).audited());
            let gone = || from_client("no more", out(Flags::ACK), expect(Destination));
            warm(filter);
            check_in_order(filter, &begin);
            warm(filter);
            check_on(filter, &[known()]);
            let_end(filter);
            check_on(filter, &[gone()]);
            warm(filter);
            check_in_order(filter, &begin);
            filter.install(&config("", "")).unwrap();
            check_on(filter, &[gone()]);
            // The group's own audit goes on with the warm-up over.
            let audited =
                Datagram::new(who.audited, who.public).tcp(40000, 443, Flags::SYN).frame();
            warm(filter);
            let passed = expect(Destination).audited();
            check_in_order(filter, &[from_client("audited", audited.clone(), passed)]);
            let_end(filter);
            let passed = expect(Reason::Flow).audited();
            check_on(filter, &[from_client("audited", audited, passed)]);
        }
    });
}
