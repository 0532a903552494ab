//! Stages that programs end in by a tail call.

use std::fs;

use aya::maps::{Map, MapData, ProgramArray};
use intune_filter_ebpf::{
    abi::Reason::{Destination, DnsUnlisted},
    maps::STAGE_REPLY,
};
use intune_filter_tests::prog_test_run::{
    Addresses, Datagram, Flags, IngressHook, LoadedFilter, Message, check, expect, from_client,
    message::A, run_roomy, site,
};

use crate::tables::queries::{ask, refused};

/// Takes the stages out of every array that is pinned; how many there were.
fn empty(filter: &LoadedFilter) -> usize {
    let pins = fs::read_dir(filter.pins().directory().stages()).unwrap();
    let arrays = pins.map(|pin| MapData::from_pin(pin.unwrap().path()).unwrap());
    arrays
        .map(|map| Map::from_map_data(map).unwrap())
        .map(|map| ProgramArray::try_from(map).unwrap().clear_index(&STAGE_REPLY).unwrap())
        .count()
}

#[test]
fn a_denied_packet_is_dropped_and_counted_if_the_stage_that_answers_is_gone() {
    // No other test is to have these filters after it.
    for hook in IngressHook::TEST_RUNS {
        run_roomy(hook, "", "", without_stage);
    }
}

fn without_stage(filter: &mut LoadedFilter) {
    filter.install(&site::config("", "")).expect("the policy goes into the maps");
    let query = Message::query(1, "elsewhere.example", A);
    for who in Addresses::both() {
        let tcp = Datagram::new(who.rejected, who.public).tcp(40000, 22, Flags::SYN).frame();
        check(
            filter,
            &[
                from_client("a query", ask(who.client, who.resolver, &query), refused()),
                from_client("a SYN", tcp, expect(Destination).rejected()),
            ],
        );
    }
    assert_eq!(empty(filter), 1);
    for who in Addresses::both() {
        let tcp = Datagram::new(who.rejected, who.public).tcp(40001, 22, Flags::SYN).frame();
        let denied = |what: &str| {
            let query = ask(who.client, who.resolver, &query);
            from_client(what, query, expect(DnsUnlisted))
        };
        // The second shows that the working memory was given back.
        check(
            filter,
            &[
                denied("a query"),
                from_client("a SYN", tcp, expect(Destination)),
                denied("another query"),
            ],
        );
    }
}
