//! The kernel's runner of the tables of packets, and the tests of packets that only the kernel can
//! judge. The host's runner is `host.rs`, a target of `intune-filter-ebpf`.

mod buckets;
#[expect(unsafe_code, reason = "octets of any kind go into a map")]
mod busy;
mod capacity;
mod hooks;
mod pool;
mod random;
mod refusals;
mod rejections;
mod ring;
mod routes;
mod stages;
mod tables;
mod tickets;
mod truncation;

use intune_filter_tests::prog_test_run::{self, Bed, IngressHook, site};

/// Runs a test of tables that the host runs as well, once for each program that can judge what comes
/// in; `dns` and `more` are further keys of the site's configuration.
fn run(dns: &str, more: &str, test: impl Fn(&mut dyn Bed) + Sync) {
    prog_test_run::run(dns, more, |filter| test(filter));
}

/// Runs a test as [`run`] does, for the programs of interfaces of layer 3.
fn run_layer3(dns: &str, more: &str, test: impl Fn(&mut dyn Bed) + Sync) {
    prog_test_run::run_at(IngressHook::Layer3, dns, more, |filter| {
        filter.install(&site::config(dns, more)).expect("the policy goes into the maps");
        test(filter);
    });
}

/// The same before any policy was loaded.
fn run_without_policy(dns: &str, more: &str, test: impl Fn(&mut dyn Bed) + Sync) {
    prog_test_run::run_without_policy(dns, more, |filter| test(filter));
}

/// Runs a test as [`run`] does, with room in the maps for all that it does.
fn run_roomy(dns: &str, more: &str, test: impl Fn(&mut dyn Bed) + Sync) {
    for hook in IngressHook::TEST_RUNS {
        prog_test_run::run_roomy(hook, dns, more, |filter| {
            println!("ingress at {hook:?}");
            filter.install(&site::config(dns, more)).expect("the policy goes into the maps");
            test(filter);
        });
    }
}

/// Runs a test as [`run`] does, for one of the programs alone: of queries that all judge alike.
fn run_once(dns: &str, more: &str, test: impl Fn(&mut dyn Bed) + Sync) {
    prog_test_run::run_at(IngressHook::Xdp, dns, more, |filter| {
        filter.install(&site::config(dns, more)).expect("the policy goes into the maps");
        test(filter);
    });
}
