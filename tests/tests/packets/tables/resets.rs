//! Resets and FINs: they open no flow, and end one only for who knows its numbers.

use intune_filter_ebpf::abi::{
    Flow,
    Reason::{Exempt, Inbound, UnlistedAllowed, Unsolicited},
    flow_flags,
};
use intune_filter_tests::prog_test_run::{
    Addresses, Datagram, Flags, check_in_order, check_on, expect, from_client,
    site::{self},
    to_client,
};

use crate::{
    run,
    tables::flows::{back, flows, known, opened, out},
};

const ENDING: [(&str, Flags); 4] = [
    ("RST", Flags { ack: false, ..Flags::RST }),
    ("RST ACK", Flags::RST),
    ("FIN", Flags::FIN),
    ("SYN FIN", Flags { syn: true, ..Flags::FIN }),
];
const NONE: [Flow; 0] = [];

#[test]
fn what_ends_a_connection_opens_no_flow() {
    run("", "unlisted_clients: allow", |filter| {
        for who in Addresses::both() {
            for (what, flags) in ENDING {
                let from = |source| Datagram::new(source, who.web).tcp(40000, 443, flags).frame();
                let to = |client| Datagram::new(who.public, client).tcp(1, 22, flags).frame();
                check_in_order(
                    filter,
                    &[
                        from_client(what, from(who.client), opened().flowless()),
                        from_client(what, from(who.exempt), expect(Exempt)),
                        from_client(what, from(who.unlisted), expect(UnlistedAllowed)),
                        to_client(what, to(who.server), expect(Inbound)),
                        to_client("its answer", back(&who, Flags::ACK), expect(Unsolicited)),
                    ],
                );
                assert_eq!(flows(filter, "NEW_FLOWS"), NONE, "{what}");
                assert_eq!(flows(filter, "FLOWS"), NONE, "{what}");
            }
        }
    });
}

/// A forged segment passes, the endpoints judge it; the flow lives as long as before.
#[test]
fn a_neighbour_that_guesses_ends_nothing() {
    run("", "", |filter| {
        for who in Addresses::both() {
            check_in_order(
                filter,
                &[
                    from_client("SYN", out(&who, Flags::SYN), opened()),
                    to_client("SYN ACK", back(&who, Flags::SYN_ACK), known()),
                    from_client("ACK", out(&who, Flags::ACK), known()),
                    to_client("ACK", back(&who, Flags::ACK), known()),
                ],
            );
            let guess = |flags, number: u32, at| {
                let datagram = Datagram::new(who.client, who.web);
                datagram.segment([40000, 443], flags, [at, number], b"").frame()
            };
            let mut rows = Vec::new();
            for step in 0..32_u32 {
                let number = step.wrapping_mul(0x0810_4021).wrapping_add(1 << 24);
                rows.push(from_client("data", guess(Flags::ACK, number, number), known()));
                for (what, flags) in ENDING {
                    rows.push(from_client(what, guess(flags, number, number), known()));
                }
            }
            check_on(filter, &rows);
            let ended = flow_flags::CLIENT_FIN | flow_flags::REMOTE_FIN | flow_flags::RESET;
            let [flow] = flows(filter, "FLOWS")[..] else { panic!("not one flow") };
            assert_eq!(flow.flags & ended, 0);
            // Who knows where the web server waits for the next octet.
            let own = guess(Flags { ack: false, ..Flags::RST }, 0, 10);
            check_on(
                filter,
                &[
                    to_client(
                        "it waits",
                        {
                            let datagram = Datagram::new(who.web, who.client);
                            datagram.segment([443, 40000], Flags::ACK, [10, 10], b"").frame()
                        },
                        known(),
                    ),
                    from_client("RST", own, known()),
                ],
            );
            let [flow] = flows(filter, "FLOWS")[..] else { panic!("not one flow") };
            assert_eq!(flow.flags & ended, flow_flags::RESET);
        }
        filter.install(&site::config("", "")).unwrap();
    });
}
