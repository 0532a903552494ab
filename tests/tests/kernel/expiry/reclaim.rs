//! The kernel makes room in a full table while answers refresh the addresses that have expired.

use std::{
    net::IpAddr,
    sync::{
        Barrier,
        atomic::{AtomicBool, AtomicU32, Ordering::SeqCst},
    },
    thread,
};

use intune_filter_ebpf::abi::{RuleMask, answer_flags};
use intune_filter_tests::prog_test_run::{LoadedFilter, state::now};

use super::{
    refresh::races,
    site::{Client, address, bit, next_answer, run},
};

/// Room in the table.
const ROOM: u32 = 256;
/// As many others are learned for each address that is refreshed; twice as many are expired.
const OTHERS: u32 = ROOM / 4;
const REFRESHER: usize = 0;
const CLIENTS: usize = 3;
/// Past the time for which an expired address makes no room.
const LONG_AGO: u64 = 61_000_000_000;

#[test]
fn an_address_that_is_refreshed_makes_no_room() {
    run("{min: 1s, max: 1d, grace: 0s}", |filter| {
        let rounds = (races() / u64::from(ROOM)).max(4);
        let refresher = Client::new(filter, REFRESHER).unwrap();
        let bit = bit(filter, REFRESHER);
        let (mut refreshed, mut others, mut full, mut held) = (0, 0, 0, 0);
        for _ in 0..rounds {
            filter.clear().unwrap();
            filter.kernel().reorder_hosts().unwrap();
            let then = now().unwrap() - LONG_AGO;
            for number in 0..ROOM {
                filter.kernel().ensure_host(address(number), RuleMask::of(191), then).unwrap();
            }
            let clients: Vec<Client> =
                (1..CLIENTS).map(|service| Client::new(filter, service).unwrap()).collect();
            let next = AtomicU32::new(ROOM);
            let over = AtomicBool::new(false);
            let begin = Barrier::new(CLIENTS);
            let mut kept = Vec::new();
            thread::scope(|scope| {
                for client in clients {
                    let (next, over, begin) = (&next, &over, &begin);
                    scope.spawn(move || {
                        begin.wait();
                        while !over.load(SeqCst) {
                            let number = next.fetch_add(1, SeqCst);
                            if number >= ROOM + OTHERS {
                                return;
                            }
                            client.ask(&[address(number)], 300).unwrap();
                        }
                    });
                }
                begin.wait();
                // In the order in which they make room.
                for address in (0..OTHERS).map(address) {
                    if !refresher.ask(&[address], 300).unwrap() {
                        held += 1;
                        continue;
                    }
                    // One that has made room before may find none for itself.
                    let mut had_room = false;
                    while let Some(()) = next_answer(&mut filter.events, |event, _| {
                        if event.rules == bit {
                            had_room = event.flags & answer_flags::FULL == 0;
                        }
                    })
                    .unwrap()
                    {}
                    if had_room {
                        assert_kept(filter, address, bit);
                        kept.push(address);
                    } else {
                        full += 1;
                    }
                }
                over.store(true, SeqCst);
            });
            kept.iter().for_each(|address| assert_kept(filter, *address, bit));
            refreshed += kept.len();
            others += next.load(SeqCst) - ROOM;
        }
        assert!(refreshed > 0 && others > 0);
        println!(
            "{rounds} rounds: {refreshed} refreshed, {others} others, {full} found no room, {held} held"
        );
    });
}

fn assert_kept(filter: &LoadedFilter, address: IpAddr, bit: RuleMask) {
    let host = filter.pins().host(address).unwrap();
    let now = now().unwrap();
    assert!(
        host.is_some_and(|host| host.rules.intersects(&bit) && host.expires > now),
        "{address} was refreshed, and is {host:?}"
    );
}
