//! How a denial looks to the client: with `drop` like nothing, with `reject` like a quick no.

use anyhow::{Context as _, Result, ensure};
use intune_filter_tests::{
    laboratory::{Laboratory, Setup},
    probe::{Outcome, Target, probe},
    site::{self, ANSWER, CONFIG, SILENCE, tcp, udp},
};

fn denying(on_deny: &str) -> Result<Laboratory> {
    let group = "    services: [web, clock, printer]\n";
    let config = CONFIG.replace(group, &format!("{group}    on_deny: {on_deny}\n"));
    let mut laboratory = Laboratory::create(&Setup { config, ..site::setup() })?;
    laboratory.filter.start()?;
    Ok(laboratory)
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
    let laboratory = denying("drop")?;
    for target in denied()? {
        let outcome = laboratory.network.client.run(|| probe(target, SILENCE));
        ensure!(outcome == Outcome::Silent, "{target}: {outcome:?}");
    }
    Ok(())
}

#[test]
fn rejected_is_told_at_once() -> Result<()> {
    let laboratory = denying("reject")?;
    for target in denied()? {
        // No answer at all would be an outcome of its own, but only after this time.
        let outcome = laboratory.network.client.run(|| probe(target, ANSWER));
        ensure!(outcome == Outcome::Refused, "{target}: {outcome:?}");
        laboratory.expect_denied(target)?;
    }
    Ok(())
}
