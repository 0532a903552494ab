//! The DNS logic against hickory-proto, a library that is not ours: what queries are recorded,
//! what answers teach, what refusals look like.
//!
//! `INTUNE_CASES` sets how many random cases each property is tried with.

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

use proptest::test_runner::{Config, TestRunner};

/// `usual` cases, or as many as the environment says.
fn cases(usual: u64) -> u64 {
    let cases = std::env::var("INTUNE_CASES").ok();
    cases.map_or(usual, |text| text.parse().expect("INTUNE_CASES is a number"))
}

/// Runs a property on `usual` cases, or as many as the environment says.
fn runner(usual: u32) -> TestRunner {
    TestRunner::new(Config {
        cases: cases(usual.into()).try_into().expect("as many cases as proptest can count"),
        failure_persistence: None,
        max_shrink_iters: 20_000,
        ..Config::default()
    })
}
