//! `explain` and `match` say what happens, under the policy in force or a file's, and what would mend it.

use std::fs;

use anyhow::{Context as _, Result, ensure};
use intune_filter_tests::{
    filter::json_of,
    network::CLIENT,
    site::{self, CONFIG, UNLISTED, WEB, tcp},
    testbed::{FOREIGN_PORT, Setup, Testbed},
};
use serde_json::Value;

/// A destination of no service.
const FOREIGN: &str = "192.0.2.80";

fn start(config: String) -> Result<Testbed> {
    start_with(Setup { config, ..site::setup() })
}

fn start_with(setup: Setup) -> Result<Testbed> {
    let mut testbed = Testbed::create(&setup)?;
    testbed.filter.start()?;
    Ok(testbed)
}

/// What a command prints as JSON, and its exit code.
fn told(testbed: &Testbed, arguments: &[&str]) -> Result<(Value, Option<i32>)> {
    let output = testbed.filter.run(&[&["--json"], arguments].concat())?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let value = serde_json::from_str(&text).with_context(|| {
        format!("{arguments:?}: {text}{}", String::from_utf8_lossy(&output.stderr))
    })?;
    Ok((value, output.status.code()))
}

/// What is said under the policy in force.
fn explained(testbed: &Testbed, target: &str) -> Result<Value> {
    json_of(&mut testbed.filter.command_in_force(&["explain", &CLIENT[0].to_string(), target])?)
}

#[track_caller]
fn is(value: &Value, fields: &[(&str, &str)]) -> Result<()> {
    for (pointer, expected) in fields {
        let found = value.pointer(pointer).cloned().unwrap_or_default();
        let found = found.as_str().map_or_else(|| found.to_string(), str::to_owned);
        ensure!(found == *expected, "{pointer}: expected {expected}, found {found}: {value:#}");
    }
    Ok(())
}

/// Applies the configuration that a remedy prints, after `check` has accepted it.
fn mend(testbed: &Testbed, told: &Value) -> Result<()> {
    let configuration = told["remedy"]["configuration"].as_str();
    let configuration = configuration.with_context(|| format!("no remedy: {told:#}"))?;
    let file = testbed.directory.write("mended.yaml", configuration)?;
    let file = file.to_string_lossy();
    testbed.filter.succeed(&["check", &file])?;
    testbed.filter.succeed(&["apply", &file])?;
    Ok(())
}

#[test]
fn an_audited_client_is_told_to_pass_and_what_would_be_denied() -> Result<()> {
    let mode = "    services: [web, clock, printer]\n";
    let testbed = start(CONFIG.replace(mode, &format!("{mode}    mode: audit\n")))?;
    let client = CLIENT[0].to_string();
    let target = format!("{FOREIGN}:443");
    testbed.expect_reached(tcp(FOREIGN.parse()?, 443))?;
    let (found, code) = told(&testbed, &["explain", &client, &target])?;
    is(&found, &[("/verdict", "allow"), ("/policy_verdict", "deny"), ("/audited", "true")])?;
    is(
        &found,
        &[("/reason", "destination"), ("/judged", "in-force"), ("/client_group", "devices")],
    )?;
    ensure!(code == Some(0), "{code:?}");
    let (_, code) = told(&testbed, &["explain", "--strict", &client, &target])?;
    ensure!(code == Some(4), "{code:?}");
    let found = explained(&testbed, UNLISTED)?;
    is(&found, &[("/verdict", "allow"), ("/policy_verdict", "deny"), ("/reason", "dns_unlisted")])?;
    let text = testbed.filter.succeed(&["explain", &client, &target])?;
    ensure!(text.contains("ALLOW (audited") && !text.contains("DENY"), "{text}");
    let (found, code) = told(&testbed, &["explain", "--strict", &client, "192.0.2.5:631"])?;
    is(&found, &[("/policy_verdict", "allow"), ("/audited", "false")])?;
    ensure!(code == Some(0), "{code:?}");
    Ok(())
}

#[test]
fn a_warm_up_spares_what_it_spares() -> Result<()> {
    let testbed = start(format!("{CONFIG}warm_up: 1h\n"))?;
    let [unlisted, _] = site::setup().records.get(UNLISTED).context("it has addresses")?;
    testbed.expect_reached(tcp(unlisted, 443))?;
    let found = explained(&testbed, &format!("{unlisted}:443"))?;
    is(&found, &[("/verdict", "allow"), ("/policy_verdict", "deny"), ("/audited", "true")])?;
    // Names of services alone are tried: no service with a name has the port.
    let found = explained(&testbed, &format!("{unlisted}:{FOREIGN_PORT}"))?;
    is(&found, &[("/verdict", "deny"), ("/audited", "false")])
}

