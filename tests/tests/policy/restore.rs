//! Learned addresses outlive a reboot, which takes the pins away and leaves the state directory.

use std::{fs, net::IpAddr, path::PathBuf};

use anyhow::{Context as _, Result, ensure};
use intune_filter_ebpf::abi::LAYOUT_VERSION;
use intune_filter_tests::{
    site::{self, CLOCK, CONFIG, WEB, eventually, tcp, udp},
    testbed::Testbed,
};
use serde_json::Value;

/// Longer than every name lives, in milliseconds.
const DAY: u64 = 86_400_000;

/// A site whose client knows the addresses of two names, and what these are.
fn learned() -> Result<(Testbed, [IpAddr; 2], [IpAddr; 2])> {
    let mut testbed = Testbed::create(&site::setup())?;
    testbed.filter.start()?;
    let (web, clock) = (testbed.resolve(WEB[0])?, testbed.resolve(CLOCK)?);
    testbed.expect_reached(tcp(web[0], 443))?;
    Ok((testbed, web, clock))
}

/// Ends the daemon as a shutdown does, and takes what it has pinned.
fn shut_down(testbed: &mut Testbed) -> Result<()> {
    testbed.filter.stop()?;
    testbed.filter.succeed(&["detach"])?;
    ensure!(!testbed.filter.pins().join(format!("v{LAYOUT_VERSION}")).exists(), "pins are left");
    Ok(())
}

fn file(testbed: &Testbed) -> PathBuf {
    testbed.directory.path().join("state/names.json")
}

/// Changes the saved times, of the file itself and of its entries.
fn shift(testbed: &Testbed, shift: impl Fn(u64) -> u64) -> Result<()> {
    let path = file(testbed);
    let mut saved: Value = serde_json::from_slice(&fs::read(&path)?)?;
    let time = |value: &mut Value| -> Result<()> {
        *value = shift(value.as_u64().context("a time")?).into();
        Ok(())
    };
    time(&mut saved["saved"])?;
    for name in saved["names"].as_array_mut().context("names")? {
        for claim in name["addresses"].as_array_mut().context("addresses")? {
            time(&mut claim[1])?;
        }
    }
    fs::write(&path, serde_json::to_vec(&saved)?).context("cannot write the names")
}

/// Names, and for how many seconds they are known.
fn names(testbed: &Testbed) -> Result<Vec<(String, u64)>> {
    let names = testbed.filter.json(&["names"])?;
    let names = names.as_array().context("a list")?;
    names
        .iter()
        .map(|name| {
            let left = name["expires_in_s"].as_u64().context("a number")?;
            Ok((name["name"].as_str().context("a name")?.to_owned(), left))
        })
        .collect()
}

#[test]
fn a_client_that_still_knows_an_address_reaches_it_after_a_reboot() -> Result<()> {
    let (mut testbed, web, clock) = learned()?;
    let before = names(&testbed)?;
    shut_down(&mut testbed)?;
    testbed.filter.start()?;
    // Nobody has asked.
    for family in 0..2 {
        testbed.expect_reached(tcp(web[family], 443))?;
        testbed.expect_reached(udp(clock[family], 123))?;
        testbed.expect_denied(tcp(clock[family], 443))?;
    }
    let after = names(&testbed)?;
    ensure!(after.len() == before.len(), "before {before:?}, after {after:?}");
    for ((name, then), (same, now)) in before.iter().zip(&after) {
        ensure!(name == same && now <= then && *now > 0, "before {before:?}, after {after:?}");
    }
    testbed.expect_verdicts()
}

#[test]
fn what_has_expired_meanwhile_and_what_the_policy_has_no_more_stays_away() -> Result<()> {
    let (mut testbed, web, clock) = learned()?;
    shut_down(&mut testbed)?;
    testbed.filter.configure(&CONFIG.replace("clock.test", "other.test"))?;
    testbed.filter.start()?;
    testbed.expect_reached(tcp(web[0], 443))?;
    testbed.expect_denied(udp(clock[0], 123))?;
    ensure!(names(&testbed)?.iter().all(|(name, _)| name == WEB[0]));

    shut_down(&mut testbed)?;
    shift(&testbed, |time| time - DAY)?;
    testbed.filter.start()?;
    ensure!(names(&testbed)?.is_empty());
    testbed.expect_denied(tcp(web[0], 443))
}

#[test]
fn a_clock_that_is_behind_leaves_every_name_the_grace_alone() -> Result<()> {
    let (mut testbed, web, _) = learned()?;
    let before = names(&testbed)?;
    shut_down(&mut testbed)?;
    // As if the machine had lost its clock: what it reads is older than the file.
    shift(&testbed, |time| time + DAY)?;
    testbed.filter.start()?;
    testbed.expect_reached(tcp(web[0], 443))?;
    let after = names(&testbed)?;
    ensure!(after.len() == before.len() && !after.is_empty(), "{after:?}");
    ensure!(before.iter().any(|(_, left)| *left > 30), "the grace changes nothing: {before:?}");
    ensure!(after.iter().all(|(_, left)| *left <= 30), "longer than the grace: {after:?}");
    Ok(())
}

#[test]
fn a_damaged_file_is_kept_aside_and_the_filter_starts() -> Result<()> {
    let (mut testbed, web, _) = learned()?;
    shut_down(&mut testbed)?;
    let path = file(&testbed);
    let cut = fs::read(&path)?;
    let cut = &cut[..cut.len() / 2];
    fs::write(&path, cut)?;
    testbed.filter.start()?;
    let kept = path.with_extension("json.damaged");
    let output = testbed.filter.output();
    for word in ["without the saved names", &path.display().to_string(), "names.json.damaged"] {
        ensure!(output.contains(word), "the log does not say {word}: {output}");
    }
    ensure!(fs::read(kept)? == cut, "it was not kept as it was");
    testbed.expect_denied(tcp(web[0], 443))?;
    testbed.expect_verdicts()?;
    testbed.filter.stop()?;
    ensure!(path.exists(), "the next table is saved");
    Ok(())
}

#[test]
fn a_daemon_that_is_killed_takes_nothing_with_it_but_the_last_minutes() -> Result<()> {
    let (mut testbed, web, _) = learned()?;
    shut_down(&mut testbed)?;
    testbed.filter.start()?;
    testbed.filter.kill()?;
    testbed.filter.succeed(&["detach"])?;
    // What it had from the file is still in the file.
    testbed.filter.start()?;
    testbed.expect_reached(tcp(web[0], 443))?;
    eventually("the table is listed", || Ok(!names(&testbed)?.is_empty()))
}
