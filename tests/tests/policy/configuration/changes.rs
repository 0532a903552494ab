//! Changes of a configuration: none if the policy is equal; otherwise reported before and after.

use std::net::TcpStream;

use anyhow::{Context as _, Result, ensure};
use intune_filter_tests::{
    filter::PATIENCE,
    site::{CONFIG, WEB, eventually, tcp},
};
use serde_json::{Value, json};

use super::{Site, changed};

/// Configuration equal to the site's, written otherwise.
fn rewritten() -> String {
    let services = CONFIG.split_once("services:\n  - id").map(|(_, rest)| rest).unwrap_or_default();
    let before = CONFIG.strip_suffix(&format!("services:\n  - id{services}")).unwrap_or_default();
    format!("# Others may read this.\nservices:\n  - id{services}{before}")
        .replace("title: Web", "title: \"The web\"")
        .replace("[web, clock, printer]", "[printer, web, clock]")
        .replace("tcp: [80, 443]", "tcp: [\"443\", 80]")
}

#[test]
fn what_comes_to_the_same_raises_no_generation_and_starts_no_trial() -> Result<()> {
    let mut site = Site::start(CONFIG)?;
    let before = site.status()?;
    let other = site.other("other.yaml", &rewritten())?;
    for arguments in [&["apply", &other][..], &["apply", &other, "--confirm", "1s"]] {
        let answer = site.json(arguments)?;
        let digest = &before["configuration"]["digest"];
        for (key, expected) in [
            ("schema", json!(1)),
            ("changed", json!(false)),
            ("generation", before["generation"].clone()),
            ("digest", digest.clone()),
            ("opens", json!([])),
            ("closes", json!([])),
            ("flows_ended", json!(0)),
            ("names_forgotten", json!(0)),
            ("confirm_within_s", Value::Null),
            ("overrides_file", json!(true)),
        ] {
            ensure!(answer[key] == expected, "{key} in {answer:#}");
        }
    }
    // The document is the one in force all the same, and the one that a restart loads.
    let status = site.status()?;
    ensure!(status["configuration"]["file"] == json!(other), "{status:#}");
    ensure!(status["configuration"].get("confirm_within_s").is_none(), "{status:#}");
    let shown = site.json(&["config", "show"])?;
    ensure!(shown["text"] == json!(rewritten()), "{shown:#}");
    site.restart()?;
    ensure!(site.status()?["configuration"]["file"] == json!(other), "a restart has another");
    // Of one that waits, what comes to the same is on trial as that is, until the same moment.
    let trial = site.other("trial.yaml", &changed())?;
    site.json(&["apply", &trial, "--confirm", "15s"])?;
    let same = site.other("same.yaml", &format!("{}# the same\n", changed()))?;
    let answer = site.json(&["apply", &same, "--confirm", "10m"])?;
    ensure!(
        answer["changed"] == false && answer["confirm_within_s"].as_u64() <= Some(15),
        "{answer:#}"
    );
    site.testbed.filter.daemon()?.wait_for("same.yaml was not confirmed in time", PATIENCE)?;
    site.expect_old()
}

#[test]
fn what_would_open_close_and_end_is_told_before_and_after() -> Result<()> {
    let site = Site::start(CONFIG)?;
    let [web, _] = site.testbed.resolve(WEB[0])?;
    eventually("the daemon knows the name", || {
        Ok(site.json(&["names"])?.as_array().is_some_and(|names| names.len() == 2))
    })?;
    // A connection that goes on.
    let stream = site.testbed.network.client.run(|| TcpStream::connect((web, 443)))?;
    let without = CONFIG.replace("[web, clock, printer]", "[clock, printer]");
    let without = without.replace("tcp: [631]", "tcp: [631, 9100]") + "icmp_echo: false\n";
    let other = site.other("other.yaml", &without)?;
    let before = site.status()?;
    let told = site.json(&["apply", &other, "--dry-run"])?;
    ensure!(told["changed"] == true && told["schema"] == 1, "{told:#}");
    ensure!(told["generation"] == before["generation"], "{told:#}");
    ensure!(told["names_forgotten"] == 2 && told["names"][0]["name"] == WEB[0], "{told:#}");
    let flow = &told["flows"][0];
    ensure!(flow["destination"] == json!(web) && flow["port"] == 443, "{told:#}");
    ensure!(told["flows_ended"].as_u64() >= Some(1), "{told:#}");
    let closes = json!([{"group": "devices", "destination": "*.web.test", "tcp": ["80", "443"],
                         "udp": ["443"]}]);
    let opens = json!([
        {"group": "devices", "destination": "192.0.2.0/28", "tcp": ["9100"], "udp": []},
        {"group": "devices", "destination": "2001:db8:9100::/64", "tcp": ["9100"], "udp": []},
    ]);
    let settings = json!([{"key": "icmp_echo", "from": true, "to": false}]);
    ensure!(told["opens"] == opens && told["closes"] == closes, "{told:#}");
    ensure!(told["settings"] == settings, "{told:#}");
    // Nothing has changed.
    ensure!(site.generation()? == told["generation"], "another generation");
    ensure!(site.json(&["names"])?.as_array().map(Vec::len) == Some(2), "names are gone");
    site.testbed.expect_reached(tcp(web, 443))?;
    let text = site.testbed.filter.succeed(&["config", "diff", &other])?;
    for line in [
        "+ devices to 192.0.2.0/28 tcp 9100\n",
        "- devices to *.web.test tcp 80 443 udp 443\n",
        "~ icmp_echo: false, until now true\n",
        "2 names are forgotten",
    ] {
        ensure!(text.contains(line), "no {line} in\n{text}");
    }

    let answer = site.json(&["apply", &other])?;
    ensure!(answer["opens"] == opens && answer["closes"] == closes, "{answer:#}");
    ensure!(answer["digest"] == told["digest"], "{answer:#}");
    ensure!(answer["names_forgotten"] == 2, "{answer:#}");
    ensure!(answer["flows_ended"].as_u64() >= Some(1), "{answer:#}");
    drop(stream);
    // The file is what is asked about without another one.
    let told = site.json(&["config", "diff"])?;
    ensure!(told["closes"] == opens && told["opens"] == closes, "{told:#}");
    site.configure("clients: [")?;
    site.fail(3, &["config", "diff"])?;
    site.fail(3, &["apply", "--dry-run"])?;
    Ok(())
}

