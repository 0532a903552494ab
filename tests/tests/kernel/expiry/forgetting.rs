//! An address lives as long as its last name, and a rule at it as long as the last name that gave
//! it, as far as the daemon knows of all answers.

use std::{
    thread,
    time::{Duration, Instant},
};

use intune_filter::names::{
    answer::Answer,
    learning::{Learner, forget_expired},
};
use intune_filter_ebpf::abi::{Host, RuleMask};
use intune_filter_tests::prog_test_run::{LoadedFilter, state::now};

use super::site::{Answers, Client, address, bit, catch_up, learner, run};

/// Longest wait for an expiry after seconds.
const PATIENCE: Duration = Duration::from_secs(60);
/// Room in the ring buffer, in octets.
const RING: usize = 1 << 16;

fn forget(filter: &mut LoadedFilter, learner: &mut Learner) {
    let (kernel, ring) = filter.kernel_and_events();
    forget_expired(kernel, &mut Answers { ring, learner, heard: |_: &Answer| () }).unwrap();
}

/// Forgets again and again until an address has these rules, and no others; never fewer.
fn wait_for(filter: &mut LoadedFilter, learner: &mut Learner, rules: RuleMask) {
    let started = Instant::now();
    loop {
        forget(filter, learner);
        let found = filter.pins().host(address(1)).unwrap().expect("it is known").rules;
        assert_eq!(found & rules, rules, "a rule that a name still backs");
        if found == rules {
            return;
        }
        assert!(started.elapsed() < PATIENCE, "{found:?} stays, expected {rules:?}");
        thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn a_rule_goes_with_the_last_name_that_gave_it() {
    run("{min: 1s, max: 1d, grace: 0s}", |filter| {
        let mut learner = learner(filter);
        let bits: Vec<RuleMask> = (0..3).map(|service| bit(filter, service)).collect();
        for (service, ttl) in [(0, 1), (1, 3), (2, 300), (0, 2)] {
            assert!(Client::new(filter, service).unwrap().ask(&[address(1)], ttl).unwrap());
        }
        let begin = now().unwrap();
        catch_up(&mut filter.events, &mut learner, |_| ()).unwrap();
        forget(filter, &mut learner);
        let all = bits[0] | bits[1] | bits[2];
        wait_for(filter, &mut learner, bits[1] | bits[2]);
        assert!(now().unwrap() >= begin + 2_000_000_000 - 500_000_000, "the later answer counts");
        wait_for(filter, &mut learner, bits[2]);
        // It comes back with the next answer.
        assert!(Client::new(filter, 0).unwrap().ask(&[address(1)], 300).unwrap());
        assert!(Client::new(filter, 1).unwrap().ask(&[address(1)], 300).unwrap());
        wait_for(filter, &mut learner, all);
    });
}

#[test]
fn what_is_left_expires_with_its_last_name() {
    run("{min: 1s, max: 1d, grace: 0s}", |filter| {
        let mut learner = learner(filter);
        for (service, ttl) in [(0, 1), (1, 300)] {
            assert!(Client::new(filter, service).unwrap().ask(&[address(1)], ttl).unwrap());
        }
        // The name with the longer life loses it: a policy without its pattern.
        catch_up(&mut filter.events, &mut learner, |_| ()).unwrap();
        learner.names_mut().retain_rules(|name, _| name == "s0.test");
        learner.tracker().suspect(address(1));
        forget(filter, &mut learner);
        let host = filter.pins().host(address(1)).unwrap().unwrap();
        assert_eq!(host.rules, bit(filter, 0));
        assert!(host.expires < now().unwrap() + 1_000_000_000, "as long as the other name");
        // Once that has expired, so has the address; it stays, to be told of as expired.
        let started = Instant::now();
        while !learner.names().is_empty() {
            forget(filter, &mut learner);
            assert!(started.elapsed() < PATIENCE);
            thread::sleep(Duration::from_millis(20));
        }
        forget(filter, &mut learner);
        let host = filter.pins().host(address(1)).unwrap().unwrap();
        assert!(host.rules == bit(filter, 0) && host.expires <= now().unwrap());
    });
}

/// Rules from before the expiry are gone.
#[test]
fn an_address_that_has_expired_comes_back_with_what_it_is_given_then() {
    run("{min: 1s, max: 1d, grace: 0s}", |filter| {
        assert!(Client::new(filter, 0).unwrap().ask(&[address(1)], 1).unwrap());
        let host = || filter.pins().host(address(1)).unwrap().unwrap();
        let first = host();
        while now().unwrap() <= first.expires {
            thread::sleep(Duration::from_millis(20));
        }
        assert!(Client::new(filter, 1).unwrap().ask(&[address(1)], 300).unwrap());
        let second = host();
        assert_eq!(second.rules, bit(filter, 1));
        assert!(second.expires > now().unwrap() + 290_000_000_000);
        assert_eq!(second.version, first.version + Host::REFRESH, "it was refreshed once");
    });
}

#[test]
fn what_a_killed_daemon_knew_goes_though_another_name_lives() {
    run("{min: 1s, max: 1d, grace: 0s}", |filter| {
        let mut killed = learner(filter);
        for (service, ttl) in [(0, 1), (1, 4)] {
            assert!(Client::new(filter, service).unwrap().ask(&[address(1)], ttl).unwrap());
        }
        let until = now().unwrap() + 4_000_000_000;
        catch_up(&mut filter.events, &mut killed, |_| ()).unwrap();
        drop(killed);
        let mut learner = learner(filter);
        for (address, host) in filter.pins().hosts().unwrap() {
            learner.examine(address, &host, now().unwrap());
        }
        forget(filter, &mut learner);
        assert!(Client::new(filter, 1).unwrap().ask(&[address(1)], 300).unwrap());
        wait_for(filter, &mut learner, bit(filter, 1));
        assert!(now().unwrap() + 500_000_000 >= until, "not before what it was known for");
    });
}

#[test]
fn what_was_not_heard_of_stays_until_it_expires_by_itself() {
    run("{min: 1s, max: 1d, grace: 0s}", |filter| {
        let mut learner = learner(filter);
        let both = bit(filter, 0) | bit(filter, 1);
        assert!(Client::new(filter, 0).unwrap().ask(&[address(1)], 1).unwrap());
        // Nobody reads while the ring overflows; then comes an answer that is lost.
        let other = Client::new(filter, 2).unwrap();
        for _ in 0..RING / 64 {
            assert!(other.ask(&[address(2)], 300).unwrap());
        }
        assert!(Client::new(filter, 1).unwrap().ask(&[address(1)], 4).unwrap());
        let lost = now().unwrap();
        let mut heard = Vec::new();
        catch_up(&mut filter.events, &mut learner, |answer| heard.push(answer.name.clone()))
            .unwrap();
        assert!(heard[0] == "s0.test" && !heard.contains(&"s1.test".to_owned()), "{heard:?}");
        // The only name that is known expires; what is not known of keeps what the kernel has.
        let started = Instant::now();
        while learner.names().of_address(address(1)).any(|(_, binding)| !binding.lapsed) {
            forget(filter, &mut learner);
            assert!(started.elapsed() < PATIENCE);
            thread::sleep(Duration::from_millis(20));
        }
        forget(filter, &mut learner);
        let host = filter.pins().host(address(1)).unwrap().unwrap();
        assert_eq!(host.rules, both);
        assert!(host.expires > lost + 3_000_000_000);
        // From then on every answer is known, and what was unknown goes in its time.
        assert!(Client::new(filter, 2).unwrap().ask(&[address(1)], 300).unwrap());
        let third = bit(filter, 2);
        wait_for_third(filter, &mut learner, third);
        assert!(now().unwrap() >= lost + 3_000_000_000, "not before it has expired");
    });
}

fn wait_for_third(filter: &mut LoadedFilter, learner: &mut Learner, third: RuleMask) {
    catch_up(&mut filter.events, learner, |_| ()).unwrap();
    wait_for(filter, learner, third);
}
