//! Denials as the client sees them: silence with `drop`, a quick error with `reject`.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use intune_filter_tests::{
    probe::{ProbeResult, Target, probe},
    site::{self, ANSWER, CONFIG, MODES, SILENCE, in_mode, tcp, udp},
    testbed::{Setup, Testbed},
};

fn denying(mode: &str, on_deny: &str) -> Result<Testbed> {
    let group = "    services: [web, clock, printer]\n";
    let config = CONFIG.replace(group, &format!("{group}    on_deny: {on_deny}\n"));
    let config = in_mode(&config, mode);
    let mut testbed = Testbed::create(&Setup { config, ..site::setup() })?;
    testbed.filter.start()?;
    Ok(testbed)
}

/// An address of no service, and a service's on a port that is not its.
fn denied() -> Result<Vec<Target>> {
    let mut targets = Vec::new();
    for address in ["192.0.2.80", "2001:db8:80::1", "192.0.2.5", "2001:db8:9100::5"] {
        let address = address.parse().context("an address")?;
        targets.extend([tcp(address, 80), udp(address, 5000)]);
    }
    Ok(targets)
}

#[test]
fn dropped_is_silent() -> Result<()> {
    for mode in MODES {
        let testbed = denying(mode, "drop")?;
        for target in denied()? {
            let outcome = testbed.network.client.run(|| probe(target, SILENCE));
            ensure!(outcome == ProbeResult::Silent, "{mode}: {target}: {outcome:?}");
        }
    }
    Ok(())
}

#[test]
fn rejected_is_told_at_once() -> Result<()> {
    // When TCP sends its SYN again (RFC 6298): who is told later has waited.
    const AT_ONCE: Duration = Duration::from_secs(1);

    for mode in MODES {
        let testbed = denying(mode, "reject")?;
        let mut slowest = Duration::ZERO;
        for target in denied()? {
            let started = Instant::now();
            // No answer at all would be an outcome of its own, but only after this time.
            let outcome = testbed.network.client.run(|| probe(target, ANSWER));
            let elapsed = started.elapsed();
            ensure!(outcome == ProbeResult::Refused, "{mode}: {target}: {outcome:?}");
            ensure!(elapsed < AT_ONCE, "{mode}: {target}: told after {elapsed:?}");
            slowest = slowest.max(elapsed);
            testbed.expect_denied(target)?;
        }
        println!("{mode}: told after {slowest:?} at most");
    }
    Ok(())
}