#[test]
fn what_is_shown_can_be_applied_again() -> Result<()> {
    let site = Site::start(&format!("{CONFIG}boot: closed\nwarm_up: 0s\nregion: europe\n"))?;
    let shown = site.testbed.filter.succeed(&["config", "show"])?;
    ensure!(shown.starts_with("# In force, with every default, policy generation 1"), "{shown}");
    let again = site.other("again.yaml", &shown)?;
    let answer = site.json(&["apply", &again])?;
    ensure!(answer["changed"] == false && answer["generation"] == 1, "{answer:#}");
    let told = site.json(&["config", "show"])?;
    ensure!(told["schema"] == 1 && told["origin"] == "applied", "{told:#}");
    ensure!(told["configuration"]["region"] == "europe", "{told:#}");
    let text = site.testbed.filter.succeed(&["config", "diff", &again])?;
    ensure!(text.contains("comes to what is in force"), "{text}");
    Ok(())
}

#[test]
fn the_metrics_follow_at_once() -> Result<()> {
    let mut site = Site::start(CONFIG)?;
    let listen = |at: &str| format!("{CONFIG}metrics: {{listen: \"{at}\"}}\n");
    let served = |site: &Site, port: u16| {
        site.metric(port, "policy_generation").is_ok_and(|one| one.is_some())
    };
    ensure!(served(&site, 9469), "not at the default");
    site.configure(&listen("127.0.0.1:9470"))?;
    site.json(&["reload"])?;
    ensure!(served(&site, 9470) && !served(&site, 9469), "it has not moved");
    // On trial, and back.
    let off = site.other("off.yaml", &format!("{CONFIG}metrics: {{listen: off}}\n"))?;
    site.json(&["apply", &off, "--confirm", "8s"])?;
    ensure!(!served(&site, 9470), "it still listens");
    site.testbed.filter.daemon()?.wait_for("not confirmed in time", PATIENCE)?;
    eventually("it listens again", || Ok(served(&site, 9470)))
}

#[test]
fn what_cannot_change_while_it_is_in_use_is_refused_by_name() -> Result<()> {
    let site = Site::start(CONFIG)?;
    let text = format!("{}maps: {{flows4: 2048, events: 65536}}\n", changed());
    let other = site.other("other.yaml", &text)?;
    site.configure(&text)?;
    for arguments in [&["apply", &other][..], &["apply", &other, "--dry-run"], &["reload"]] {
        let told = site.fail(1, arguments)?;
        for words in ["sizes of maps", "maps.flows4: 2048, and 94208", "maps.events: 65536"] {
            ensure!(told.contains(words), "{arguments:?}: no {words} in {told}");
        }
        ensure!(!told.contains("maps.hosts4"), "{told}");
    }
    site.expect_old()
}

#[test]
fn after_a_rollback_status_names_what_is_in_force() -> Result<()> {
    let mut site = Site::start(CONFIG)?;
    let trial = site.other("trial.yaml", &changed())?;
    site.json(&["apply", &trial, "--confirm", "1s"])?;
    site.testbed.filter.daemon()?.wait_for("trial.yaml was not confirmed in time", PATIENCE)?;
    let told = site.status()?["configuration"].clone();
    ensure!(told["file"] == json!(site.file()) && told["origin"] == "file", "{told:#}");
    ensure!(told["overrides_file"] == false, "{told:#}");
    let text = site.testbed.filter.succeed(&["status"])?;
    ensure!(!text.contains("in place of the configuration file"), "{text}");
    // If the file itself was on trial, it is what was not confirmed.
    site.configure(&changed())?;
    site.json(&["apply", "--confirm", "1s"])?;
    site.testbed.filter.daemon()?.wait_for("config.yaml was not confirmed in time", PATIENCE)?;
    let told = site.status()?["configuration"].clone();
    ensure!(told["origin"] == "applied" && told["overrides_file"] == true, "{told:#}");
    site.expect_old().context("the old one is not back")?;
    site.restart()?;
    ensure!(site.origin()? == "applied", "{}", site.origin()?);
    site.expect_old()
}
