//! Egress with and without TCX: before Linux 6.6 it is a filter of clsact, which no link holds.

use anyhow::{Result, ensure};
use intune_filter_tests::{
    namespace::run,
    network::{LAN, Network},
    pins,
    site::{self, tcp, udp},
    testbed::Testbed,
};

/// The filters on the way to the clients, as `tc` tells them.
fn filters(network: &Network) -> Result<String> {
    run(network.gateway.command("tc").args(["filter", "show", "dev", LAN, "egress"]))
}

#[test]
fn egress_is_attached_taken_over_and_removed() -> Result<()> {
    let has_tcx = pins::has_tcx()?;
    let mut testbed = Testbed::create(&site::setup())?;
    let foreign = [tcp("192.0.2.80".parse()?, 443), udp("2001:db8:80::1".parse()?, 5000)];
    testbed.filter.start()?;
    let first = filters(&testbed.network)?;
    ensure!(first.contains("pref 1 bpf") != has_tcx, "filters: {first}");
    // `cargo xtask test --vm` tells it of each kernel.
    println!("egress: attached by {}", if has_tcx { "TCX" } else { "clsact" });
    testbed.expect_verdicts()?;

    // Killed, and another daemon takes the filter over: one stays, with the new program.
    testbed.filter.kill()?;
    testbed.expect_verdicts()?;
    testbed.filter.start()?;
    let second = filters(&testbed.network)?;
    ensure!(lines(&first) == lines(&second), "before:\n{first}\nafter:\n{second}");
    ensure!(has_tcx || first != second, "the program was not replaced: {second}");
    testbed.expect_verdicts()?;
    for target in foreign {
        testbed.expect_denied(target)?;
    }

    testbed.filter.succeed(&["detach"])?;
    let left = filters(&testbed.network)?;
    ensure!(left.is_empty(), "left: {left}");
    for target in foreign {
        testbed.expect_reached(target)?;
    }
    Ok(())
}

fn lines(text: &str) -> usize {
    text.lines().count()
}
