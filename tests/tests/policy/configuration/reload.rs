//! `reload` has a result, as a command, as a signal, and afterwards.

use std::{fs, process::Stdio};

use anyhow::{Context as _, Result, ensure};
use intune_filter::{catalogue::Catalogue, kernel::PinDirectory};
use intune_filter_tests::{
    filter::PATIENCE,
    site::{CONFIG, eventually},
    xdp::PassAll,
};
use nix::sys::signal::Signal;

use super::{Site, changed, remove};

#[test]
fn a_reload_succeeds_when_the_file_is_in_force() -> Result<()> {
    let site = Site::start(CONFIG)?;
    let before = site.generation()?;
    site.configure(&changed())?;
    site.expect_old()?;
    let answer = site.json(&["reload"])?;
    ensure!(answer["schema"] == 1 && answer["changed"] == true, "{answer:#}");
    ensure!(answer["generation"].as_u64() > Some(before), "{answer:#}");
    ensure!(answer["overrides_file"] == false, "{answer:#}");
    site.expect_new()?;
    let text = site.testbed.filter.succeed(&["reload"])?;
    ensure!(text.contains("changes nothing"), "{text}");
    let status = site.status()?;
    let reload = &status["configuration"]["reload"];
    ensure!(reload["result"] == "unchanged" && reload.get("error").is_none(), "{reload:#}");
    ensure!(status["configuration"]["digest"] == answer["digest"], "{status:#}");
    site.eventually_metric("last_reload_success", 1)?;
    ensure!(site.metric(9469, "last_reload_timestamp_seconds")? > Some(1_700_000_000), "no time");
    // The catalogue's edition stands in `status` and the metrics.
    let edition = Catalogue::builtin().edition();
    let date = edition.date().context("the edition has no date")?;
    ensure!(status["catalogue"]["edition"] == *edition.name, "{status:#}");
    ensure!(status["catalogue"]["date"] == date.to_string(), "{status:#}");
    ensure!(status["catalogue"]["age_days"].is_u64(), "{status:#}");
    let seconds = i64::try_from(date.unix_seconds())?;
    site.eventually_metric("catalogue_timestamp_seconds", seconds)?;
    site.eventually_metric(&format!("catalogue_info{{edition=\"{}\"}}", edition.name), 1)?;
    Ok(())
}

#[test]
fn a_reload_of_a_faulty_file_fails_as_check_does_and_is_shown_until_one_succeeds() -> Result<()> {
    let mut site = Site::start(CONFIG)?;
    ensure!(site.metric(9469, "last_reload_success")?.is_none(), "there was none");
    let faulty =
        CONFIG.replace("tcp: [631]", "tcp: [0]").replace("  - name: eth1", "  - nam: eth1");
    let generation = site.generation()?;
    for fault in [Some(&*faulty), Some("interfaces: ["), None] {
        match fault {
            Some(text) => site.configure(text)?,
            // A directory in the file's place.
            None => {
                remove(&site.file())?;
                fs::create_dir(site.file())?;
            }
        }
        let checked = site.fail(3, &["check"])?;
        let told = site.fail(3, &["reload"])?;
        ensure!(
            checked.lines().count() >= fault.map_or(1, |text| 1 + text.lines().count() / 20),
            "{checked}"
        );
        ensure!(told == checked, "check says\n{checked}and reload\n{told}");
        let first = checked.trim_start_matches("intune-filter: ").lines().next();
        let first = first.context("a line")?;
        site.expect_problem("reload_refused", first)?;
        let reload = site.status()?["configuration"]["reload"].clone();
        ensure!(reload["result"] == "refused", "{reload:#}");
        ensure!(reload["error"].as_str().is_some_and(|error| error.contains(first)), "{reload:#}");
        site.eventually_metric("last_reload_success", 0)?;
        ensure!(site.generation()? == generation && site.origin()? == "file", "something changed");
        site.expect_old()?;
    }
    remove(&site.file())?;
    site.configure(&changed())?;
    // Nobody has asked for it, and what runs is no last good one that waits.
    site.testbed.filter.daemon()?.signal(Signal::SIGHUP)?;
    eventually("the signal has loaded the file", || Ok(site.generation()? > generation))?;
    site.expect_new()?;
    site.expect_none("reload_refused")?;
    // As a signal, too.
    site.configure(&faulty)?;
    site.testbed.filter.daemon()?.signal(Signal::SIGHUP)?;
    site.testbed.filter.daemon()?.wait_for("services[2].tcp[0]", PATIENCE)?;
    eventually("it is shown", || Ok(site.problem("reload_refused")?.is_some()))?;
    site.expect_new()
}

#[test]
fn while_a_configuration_waits_a_reload_changes_nothing_and_says_so() -> Result<()> {
    let site = Site::start(CONFIG)?;
    let trial = site.other("trial.yaml", &changed())?;
    site.json(&["apply", &trial, "--confirm", "10m"])?;
    let generation = site.generation()?;
    site.configure(&format!("{CONFIG}icmp_echo: false\n"))?;
    let text = site.fail(1, &["reload"])?;
    ensure!(text.contains("nothing is reloaded until then"), "{text}");
    ensure!(site.generation()? == generation, "something has changed");
    let told = site.status()?["configuration"].clone();
    ensure!(told["confirm_within_s"].as_u64() > Some(0), "{told:#}");
    site.expect_new()?;
    site.json(&["confirm"])?;
    site.expect_none("reload_refused")?;
    // The file has changed since the trial began, and not since it was confirmed.
    let text = site.fail(1, &["reload"])?;
    ensure!(text.contains("has not changed since"), "{text}");
    site.configure(&format!("{CONFIG}icmp_echo: false\n# again\n"))?;
    site.json(&["reload"])?;
    site.expect_old()
}

