//! Transfers whose destination a new policy takes out of a service: they end before `apply` says that
//! it is in force, and the others go on, whether or not the name that opened them has expired.

use anyhow::{Context as _, Result, ensure};
use intune_filter_tests::{
    responder::RESPONDER,
    site::{self, CONFIG, eventually},
    testbed::{Setup, Testbed},
    transfer::{Transfer, echo_on},
};

/// A port of the service `web`, and the printer's.
const PORTS: [u16; 2] = [80, 631];

/// A testbed whose remotes send back what they receive on [`PORTS`].
fn testbed(config: &str) -> Result<Testbed> {
    let mut setup = Setup { config: config.to_owned(), ..site::setup() };
    setup.tcp.retain(|port| !PORTS.contains(port));
    let mut testbed = Testbed::create(&setup)?;
    for port in PORTS {
        echo_on(&testbed, port)?;
    }
    testbed.filter.start()?;
    Ok(testbed)
}

fn apply(testbed: &Testbed, config: &str) -> Result<u64> {
    testbed.filter.configure(config)?;
    let answer = testbed.filter.json(&["apply"])?;
    answer["flows_ended"].as_u64().context("a number of flows")
}

#[test]
fn a_transfer_ends_when_its_network_is_taken_from_the_service() -> Result<()> {
    let testbed = testbed(CONFIG)?;
    let [four, six] = ["192.0.2.0/28, ", "\"2001:db8:9100::/64\""];
    let mut kept = Transfer::begin(&testbed, "192.0.2.5".parse()?, 631)?;
    let mut kept6 = Transfer::begin(&testbed, "2001:db8:9100::5".parse()?, 631)?;
    // All of the networks stay, in other words.
    let same =
        CONFIG.replace(four, "192.0.2.0/29, 192.0.2.8/29, ").replace(six, "\"2001:db8:9100::/56\"");
    ensure!(apply(&testbed, &same)? == 0, "every address is still the service's");
    kept.goes_on()?;
    kept6.goes_on()?;

    let half = CONFIG.replace(four, "192.0.2.0/29, ");
    let mut ended = Transfer::begin(&testbed, "192.0.2.9".parse()?, 631)?;
    ensure!(apply(&testbed, &half)? == 1, "one transfer's address is gone");
    kept.goes_on()?;
    kept6.goes_on()?;
    ended.has_ended()?;

    ensure!(apply(&testbed, &CONFIG.replace(&format!(", {six}"), ""))? == 1, "its network is gone");
    kept.goes_on()?;
    kept6.has_ended()
}

#[test]
fn a_transfer_goes_on_by_another_rule_that_has_its_destination() -> Result<()> {
    let testbed = testbed(CONFIG)?;
    let mut transfer = Transfer::begin(&testbed, "192.0.2.5".parse()?, 631)?;
    let [web, _] = testbed.resolve_at(RESPONDER[0], "7.web.test")?;
    let mut by_name = Transfer::begin(&testbed, web, 80)?;
    eventually("the daemon has the name", || knows(&testbed, "7.web.test"))?;
    for [web, printer] in [["other", "printer"], ["other", "paper"], ["web", "printer"]] {
        let renamed = CONFIG
            .replace("[web, clock, printer]", &format!("[{web}, clock, {printer}]"))
            .replace("id: web", &format!("id: {web}"))
            .replace("id: printer", &format!("id: {printer}"));
        ensure!(apply(&testbed, &renamed)? == 0, "the services have other names, that is all");
        transfer.goes_on()?;
        by_name.goes_on()?;
    }
    ensure!(
        apply(&testbed, &CONFIG.replace("*.web.test", "*.shop.test"))? == 1,
        "the name is gone"
    );
    transfer.goes_on()?;
    by_name.has_ended()
}

fn knows(testbed: &Testbed, name: &str) -> Result<bool> {
    let names = testbed.filter.json(&["names"])?;
    let names = names.as_array().context("a list")?;
    Ok(names.iter().any(|one| one["name"] == name))
}

#[test]
fn a_transfer_lives_by_the_name_that_opened_it_though_that_has_expired() -> Result<()> {
    let short = |patterns: &str| {
        CONFIG
            .replace("dns:\n", "dns:\n  ttl: {min: 1s, max: 1s, grace: 2s}\n")
            .replace("\"*.web.test\"", patterns)
    };
    let mut testbed = testbed(&short("\"*.web.test\", \"*.shop.test\", \"*.far.test\""))?;
    let mut transfers = Vec::new();
    for name in ["7.web.test", "8.shop.test"] {
        let [web, web6] = testbed.resolve_at(RESPONDER[0], name)?;
        transfers.push([Transfer::begin(&testbed, web, 80)?, Transfer::begin(&testbed, web6, 80)?]);
        eventually("the daemon has the name", || knows(&testbed, name))?;
    }
    let expired = || Ok(!knows(&testbed, "7.web.test")? && !knows(&testbed, "8.shop.test")?);
    eventually("the names have expired", expired)?;
    // Expiry ends nothing, and neither does a pattern that opened nothing.
    ensure!(apply(&testbed, &short("\"*.web.test\", \"*.shop.test\""))? == 0, "nothing is to end");
    for transfer in transfers.iter_mut().flatten() {
        transfer.goes_on()?;
    }
    // The next daemon has only what this one has saved.
    testbed.filter.stop()?;
    testbed.filter.start()?;
    ensure!(apply(&testbed, &short("\"*.shop.test\""))? == 2, "both families' flows have ended");
    let [web, shop] = &mut transfers[..] else { anyhow::bail!("two names") };
    for transfer in shop {
        transfer.goes_on()?;
    }
    for transfer in web {
        transfer.has_ended()?;
    }
    Ok(())
}
