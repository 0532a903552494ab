//! Answers of the TC program pass egress once, and imitations do not.

use intune_filter_tests::prog_test_run::{
    Addresses, Datagram, Fate, Flags, IngressHook, LoadedFilter, Message, live::stay, message::A,
    program::index, run,
};

const LAN: &str = "eth1";

/// The answer to a frame, and its mark.
fn answer(filter: &LoadedFilter, frame: &[u8]) -> (Vec<u8>, u32) {
    match filter.judge_at_tc(LAN, frame).unwrap() {
        (Fate::Answered(answer), mark) => (answer, mark),
        (other, _) => panic!("{other:?}"),
    }
}

#[test]
fn an_answer_passes_egress_once() {
    run("", "", |filter| {
        if filter.hook() != IngressHook::Tc {
            return;
        }
        // As it does in the kernel between the two programs.
        stay().unwrap();
        let lan = index(LAN).unwrap();
        for who in Addresses::both() {
            let unlisted = Message::query(1, "elsewhere.example", A);
            for denied in [
                Datagram::new(who.rejected, who.public).tcp(1, 22, Flags::SYN),
                Datagram::new(who.rejected, who.public).udp(1, 22, b"x"),
                Datagram::new(who.client, who.resolver).udp(40000, 53, unlisted.octets()),
            ] {
                let (frame, mark) = answer(filter, &denied.frame());
                let leave = |from, mark| filter.judge_egress(LAN, from, mark, &frame).unwrap();
                let counted = filter.state().unwrap();
                assert_ne!(mark, 0, "it has no mark");
                assert_eq!(leave(lan, 0), Fate::Dropped, "without a mark");
                assert_eq!(leave(lan, mark ^ 2), Fate::Dropped, "with another mark");
                assert_eq!(leave(lan + 1, mark), Fate::Dropped, "from another interface");
                let denials = filter.state().unwrap().counted_since(&counted, |_| String::new());
                assert_eq!(denials.len(), 1, "{denials:?}");
                let counted = filter.state().unwrap();
                assert_eq!(leave(lan, mark), Fate::Passed);
                assert_eq!(filter.state().unwrap().counters, counted.counters, "counted twice");
                assert_eq!(leave(lan, mark), Fate::Dropped, "for the second time");
                let (_, second) = answer(filter, &denied.frame());
                assert_ne!(mark, second, "two answers have one mark");
                assert_eq!(leave(lan, mark), Fate::Dropped, "with the last answer's mark");
                assert_eq!(leave(lan, second), Fate::Passed);
            }
        }
    });
}

#[test]
fn what_passes_and_what_is_dropped_has_no_mark() {
    run("", "", |filter| {
        if filter.hook() != IngressHook::Tc {
            return;
        }
        let who = Addresses::both()[0];
        for (destination, fate) in [(who.web, Fate::Passed), (who.public, Fate::Dropped)] {
            let frame = Datagram::new(who.client, destination).tcp(1, 443, Flags::SYN).frame();
            assert_eq!(filter.judge_at_tc(LAN, &frame).unwrap(), (fate, 0));
        }
    });
}
