//! Names expire while answers refresh their addresses: what an answer has given stays until the
//! daemon knows of that answer.

use std::{
    env,
    sync::{
        Barrier,
        atomic::{AtomicBool, AtomicU64, Ordering::SeqCst},
    },
    thread,
    time::{Duration, Instant},
};

use aya::maps::{HashMap, MapData};
use intune_filter::names::{answer::Answer, learning::forget_due};
use intune_filter_ebpf::abi::{Host, RuleMask, V4};
use intune_filter_tests::prog_test_run::state::now;

use super::site::{Answers, Client, Pace, SERVICES, address, bit, catch_up, learner, name, run};

/// Addresses that all answers lead to.
const ADDRESSES: u32 = 14;
/// Time to live of the answers, in seconds.
const TTL: u64 = 3000;
/// Answers of each client that wait to be heard of, at most: there is room for them in the ring.
const UNHEARD: u64 = 30;
/// The service whose name stays.
const KEEPER: usize = 0;

/// Number of races: the usual one, or `INTUNE_FILTER_RACES`.
pub fn races() -> u64 {
    env::var("INTUNE_FILTER_RACES").ok().and_then(|text| text.parse().ok()).unwrap_or(1000)
}

/// In which time, whatever the machine.
pub fn patience() -> Duration {
    Duration::from_secs(60 + races() / 100)
}

#[test]
fn what_an_answer_gives_is_never_taken_away_unheard() {
    run("{min: 1s, max: 1d, grace: 0s}", |filter| {
        let mut learner = learner(filter);
        let addresses: Vec<_> = (0..ADDRESSES).map(address).collect();
        // One name stays, with a shorter life: what the others add is to go again and again.
        let keeper = Client::new(filter, KEEPER).unwrap();
        assert!(keeper.ask(&addresses, 1000).unwrap());
        catch_up(&mut filter.events, &mut learner, |_| ()).unwrap();

        let heard: Vec<AtomicU64> = (0..SERVICES).map(|_| AtomicU64::new(0)).collect();
        let over = AtomicBool::new(false);
        let pace = Pace::new();
        let (held, asked) = (AtomicU64::new(0), AtomicU64::new(0));
        let begin = Barrier::new(SERVICES);
        let clients: Vec<_> = (1..SERVICES)
            .map(|service| {
                let hosts = filter.pins().map::<HashMap<MapData, V4, Host>>("HOSTS4").unwrap();
                (service, Client::new(filter, service).unwrap(), bit(filter, service), hosts)
            })
            .collect();
        thread::scope(|scope| {
            for (service, client, bit, hosts) in clients {
                let (heard, over, held, asked) = (&heard[service], &over, &held, &asked);
                let (begin, pace, addresses) = (&begin, &pace, &addresses);
                scope.spawn(move || {
                    let mut answers = 0;
                    begin.wait();
                    while !over.load(SeqCst) {
                        // No record is ever lost: what then is not heard of would stay for good.
                        if answers >= heard.load(SeqCst) + UNHEARD {
                            pace.rest(answers);
                            continue;
                        }
                        let earliest = now().unwrap() + TTL * 1_000_000_000;
                        if !client.ask(addresses, TTL as u32).unwrap() {
                            held.fetch_add(1, SeqCst);
                            continue;
                        }
                        answers += 1;
                        let turn = asked.fetch_add(1, SeqCst);
                        for address in addresses {
                            let std::net::IpAddr::V4(v4) = *address else { unreachable!() };
                            let host = hosts.get(&V4::from(v4), 0).ok();
                            let kept = host.is_some_and(|host| {
                                host.rules.intersects(&bit) && host.expires >= earliest
                            });
                            // Read afterwards: what was heard by now may have been heard before.
                            if !kept && heard.load(SeqCst) < answers {
                                over.store(true, SeqCst);
                                panic!(
                                    "{service}: answer {answers} to {address} is lost: {host:?}"
                                );
                            }
                        }
                        pace.rest(turn);
                    }
                });
            }
            begin.wait();
            let started = Instant::now();
            let (mut taken, mut passes) = (0, 0);
            let tables = filter.kernel().host_tables().unwrap();
            let rules =
                |address| tables.get(address).unwrap().map_or(RuleMask::EMPTY, |host| host.rules);
            while taken < races() && started.elapsed() < patience() && !over.load(SeqCst) {
                // As if they had expired just now.
                learner.names_mut().retain_rules(|one, _| one == name(KEEPER));
                let before: Vec<RuleMask> =
                    addresses.iter().map(|address| rules(*address)).collect();
                for address in &addresses {
                    learner.tracker().suspect(*address);
                }
                let (kernel, ring) = filter.kernel_and_events();
                let learner = &mut learner;
                let heard = |answer: &Answer| {
                    let service: usize = answer.name[1..2].parse().expect("a digit");
                    heard[service].fetch_add(1, SeqCst);
                };
                forget_due(kernel, &mut Answers { ring, learner, heard }).unwrap();
                let lost = addresses.iter().zip(before);
                let lost =
                    lost.filter(|(address, before)| before.intersects(&!rules(**address))).count();
                pace.adapt(lost as u64);
                taken += lost as u64;
                passes += 1;
            }
            over.store(true, SeqCst);
            let (held, asked) = (held.load(SeqCst), asked.load(SeqCst));
            assert!(taken >= races(), "only {taken} times was something taken away");
            println!("{taken} times taken away in {passes} passes, {asked} answers, {held} held");
        });
    });
}