#[test]
fn a_name_is_judged_by_what_its_answers_teach() -> Result<()> {
    const PRIVATE: [&str; 2] = ["10.99.0.7", "fd99::7"];
    let mut setup = site::setup();
    let [v4, v6] = PRIVATE;
    setup.records.fix("inside.web.test", [v4.parse()?, v6.parse()?]);
    setup.records.add_many("many.web.test", 70);
    let testbed = start_with(setup)?;

    // Nobody has asked yet: the resolver tells what the next answer teaches.
    let found = explained(&testbed, WEB[0])?;
    is(&found, &[("/verdict", "allow"), ("/query/verdict", "allow"), ("/name", WEB[0])])?;
    is(&found, &[("/addresses/0/teaching", "answered"), ("/matched/kind", "name")])?;
    let [address, _] = testbed.resolve(WEB[0])?;
    is(&found, &[("/addresses/0/address", &address.to_string())])?;
    let found = explained(&testbed, WEB[0])?;
    is(&found, &[("/addresses/0/teaching", "learned"), ("/verdict", "allow")])?;
    let by_address = explained(&testbed, &format!("{address}:443"))?;
    is(&by_address, &[("/name", WEB[0]), ("/verdict", "allow")])?;

    let found = explained(&testbed, "many.web.test")?;
    is(&found, &[("/verdict", "deny"), ("/reason", "destination"), ("/teaching", "cut")])?;
    let text = testbed.filter.run(&["explain", &CLIENT[0].to_string(), "many.web.test"])?;
    let text = String::from_utf8_lossy(&text.stdout);
    ensure!(text.contains("64 records") && text.lines().count() <= 24, "{text}");

    let found = explained(&testbed, "inside.web.test")?;
    is(&found, &[("/verdict", "deny"), ("/reason", "destination"), ("/teaching", "refused")])?;
    is(&found, &[("/address", PRIVATE[0])])?;
    let yaml = found["remedy"]["yaml"].as_str().unwrap_or_default();
    ensure!(yaml.contains("allow_private") && yaml.contains("10.99.0.7/32"), "{found:#}");
    ensure!(!yaml.contains("services"), "{yaml}");
    mend(&testbed, &found)?;
    testbed.resolve("inside.web.test")?;
    is(&explained(&testbed, "inside.web.test")?, &[("/verdict", "allow")])?;

    // Without the resolvers the rules alone tell.
    let client = CLIENT[0].to_string();
    let (found, _) = told(&testbed, &["explain", "--no-dns", &client, WEB[1]])?;
    is(&found, &[("/verdict", "allow"), ("/resolved", "false"), ("/matched/value", "*.web.test")])
}

#[test]
fn the_policy_in_force_judges_unless_a_file_is_named() -> Result<()> {
    let mut testbed = start(CONFIG.to_owned())?;
    let client = CLIENT[0].to_string();
    let in_force =
        |testbed: &Testbed, more: &[&str]| json_of(&mut testbed.filter.command_in_force(more)?);
    let other =
        CONFIG.replace("*.web.test", "*.shop.test").replace("192.0.2.0/28", "192.0.2.80/32");
    let file = testbed.directory.write("other.yaml", &other)?;
    let under_file =
        |testbed: &Testbed, more: &[&str]| json_of(&mut testbed.filter.command_under(&file, more)?);
    testbed.filter.succeed(&["apply", "--confirm", "1h", &file.to_string_lossy()])?;
    // The file on disk says otherwise than what is in force.
    for (arguments, in_force_says, file_says) in [
        (["explain", &client, "192.0.2.5:631"], "deny", "allow"),
        (["explain", &client, "192.0.2.80:631"], "allow", "deny"),
        (["explain", &client, "a.shop.test"], "allow", "deny"),
        (["explain", &client, WEB[0]], "deny", "allow"),
    ] {
        let found = in_force(&testbed, &arguments)?;
        is(&found, &[("/judged", "in-force"), ("/verdict", in_force_says)])?;
        let (found, _) = told(&testbed, &arguments)?;
        is(
            &found,
            &[("/judged", "file"), ("/verdict", file_says), ("/policy_verdict", file_says)],
        )?;
    }
    is(&in_force(&testbed, &["match", "a.shop.test"])?, &[("/services/0/pattern", "*.shop.test")])?;
    is(&in_force(&testbed, &["match", WEB[0]])?, &[("/services", "[]"), ("/judged", "in-force")])?;
    is(&told(&testbed, &["match", WEB[0]])?.0, &[("/services/0/pattern", "*.web.test")])?;

    // What is applied is named as a file: it comes to what is in force.
    let found = under_file(&testbed, &["explain", &client, "192.0.2.80:631"])?;
    is(&found, &[("/judged", "in-force"), ("/verdict", "allow")])?;

    // A candidate takes the addresses that the kernel has learned, as far as their names are its own.
    testbed.filter.succeed(&["confirm"])?;
    testbed.filter.succeed(&["apply", &testbed.filter.config().to_string_lossy()])?;
    let [address, _] = testbed.resolve(WEB[0])?;
    let target = format!("{address}:443");
    for (pattern, verdict, reason) in
        [("*.web.test", "allow", "policy"), ("*.shop.test", "deny", "destination")]
    {
        let candidate = CONFIG.replace("*.web.test", pattern).replace("tcp: [631]", "tcp: [632]");
        fs::write(&file, candidate)?;
        let found = under_file(&testbed, &["explain", &client, &target])?;
        is(&found, &[("/judged", "file"), ("/verdict", verdict), ("/reason", reason)])?;
    }

    // Without a daemon the maps judge, and the configuration that was applied last explains.
    testbed.filter.kill()?;
    let found = in_force(&testbed, &["explain", &client, &format!("{}:8080", WEB[1])])?;
    is(&found, &[("/judged", "in-force"), ("/verdict", "deny"), ("/reason", "port")])?;
    is(&found, &[("/nearest/service", "web"), ("/nearest/why", "other_port")])?;
    let notes = found["notes"].to_string();
    ensure!(notes.contains("no daemon runs"), "{notes}");
    Ok(())
}

