//! Packets to clients that answer nothing: the group's `inbound` choice.

use intune_filter_ebpf::abi::Reason::{self, Destination, Exempt, Inbound, Unsolicited};
use intune_filter_tests::prog_test_run::{
    Addresses, Datagram, Flags, check, check_in_order, check_on, expect, from_client,
    site::{changed_config, config},
    to_client,
};

use crate::{run, tables::flows::flows};

#[test]
fn packets_to_clients_answer_something_unless_the_group_lets_them_in() {
    run("", "", |filter| {
        for who in Addresses::both() {
            let to = |client| Datagram::new(who.public, client);
            let rows = [
                to_client("enforced", to(who.client).tcp(1, 22, Flags::SYN).frame(), {
                    expect(Unsolicited)
                }),
                to_client("unlisted", to(who.unlisted).tcp(1, 22, Flags::SYN).frame(), {
                    expect(Unsolicited)
                }),
                to_client("audited", to(who.audited).tcp(1, 22, Flags::SYN).frame(), {
                    expect(Unsolicited).audited()
                }),
                to_client("exempt", to(who.exempt).tcp(1, 22, Flags::SYN).frame(), expect(Exempt)),
                to_client("let in", to(who.server).tcp(1, 22, Flags::SYN).frame(), expect(Inbound)),
                to_client("let in", to(who.server).udp(1, 22, b"x").frame(), expect(Inbound)),
                to_client("let in", to(who.server).echo_request(1).frame(), expect(Inbound)),
                to_client("let in", to(who.server).raw(47, &[0; 8]).frame(), expect(Inbound)),
                to_client(
                    "let in, from port 53",
                    to(who.server).udp(53, 40000, b"x").frame(),
                    expect(Inbound),
                ),
            ];
            check(filter, &rows);
        }
    });
}

#[test]
fn what_was_let_in_is_answered() {
    run("", "", |filter| {
        for who in Addresses::both() {
            let ask = |flags| Datagram::new(who.public, who.server).tcp(999, 22, flags).frame();
            let answer =
                |port, flags| Datagram::new(who.server, who.public).tcp(port, 999, flags).frame();
            let flow = || expect(Reason::Flow);
            check_in_order(
                filter,
                &[
                    from_client("nothing yet", answer(22, Flags::SYN_ACK), expect(Destination)),
                    to_client("SYN", ask(Flags::SYN), expect(Inbound)),
                    from_client("SYN ACK", answer(22, Flags::SYN_ACK), flow()),
                    to_client("ACK", ask(Flags::ACK), flow()),
                    from_client("data", answer(22, Flags::ACK), flow()),
                    from_client("from another port", answer(23, Flags::ACK), expect(Destination)),
                ],
            );
            assert_eq!(flows(filter, "FLOWS").len(), 1);
            let closed = changed_config("", "", |text| text.replace("inbound: allow", ""));
            filter.install(&closed).unwrap();
            check_on(
                filter,
                &[
                    from_client("no longer answered", answer(22, Flags::ACK), expect(Destination)),
                    to_client("no longer let in", ask(Flags::ACK), expect(Unsolicited)),
                ],
            );
            filter.install(&config("", "")).unwrap();
        }
    });
}
