//! Expired addresses are removed while answers refresh them: one that was refreshed stays.

use std::{
    net::IpAddr,
    sync::{
        Barrier,
        atomic::{AtomicBool, AtomicU64, Ordering::SeqCst},
    },
    thread,
    time::Instant,
};

use aya::maps::{HashMap, MapData};
use intune_filter_ebpf::abi::{Host, V4};
use intune_filter_tests::prog_test_run::state::now;

use super::{
    refresh::{patience, races},
    site::{Client, Pace, address, bit, run},
};

const ADDRESSES: u32 = 14;
const CLIENTS: usize = 4;
/// Seconds.
const TTL: u64 = 300;

#[test]
fn an_address_that_is_refreshed_is_not_swept_away() {
    run("{min: 1s, max: 1d, grace: 0s}", |filter| {
        let addresses: Vec<IpAddr> = (0..ADDRESSES).map(address).collect();
        let over = AtomicBool::new(false);
        let pace = Pace::new();
        // Everything that expires before may be removed.
        let bound = AtomicU64::new(0);
        let (held, asked) = (AtomicU64::new(0), AtomicU64::new(0));
        let begin = Barrier::new(CLIENTS + 1);
        let clients: Vec<_> = (0..CLIENTS)
            .map(|service| {
                let hosts = filter.pins().map::<HashMap<MapData, V4, Host>>("HOSTS4").unwrap();
                (service, Client::new(filter, service).unwrap(), bit(filter, service), hosts)
            })
            .collect();
        thread::scope(|scope| {
            for (service, client, bit, hosts) in clients {
                let (over, bound, held, asked) = (&over, &bound, &held, &asked);
                let (begin, pace, addresses) = (&begin, &pace, &addresses);
                scope.spawn(move || {
                    begin.wait();
                    while !over.load(SeqCst) {
                        let earliest = now().unwrap() + TTL * 1_000_000_000;
                        if !client.ask(addresses, TTL as u32).unwrap() {
                            held.fetch_add(1, SeqCst);
                            continue;
                        }
                        let turn = asked.fetch_add(1, SeqCst);
                        for address in addresses {
                            let IpAddr::V4(v4) = *address else { unreachable!() };
                            let host = hosts.get(&V4::from(v4), 0).ok();
                            let kept = host.is_some_and(|host| {
                                host.rules.intersects(&bit) && host.expires >= earliest
                            });
                            if !kept && bound.load(SeqCst) <= earliest {
                                over.store(true, SeqCst);
                                panic!("{service}: {address} was refreshed, and is {host:?}");
                            }
                        }
                        pace.rest(turn);
                    }
                });
            }
            begin.wait();
            let started = Instant::now();
            let (mut removed, mut passes) = (0, 0);
            let tables = filter.kernel().host_tables().unwrap();
            while removed < races() && started.elapsed() < patience() && !over.load(SeqCst) {
                let expires = addresses.iter().filter_map(|address| tables.get(*address).unwrap());
                // All that are not refreshed from now on.
                let Some(last) = expires.map(|host| host.expires).max() else { continue };
                bound.store(last + 1, SeqCst);
                let expired = filter.kernel().remove_expired_hosts(last + 1, 0).unwrap() as u64;
                pace.adapt(expired);
                removed += expired;
                passes += 1;
            }
            over.store(true, SeqCst);
            assert!(removed >= races(), "only {removed} addresses were removed");
            let (held, asked) = (held.load(SeqCst), asked.load(SeqCst));
            println!("{removed} removed in {passes} passes, {asked} answers, {held} held");
        });
    });
}