#[test]
fn what_denies_is_told_with_the_nearest_service_and_a_remedy_that_mends_it() -> Result<()> {
    let config = CONFIG.replace("services: [web, clock, printer]", "services: [clock, printer]");
    for (target, reason, nearest, yaml) in [
        (WEB[0].to_owned(), "dns_unlisted", "disabled", "  - web\n"),
        ("web.test".to_owned(), "dns_unlisted", "one_label_off", "fqdns:\n  - web.test\n"),
        ("192.0.2.5:9100".to_owned(), "port", "other_port", "cidrs:\n  - 192.0.2.5/32\n"),
        ("login.live.com".to_owned(), "dns_unlisted", "disabled", "services:\n"),
        (format!("{FOREIGN}:443"), "destination", "null", "cidrs:\n  - 192.0.2.80/32\n"),
    ] {
        let testbed = start(config.clone())?;
        let found = explained(&testbed, &target)?;
        is(&found, &[("/verdict", "deny"), ("/reason", reason)])?;
        match nearest {
            "null" => is(&found, &[("/nearest", "null")])?,
            nearest => is(&found, &[("/nearest/why", nearest)])?,
        }
        let remedy = found["remedy"]["yaml"].as_str().unwrap_or_default();
        ensure!(remedy.contains(yaml), "{target}: {found:#}");
        mend(&testbed, &found)?;
        is(&explained(&testbed, &target)?, &[("/verdict", "allow")])
            .with_context(|| target.clone())?;
    }
    let testbed = start(config.replace("10.20.0.0/24", "10.20.0.0/28"))?;
    let stranger = "10.20.0.99";
    let (found, _) = told(&testbed, &["explain", stranger, "192.0.2.5:631"])?;
    is(&found, &[("/reason", "unlisted_client"), ("/nearest", "null")])?;
    ensure!(found["remedy"]["yaml"].to_string().contains("10.20.0.99/32"), "{found:#}");
    Ok(())
}

#[test]
fn an_ipv4_destination_is_judged_as_a_client_reaches_it_by_nat64() -> Result<()> {
    let testbed = start(CONFIG.to_owned())?;
    let client = CLIENT[1].to_string();
    let output = testbed.filter.run(&["explain", &client, "192.0.2.5:631"])?;
    ensure!(output.status.code() == Some(2), "{output:?}");
    testbed.filter.configure(&format!("{CONFIG}nat64: ['64:ff9b::/96']\n"))?;
    testbed.filter.succeed(&["reload"])?;
    let (found, code) = told(&testbed, &["explain", &client, "192.0.2.5:631"])?;
    is(&found, &[("/verdict", "allow"), ("/address", "64:ff9b::c000:205")])?;
    is(&found, &[("/matched/value", "192.0.2.0/28")])?;
    ensure!(code == Some(0), "{code:?}");
    // Learned over IPv4, reached over IPv6.
    let [address, _] = testbed.resolve(WEB[0])?;
    let (found, _) = told(&testbed, &["explain", &client, &format!("{address}:443")])?;
    is(&found, &[("/verdict", "allow"), ("/name", WEB[0])])?;
    let (found, _) = told(&testbed, &["explain", &client, &format!("{}:443", WEB[1])])?;
    let listed: Vec<&str> = found["addresses"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(|one| one["address"].as_str())
        .collect();
    let forms = listed.iter().filter(|one| one.starts_with("64:ff9b::")).count();
    ensure!(forms == 1 && listed.len() == 2, "{found:#}");
    is(&found, &[("/verdict", "allow")])?;
    Ok(())
}
