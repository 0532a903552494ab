//! Tests of the DNS logic against hickory-proto, an independent library: the queries that are
//! recorded, the addresses that answers teach, and the refusals.
//!
//! `INTUNE_CASES` sets the number of random cases for each property.

mod answers;
mod choices;
mod damage;
mod hostile;
mod message;
mod model;
mod queries;
mod random;
mod recorded;
mod refusals;
mod regressions;
mod site;
mod targets;

use proptest::test_runner::{Config, TestRunner};

/// Returns `usual`, or the number of cases that the environment sets.
fn cases(usual: u64) -> u64 {
    let cases = std::env::var("INTUNE_CASES").ok();
    cases.map_or(usual, |text| text.parse().expect("INTUNE_CASES is a number"))
}

/// Returns a runner of `usual` cases, or of as many as the environment sets.
fn runner(usual: u32) -> TestRunner {
    TestRunner::new(Config {
        cases: cases(usual.into()).try_into().expect("as many cases as proptest can count"),
        failure_persistence: None,
        max_shrink_iters: 20_000,
        ..Config::default()
    })
}
