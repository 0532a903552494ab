//! Addresses learned from a DNS answer: their rules and lifetimes.

use std::net::IpAddr;

use intune_filter_ebpf::abi::{
    Host,
    Occurrence::{HostsFull, NothingLearned},
    Reason::{DnsAnswer, DnsPunted},
    RuleMask,
};
use intune_filter_tests::prog_test_run::{
    Addresses, Bed, Message, check_in_order, check_on, expect, message::QUESTION, to_client,
};

use crate::{
    run,
    tables::answers::{
        NONE, PORTAL, WEB, addresses, answer, answered, asked, hosts, kind, query, teaches,
        try_answer,
    },
};

#[test]
fn the_time_to_live_is_bounded() {
    run("", "", |filter| {
        for who in Addresses::both() {
            for (ttl, seconds) in [
                (0, 90),
                (1, 90),
                (60, 90),
                (61, 91),
                (3600, 3630),
                (86_400, 86_430),
                (86_401, 86_430),
                (0x7fff_ffff, 86_430),
                // With its highest bit set it counts as zero.
                (0x8000_0000, 90),
                (u32::MAX, 90),
            ] {
                let message = query(&who).answered().address(&QUESTION, ttl, who.public);
                try_answer(filter, &who, "an answer", &message, teaches(&message));
                assert_eq!(hosts(filter)[&who.public].1, seconds, "time to live {ttl}");
            }
        }
    });
    run(", ttl: {min: 5s, max: 10s, grace: 2s}", "", |filter| {
        for who in Addresses::both() {
            for (ttl, seconds) in [(0, 7), (7, 9), (300, 12)] {
                let message = query(&who).answered().address(&QUESTION, ttl, who.public);
                try_answer(filter, &who, "an answer", &message, teaches(&message));
                assert_eq!(hosts(filter)[&who.public].1, seconds, "time to live {ttl}");
            }
        }
    });
}

#[test]
fn a_later_answer_prolongs_and_adds_rules() {
    run("", "", |filter| {
        for who in Addresses::both() {
            let learn = |filter: &mut dyn Bed, text: &str, ttl| {
                let query = Message::query(9, text, kind(who.public));
                let message = query.answered().address(&QUESTION, ttl, who.public);
                let answer = to_client(text, answered(&who, &message).frame(), teaches(&message));
                check_on(filter, &[asked(&who, &query), answer]);
            };
            filter.clear().unwrap();
            let [web, push] = [WEB, "core/push"].map(|rule| RuleMask::of(filter.rule(rule)));
            learn(filter, PORTAL, 1000);
            assert_eq!(hosts(filter)[&who.public], (web, 1030));
            learn(filter, PORTAL, 100);
            assert_eq!(hosts(filter)[&who.public], (web, 1030), "never shortened");
            learn(filter, "push.core.example", 2000);
            assert_eq!(hosts(filter)[&who.public], (web | push, 2030));
        }
    });
}

/// Claims every learned address, as who narrows it does for a moment, or gives it back.
fn claim(filter: &dyn Bed, claimed: bool) {
    let change = |host: &mut Host| {
        host.version &= !Host::CLAIMED;
        host.version |= if claimed { Host::CLAIMED } else { 0 };
    };
    filter.change_hosts(&change).unwrap();
}

#[test]
fn an_answer_waits_while_its_address_cannot_be_written_to() {
    run("", "", |filter| {
        for who in Addresses::both() {
            filter.clear().unwrap();
            let learn = |ttl| query(&who).answered().address(&QUESTION, ttl, who.public);
            try_answer(filter, &who, "an answer", &learn(100), teaches(&learn(100)));
            let told =
                |text, expected| to_client(text, answered(&who, &learn(1000)).frame(), expected);
            claim(filter, true);
            check_on(filter, &[asked(&who, &query(&who)), told("held", expect(DnsPunted))]);
            assert_eq!(hosts(filter)[&who.public].1, 130);
            claim(filter, false);
            check_on(filter, &[told("sent again", teaches(&learn(1000)))]);
            assert_eq!(hosts(filter)[&who.public].1, 1030);
        }
    });
}

#[test]
fn a_name_of_no_rule_teaches_nothing() {
    run(", unlisted: forward", "", |filter| {
        for who in Addresses::both() {
            let query = Message::query(1, "elsewhere.example", kind(who.public));
            let message = query.answered().address(&QUESTION, 300, who.public);
            check_in_order(
                filter,
                &[
                    asked(&who, &query),
                    to_client("its answer", answered(&who, &message).frame(), expect(DnsAnswer)),
                ],
            );
            assert_eq!(addresses(filter), NONE);
        }
    });
}

#[test]
fn addresses_that_find_no_room_are_counted() {
    run("", "", |filter| {
        for who in Addresses::both() {
            filter.clear().unwrap();
            for n in 0..256 {
                let address: IpAddr = match who.public {
                    IpAddr::V4(_) => std::net::Ipv4Addr::from(0x1500_0000 + n).into(),
                    IpAddr::V6(_) => std::net::Ipv6Addr::from(u128::from(n) | 0x2a02 << 112).into(),
                };
                filter.learn(address, WEB, 1000).unwrap();
            }
            let message = answer(&who);
            let length = message.octets().len();
            let full = expect(DnsAnswer).and(NothingLearned, length).and(HostsFull, length);
            let row = to_client("the answer", answered(&who, &message).frame(), full);
            check_on(filter, &[asked(&who, &query(&who)), row]);
        }
    });
}
