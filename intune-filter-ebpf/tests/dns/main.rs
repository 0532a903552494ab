//! The DNS logic against hickory-proto, a library that is not ours: what queries are recorded,
//! what answers teach, what refusals look like.
//!
//! `INTUNE_CASES` sets how many random cases each property is tried with.

mod answers;
mod choices;
mod hostile;
mod message;
mod model;
mod queries;
mod random;
mod refusals;
mod site;

use proptest::test_runner::{Config, TestRunner};

/// Runs a property on `usual` cases, or as many as the environment says.
fn runner(usual: u32) -> TestRunner {
    let cases = std::env::var("INTUNE_CASES").ok().and_then(|text| text.parse().ok());
    TestRunner::new(Config {
        cases: cases.unwrap_or(usual),
        failure_persistence: None,
        max_shrink_iters: 20_000,
        ..Config::default()
    })
}