#[test]
fn a_reload_that_was_refused_for_what_waited_is_no_problem_once_that_is_gone() -> Result<()> {
    let site = Site::start(CONFIG)?;
    let trial = site.other("trial.yaml", &changed())?;
    for is_faulty in [false, true] {
        if is_faulty {
            site.configure("interfaces: [")?;
            site.fail(3, &["reload"])?;
        }
        site.json(&["apply", &trial, "--confirm", "4s"])?;
        site.fail(1, &["reload"])?;
        site.expect_problem("reload_refused", "nothing is reloaded until then")?;
        eventually("the configuration before is back", || {
            Ok(site.status()?["configuration"].get("confirm_within_s").is_none())
        })?;
        // The file is faulty all the same.
        ensure!(site.problem("reload_refused")?.is_some() == is_faulty, "{is_faulty}");
    }
    site.expect_old()
}

#[test]
fn what_does_not_reach_every_interface_is_told_as_a_failure_and_not_kept() -> Result<()> {
    let site = Site::start(CONFIG)?;
    let network = &site.testbed.network;
    network.gateway.ip(&["link add lan2 type veth peer lan3", "link set lan2 up"])?;
    let foreign = PassAll::attach(&network.gateway, "lan2")?;
    let kept = || fs::read_to_string(site.path("state/last-good/config.yaml"));
    let both = changed().replace("  - name: eth1\n", "  - name: eth1\n  - name: lan2\n");
    site.configure(&both)?;
    let path = site.file();
    let path = path.to_str().context("a path of ours is text")?;
    for arguments in [&["reload"][..], &["apply", path]] {
        let output = site.testbed.filter.run(arguments)?;
        let text = String::from_utf8_lossy(&output.stdout);
        ensure!(output.status.code() == Some(1), "{arguments:?}: {}: {text}", output.status);
        ensure!(text.contains("lan2 is NOT enforced: "), "{text}");
        ensure!(kept()? == CONFIG, "it is kept");
    }
    site.expect_new()?;
    drop(foreign);
    eventually("lan2 is enforced", || {
        let failed = site.json(&["status"])?["daemon"]["failed_interfaces"].clone();
        Ok(failed.as_array().is_some_and(Vec::is_empty))
    })?;
    site.testbed.filter.succeed(&["reload"])?;
    ensure!(kept()? == both, "it is not kept");
    Ok(())
}

/// Has a map's pin elsewhere for as long as `f` takes.
fn without_map<T>(site: &Site, map: &str, f: impl FnOnce() -> Result<T>) -> Result<T> {
    let pins = PinDirectory::new(site.testbed.filter.pins());
    let (pin, elsewhere) = (pins.map(map), pins.map(&format!("{map}_away")));
    // Until then a start goes on, and would make the map anew.
    eventually("`explain` is loaded", || Ok(pins.program("explain").exists()))?;
    fs::rename(&pin, &elsewhere)?;
    let result = f();
    fs::rename(&elsewhere, &pin)?;
    result
}

#[test]
fn a_change_that_fails_half_way_leaves_what_was_in_force() -> Result<()> {
    let site = Site::start(CONFIG)?;
    site.expect_old()?;
    // It frees a rule, whose flows are to end; going back ends none.
    let fewer = changed().replace("[web, clock, printer]", "[web, printer]");
    site.configure(&fewer)?;
    let generation = site.generation()?;
    let text = without_map(&site, "FLOWS4", || site.fail(1, &["reload"]))?;
    ensure!(text.contains("FLOWS4"), "{text}");
    ensure!(site.generation()? > generation, "it has not come so far");
    site.expect_none("policy_in_doubt")?;
    site.expect_old()?;
    site.json(&["reload"])?;
    site.expect_new()
}

#[test]
fn where_going_back_fails_too_the_old_file_is_a_change() -> Result<()> {
    let site = Site::start(CONFIG)?;
    site.configure(&changed())?;
    without_map(&site, "HOSTS4", || site.fail(1, &["reload"]))?;
    site.expect_problem("policy_in_doubt", "CANNOT be put back")?;
    site.configure(CONFIG)?;
    let answer = site.json(&["reload"])?;
    ensure!(answer["changed"] == true, "{answer:#}");
    site.expect_none("policy_in_doubt")?;
    site.expect_old()?;
    let answer = site.json(&["reload"])?;
    ensure!(answer["changed"] == false, "{answer:#}");
    Ok(())
}

#[test]
fn of_commands_at_once_each_has_its_turn() -> Result<()> {
    let site = Site::start(CONFIG)?;
    let configs = [changed(), CONFIG.replace("tcp: [631]", "tcp: [80]")];
    let files = [site.other("a.yaml", &configs[0])?, site.other("b.yaml", &configs[1])?];
    let mut children = Vec::new();
    for round in 0..6 {
        let arguments = [&["apply", &files[round % 2], "--json"][..], &["reload", "--json"]];
        for arguments in arguments {
            let mut command = site.testbed.filter.command(arguments)?;
            children.push(command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?);
        }
    }
    for child in children {
        let output = child.wait_with_output()?;
        let text = String::from_utf8_lossy(&output.stderr).into_owned();
        // The file has not changed since something was applied: what a reload says then.
        let refused = output.status.code() == Some(1) && text.contains("has not changed since");
        ensure!(output.status.success() || refused, "{}: {text}", output.status);
    }
    let told = site.json(&["config", "show"])?;
    let shown = told["text"].as_str().unwrap_or_default();
    let applied = configs.iter().any(|config| config == shown) || shown == CONFIG;
    ensure!(applied, "{shown}");
    let status = site.status()?;
    ensure!(status["configuration"]["digest"] == told["digest"], "{status:#}");
    ensure!(status["generation"] == told["generation"], "{status:#}");
    Ok(())
}
