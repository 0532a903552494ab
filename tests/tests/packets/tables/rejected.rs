//! Denied packets whose group is told so: which are answered, and which are not.

use intune_filter_ebpf::abi::Reason::{
    Destination, Fragment, Icmp, Policy, Port, Protocol, Unsolicited,
};
use intune_filter_tests::prog_test_run::{
    Addresses, Datagram, Expected, Flags, Row, both, check, datagram::patched, expect, from_client,
    to_client,
};

use crate::run;

pub(crate) fn denied(who: &Addresses) -> Vec<Row> {
    let to = |destination| Datagram::new(who.rejected, destination);
    let row = |what: &str, datagram: Datagram, expected: Expected| {
        from_client(what, datagram.frame(), expected)
    };
    let tcp = |flags| to(who.public).tcp(40000, 22, flags);
    let (error, options) = (to(who.public).unreachable(&tcp(Flags::SYN)), to(who.public));
    let options = if who.client.is_ipv4() {
        options.options(&[1, 1, 1, 1])
    } else {
        options.extension(60, &[0, 1, 4, 0, 0, 0, 0])
    };
    let group = Datagram::new(
        who.rejected,
        match who.client.is_ipv4() {
            true => "239.1.1.1".parse::<std::net::IpAddr>().unwrap(),
            false => "ff0e::1".parse().unwrap(),
        },
    );
    let broadcast = patched(tcp(Flags::SYN).frame(), 0, &[0xff; 6]);
    vec![
        row("SYN", tcp(Flags::SYN), expect(Destination).rejected()),
        row("a segment", tcp(Flags::ACK), expect(Destination).rejected()),
        row("FIN", tcp(Flags::FIN), expect(Destination).rejected()),
        row("another port", to(who.web).tcp(1, 22, Flags::SYN), {
            expect(Port).rule("core/web").rejected()
        }),
        row("UDP", to(who.public).udp(1, 2, b"x"), expect(Destination).rejected()),
        row("an echo request", to(who.public).echo_request(1), expect(Destination).rejected()),
        row("GRE", to(who.public).raw(47, &[0; 8]), expect(Protocol).rejected()),
        row("four octets of GRE", to(who.public).raw(47, &[0; 4]), expect(Protocol)),
        row("RST", tcp(Flags::RST), expect(Destination)),
        row("an error", error, expect(Icmp)),
        row("an echo reply", to(who.public).echo_reply(1), expect(Icmp)),
        row("a first fragment", to(who.public).fragment(0, true).udp(1, 2, b"8 octets"), {
            expect(Destination)
        }),
        row("a later fragment", to(who.public).fragment(2, false).raw(17, b"8 octets"), {
            expect(Fragment)
        }),
        row("to a group", group.udp(1, 2, b"x"), expect(Destination)),
        from_client("to every station", broadcast, expect(Destination)),
        row("with options", options.udp(1, 2, b"x"), expect(Destination)),
        row("allowed", to(who.web).tcp(1, 443, Flags::SYN), expect(Policy).rule("core/web")),
        to_client(
            "to the client",
            Datagram::new(who.public, who.rejected).tcp(1, 2, Flags::SYN).frame(),
            expect(Unsolicited),
        ),
    ]
}

#[test]
fn what_can_be_told_is_told() {
    run("", "", |filter| check(filter, &both(denied)));
}
