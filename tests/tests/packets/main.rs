//! Tables of packets and verdicts, judged by the programs in the kernel; most of them also on the host,
//! by `intune-filter-ebpf/tests/tables.rs`.

mod answers;
mod buckets;
mod busy;
mod capacity;
mod errors;
mod events;
mod flow_events;
mod flows;
mod fragments;
mod gateway;
mod headers;
mod hooks;
mod hostile;
mod inbound;
mod learning;
mod lifetimes;
mod limits;
mod links;
mod other_dns;
mod parts;
mod policy;
mod prefix;
mod queries;
mod random;
mod records;
mod refusals;
mod rejected;
mod rejections;
mod reloads;
mod resets;
mod ring;
mod routes;
mod sources;
mod stages;
mod streams;
mod tickets;
mod truncation;
mod warm_up;

use intune_filter_tests::testrun::{self, Bed, IngressHook, site};

/// Runs a test of tables that the host runs as well, once for each program that can judge what comes
/// in; `dns` and `more` are further keys of the site's configuration.
fn run(dns: &str, more: &str, test: impl Fn(&mut dyn Bed) + Sync) {
    testrun::run(dns, more, |filter| test(filter));
}

/// The same before any policy was loaded.
fn run_without_policy(dns: &str, more: &str, test: impl Fn(&mut dyn Bed) + Sync) {
    testrun::run_without_policy(dns, more, |filter| test(filter));
}

/// The same as [`run`] for what comes in as queries that all programs judge alike: for one of them.
fn run_once(dns: &str, more: &str, test: impl Fn(&mut dyn Bed) + Sync) {
    testrun::run_at(IngressHook::Xdp, dns, more, |filter| {
        filter.install(&site::config(dns, more)).expect("the policy goes into the maps");
        test(filter);
    });
}
