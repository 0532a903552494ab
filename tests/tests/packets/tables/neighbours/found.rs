//! What random frames have found: a neighbour's packets in a client's name that once changed what became
//! of the client's own.

use intune_filter_ebpf::abi::Reason::{
    DnsAnswer, DnsQuery, Fragment, FragmentAllowed, Policy, Unsolicited,
};
use intune_filter_tests::prog_test_run::{
    Addresses, Datagram, Message, Row, check_in_order, check_on, datagram::patched, expect,
    from_client, message::QUESTION, to_client,
};

use super::hostile::OWN;
use crate::{
    run,
    tables::answers::{kind, teaches},
};

fn by(mac: [u8; 6], datagram: &Datagram) -> Vec<u8> {
    patched(datagram.frame(), 6, &mac)
}

#[test]
fn fragments_of_another_sender_are_denied_and_end_no_datagram() {
    const NTP: &str = "time/ntp";
    run("", "", |filter| {
        for who in Addresses::both() {
            let part = |offset, more| Datagram::new(who.client, who.ntp).fragment(offset, more);
            let first = part(0, true).udp(40000, 123, &[0x23; 16]);
            let over_headers = part(0, true).udp(40000, 123, &[0x24; 16]);
            let later = |offset, more| part(offset, more).raw(17, &[7; 8]);
            let denied = |what: &str, datagram: &Datagram| {
                from_client(what, by(OWN, datagram), expect(Fragment))
            };
            let follows = |what: &str, datagram: &Datagram| {
                from_client(what, datagram.frame(), expect(FragmentAllowed).rule(NTP))
            };
            check_in_order(
                filter,
                &[
                    from_client("a first", first.frame(), expect(Policy).rule(NTP)),
                    denied("another's first", &over_headers),
                    follows("the next", &later(3, true)),
                    denied("another's next", &later(4, true)),
                    follows("the one behind", &later(4, true)),
                    follows("the last", &later(5, false)),
                    // Its sender alone ends it.
                    from_client("a second first", over_headers.frame(), expect(Fragment)),
                    from_client("one more", later(6, true).frame(), expect(Fragment)),
                ],
            );
        }
    });
}

#[test]
fn questions_of_another_sender_displace_none_of_a_clients() {
    run("", "", |filter| {
        for who in Addresses::both() {
            let question = |name: &str| Message::query(7, name, kind(who.public));
            let ask = |message: &Message| {
                Datagram::new(who.client, who.resolver).udp(40000, 53, message.octets())
            };
            let tell = |message: &Message| {
                Datagram::new(who.resolver, who.client).udp(53, 40000, message.octets())
            };
            let own = ["portal.core.example", "push.core.example"].map(question);
            let others = ["a.apps.core.example", "b.apps.core.example"].map(question);
            let asks = |what: &str, message: &Message| {
                from_client(what, ask(message).frame(), expect(DnsQuery))
            };
            let forges = |what: &str, message: &Message| {
                from_client(what, by(OWN, &ask(message)), expect(DnsQuery))
            };
            let answer = own[0].answered().address(&QUESTION, 300, who.public);
            let other = own[1].answered().address(&QUESTION, 300, who.public2);
            let told: [Row; 2] = [
                to_client("the first answer", tell(&answer).frame(), teaches(&answer)),
                to_client("the second", tell(&other).frame(), teaches(&other)),
            ];
            check_in_order(
                filter,
                &[
                    forges("another's, which comes first", &others[0]),
                    asks("its own", &own[0]),
                    forges("another's", &others[0]),
                    asks("its second", &own[1]),
                    forges("another's again", &others[0]),
                    forges("another's second", &others[1]),
                ],
            );
            check_on(filter, &told);
            let forged = others[1].answered();
            let nothing =
                to_client("of what was not noted", tell(&forged).frame(), expect(Unsolicited));
            check_on(filter, &[nothing]);

            let repeated = to_client("repeated", tell(&answer).frame(), expect(DnsAnswer));
            check_on(filter, &[repeated]);
        }
    });
}
