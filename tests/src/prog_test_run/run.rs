//! Runs tests with the programs loaded, in a network namespace of their own.

use super::{IngressHook, LoadedFilter, filter, pool, site};

/// Runs a test inside a namespace that is wired as [`site::wire`] says, with the programs loaded
/// and the site's configuration in force: `dns` and `more` are further keys of it. It runs once for
/// each program that can judge what comes in, from an empty state.
pub fn run(dns: &str, more: &str, test: impl Fn(&mut LoadedFilter) + Sync) {
    run_without_policy(dns, more, |filter| {
        filter.install(&site::config(dns, more)).expect("the policy goes into the maps");
        test(filter);
    });
}

/// Runs a test as [`run`] does, before any policy was loaded.
pub fn run_without_policy(dns: &str, more: &str, test: impl Fn(&mut LoadedFilter) + Sync) {
    for hook in IngressHook::TEST_RUNS {
        run_at(hook, dns, more, |filter| {
            // Shown with what fails.
            println!("ingress at {hook:?}");
            test(filter);
        });
    }
}

/// Runs a test as [`run_without_policy`] does, for one of the programs alone.
pub fn run_at(
    hook: IngressHook,
    dns: &str,
    more: &str,
    test: impl FnOnce(&mut LoadedFilter) + Send,
) {
    let mut filter = pool::take(hook).map_or_else(|| filter::load(hook), Ok).expect("a filter");
    filter.run_in_gateway(dns, more, test).expect("the gateway's wiring");
    // What is attached would go on writing to the maps.
    if !filter.is_attached() {
        pool::keep(filter).expect("maps that can be emptied");
    }
}

/// Runs a test as [`run_at`] does, with maps that thousands of packets of a few clients do not fill.
pub fn run_roomy(
    hook: IngressHook,
    dns: &str,
    more: &str,
    test: impl FnOnce(&mut LoadedFilter) + Send,
) {
    run_sized(hook, &filter::sizes(1 << 13, 1 << 8), dns, more, test);
}

/// Runs a test as [`run_at`] does, with maps of other sizes.
pub fn run_sized(
    hook: IngressHook,
    sizes: &[(&'static str, u32)],
    dns: &str,
    more: &str,
    test: impl FnOnce(&mut LoadedFilter) + Send,
) {
    let mut filter = LoadedFilter::load(hook, sizes).unwrap_or_else(|error| panic!("{error:#}"));
    filter.run_in_gateway(dns, more, test).expect("the gateway's wiring");
}
