//! One expired address, refreshed and removed at the same moment, again and again: however that
//! ends, it is there afterwards.

use std::{
    hint,
    sync::atomic::{AtomicU64, Ordering::SeqCst},
    thread,
};

use intune_filter_ebpf::abi::RuleMask;

use super::{
    refresh::races,
    site::{address, run},
};

/// Between the times of the expired address and of the refreshed one.
const BOUND: u64 = 1 << 40;
/// What the expired address has, and what it is refreshed with.
const FIRST: RuleMask = RuleMask::of(0);
const SECOND: RuleMask = RuleMask::of(130);

/// Waits until the other side is as far.
fn meet(own: &AtomicU64, other: &AtomicU64, round: u64) {
    own.store(round, SeqCst);
    for turn in 0_u32.. {
        if other.load(SeqCst) >= round {
            return;
        }
        // The other may wait for this processor.
        if turn % 1000 == 999 { thread::yield_now() } else { hint::spin_loop() }
    }
}

#[test]
fn an_address_that_is_refreshed_and_removed_at_once_is_there() {
    run("{min: 1s, max: 1d, grace: 0s}", |filter| {
        let (kernel, address) = (filter.kernel(), address(0));
        let tables = kernel.host_tables().unwrap();
        let (one, other) = (AtomicU64::new(0), AtomicU64::new(0));
        let rounds = races() * 20;
        let mut first = 0;
        thread::scope(|scope| {
            let remover = scope.spawn(|| {
                let mut removed = 0;
                for round in 1..=rounds {
                    meet(&other, &one, 2 * round);
                    // A little later or earlier each time.
                    (0..round % 64).for_each(|_| hint::spin_loop());
                    removed += kernel.remove_expired_hosts(BOUND, BOUND).unwrap();
                    meet(&other, &one, 2 * round + 1);
                }
                removed
            });
            for round in 1..=rounds {
                let until = BOUND - 1;
                if tables.get(address).unwrap().is_none() {
                    kernel.refresh_host(address, FIRST, until).unwrap().unwrap();
                }
                kernel.narrow_host(address, 0, RuleMask::ALL, until).unwrap().unwrap();
                meet(&one, &other, 2 * round);
                (0..(round / 64) % 64).for_each(|_| hint::spin_loop());
                let refreshed = kernel.refresh_host(address, SECOND, BOUND + round).unwrap();
                let (before, _) = refreshed.expect("there is room");
                first += u64::from(before != 0);
                meet(&one, &other, 2 * round + 1);
                let host = tables.get(address).unwrap();
                let kept =
                    host.is_some_and(|host| host.rules.intersects(&SECOND) && host.expires > BOUND);
                if !kept {
                    // The other side need not wait any more.
                    one.store(u64::MAX, SeqCst);
                    panic!("round {round}: refreshed, and now {host:?}");
                }
            }
            let removed = remover.join().unwrap();
            println!(
                "{rounds} rounds: removed first {removed} times, refreshed first {first} times"
            );
        });
    });
}
