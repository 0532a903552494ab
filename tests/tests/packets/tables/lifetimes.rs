//! Lifetimes of flows: after silence, after their end, under a flood.

use intune_filter_ebpf::abi::{
    Flow,
    Reason::{self, Policy, Unsolicited},
};
use intune_filter_tests::prog_test_run::{
    Addresses, Bed, Datagram, Flags, check_in_order, check_on, expect, from_client, state::now,
    to_client,
};

use crate::{
    run,
    tables::flows::{WEB, back, flows, handshake, known, opened, out},
};

const SECOND: u64 = 1_000_000_000;

fn change_flows(filter: &dyn Bed, change: impl Fn(&mut Flow)) {
    filter.change_flows(&change).unwrap();
}

/// Makes all flows look as if they had been silent for a time.
fn rest(filter: &dyn Bed, seconds: u64) {
    let then = now().unwrap() - seconds * SECOND;
    change_flows(filter, |flow| flow.last_seen = then);
}

/// A flow's packets, and how long it is remembered in silence.
struct Lifetime {
    what: &'static str,
    rule: &'static str,
    ask: Vec<u8>,
    answer: Vec<u8>,
    answered: bool,
    seconds: u64,
}

fn lifetimes(who: &Addresses) -> Vec<Lifetime> {
    let web = (Datagram::new(who.client, who.web), Datagram::new(who.web, who.client));
    let push = (Datagram::new(who.client, who.push), Datagram::new(who.push, who.client));
    let mut lifetimes = Vec::new();
    for (what, answered, seconds) in [("an echo", false, 60), ("an answered echo", true, 60)] {
        let ask = web.0.clone().echo_request(1).frame();
        let answer = web.1.clone().echo_reply(1).frame();
        lifetimes.push(Lifetime { what, rule: WEB, ask, answer, answered, seconds });
    }
    for (what, answered, seconds) in [("UDP", false, 120), ("answered UDP", true, 300)] {
        let ask = push.0.clone().udp(1, 5223, b"x").frame();
        let answer = push.1.clone().udp(5223, 1, b"x").frame();
        lifetimes.push(Lifetime { what, rule: "core/push", ask, answer, answered, seconds });
    }
    for (what, answered, seconds) in [("TCP", false, 240), ("answered TCP", true, 7440)] {
        let ask = web.0.clone().tcp(1, 443, Flags::ACK).frame();
        let answer = web.1.clone().tcp(443, 1, Flags::ACK).frame();
        lifetimes.push(Lifetime { what, rule: WEB, ask, answer, answered, seconds });
    }
    lifetimes
}

#[test]
fn silence_ends_a_flow() {
    run("", "", |filter| {
        for who in Addresses::both() {
            let mut tried = 0;
            for Lifetime { what, rule, ask, answer, answered, seconds } in lifetimes(&who) {
                // The clock cannot be set back to before the machine's start.
                if now().unwrap() < (seconds + 2) * SECOND {
                    continue;
                }
                tried += 1;
                let flow = || expect(Reason::Flow).rule(rule);
                let begin = || from_client(what, ask.clone(), expect(Policy).rule(rule));
                let back = |expected| to_client(what, answer.clone(), expected);
                let mut rows = vec![begin()];
                if answered {
                    rows.push(back(flow()));
                }
                check_in_order(filter, &rows);
                rest(filter, seconds - 1);
                check_on(filter, &[from_client(what, ask.clone(), flow())]);
                rest(filter, seconds + 1);
                check_on(filter, &[back(expect(Unsolicited)), begin(), back(flow())]);
                assert_eq!(flows(filter, "FLOWS").len(), 1, "{what}");
            }
            assert!(tried > 0, "the machine has just started");
        }
    });
}

#[test]
fn a_closed_connection_is_soon_forgotten() {
    run("", "", |filter| {
        for who in Addresses::both() {
            let begin = handshake(&who);
            let fins = [
                from_client("FIN", out(&who, Flags::FIN), known()),
                to_client("FIN", back(&who, Flags::FIN), known()),
                from_client("the last ACK", out(&who, Flags::ACK), known()),
            ];
            let one_fin = [from_client("FIN", out(&who, Flags::FIN), known())];
            let reset = [to_client("RST", back(&who, Flags::RST), known())];
            let own_reset = [from_client("RST", out(&who, Flags::RST), known())];
            for end in [&fins[..], &reset[..], &own_reset[..]] {
                check_in_order(filter, &begin);
                check_on(filter, end);
                rest(filter, 29);
                check_on(filter, &[to_client("late", back(&who, Flags::ACK), known())]);
                rest(filter, 31);
                check_on(
                    filter,
                    &[
                        to_client("too late", back(&who, Flags::ACK), expect(Unsolicited)),
                        from_client("judged anew", out(&who, Flags::ACK), opened()),
                    ],
                );
                check_in_order(filter, &begin);
                check_on(filter, end);
                check_on(filter, &[from_client("a new SYN", out(&who, Flags::SYN), opened())]);
            }
            check_in_order(filter, &begin);
            check_on(filter, &one_fin);
            rest(filter, 31);
            check_on(filter, &[to_client("half closed", back(&who, Flags::ACK), known())]);
        }
    });
}
