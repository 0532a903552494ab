//! Runs tests of tables on the host's maps.

use super::{Bed, host::HostBed, rows, site};

/// Runs a test on the host's maps with the site's configuration in force: `dns` and `more` are
/// further keys of it.
///
/// # Panics
/// If there is no such policy.
pub fn run(dns: &str, more: &str, test: impl Fn(&mut dyn Bed)) {
    run_without_policy(dns, more, |bed| {
        bed.install(&site::config(dns, more)).expect("the policy goes into the maps");
        test(bed);
    });
}

/// The same for an interface of layer 3, whose packets have no Ethernet header.
///
/// # Panics
/// If there is no such policy.
pub fn run_layer3(dns: &str, more: &str, test: impl Fn(&mut dyn Bed)) {
    rows::tell_at_exit();
    let bed = HostBed::new(&site::config(dns, more));
    let mut bed = bed.unwrap_or_else(|error| panic!("{error:#}"));
    bed.layer3 = true;
    bed.install(&site::config(dns, more)).expect("the policy goes into the maps");
    test(&mut bed);
}

/// The same before any policy was loaded.
///
/// # Panics
/// If there is no such policy.
pub fn run_without_policy(dns: &str, more: &str, test: impl Fn(&mut dyn Bed)) {
    rows::tell_at_exit();
    let bed = HostBed::new(&site::config(dns, more));
    test(&mut bed.unwrap_or_else(|error| panic!("{error:#}")));
}
