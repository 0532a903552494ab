//! The demo ends without a surprise, with either resolver; and it does notice surprises.

use std::process::Command;

use anyhow::{Context as _, Result, ensure};
use intune_filter_tests::{cargo::binary, directory::Directory};
use serde_json::Value;

fn demo(arguments: &[&str]) -> Result<(Option<i32>, Value)> {
    let mut command = Command::new(env!("CARGO_BIN_EXE_demo"));
    let output = command.arg("--json").args(arguments).env("INTUNE_FILTER", binary()?).output()?;
    let (text, errors) =
        (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    let report = serde_json::from_str(&text)
        .with_context(|| format!("no JSON: {} {text}{errors}", output.status))?;
    Ok((output.status.code(), report))
}

fn without_surprise(resolver: &str) -> Result<()> {
    let (code, report) = demo(&["--resolver", resolver])?;
    ensure!(code == Some(0) && report["surprises"] == serde_json::json!([]), "{code:?} {report:#}");
    ensure!(report["resolver"] == resolver, "{report:#}");
    for row in report["services"].as_array().context("no services")? {
        for part in ["allowed", "denied"] {
            let count = |key: &str| row[part][key].as_u64().unwrap_or(0);
            ensure!(count("expected") > 0 && count("met") == count("expected"), "{row:#}");
        }
    }
    println!("{} expectations in {} s", report["probes"], report["seconds"]);
    Ok(())
}

#[test]
fn with_dnsmasq_on_the_gateway_nothing_surprises() -> Result<()> {
    without_surprise("dnsmasq")
}

#[test]
fn with_unbound_beyond_the_gateway_nothing_surprises() -> Result<()> {
    without_surprise("unbound")
}

#[test]
fn a_filter_that_enforces_nothing_is_noticed() -> Result<()> {
    let directory = Directory::create()?;
    let config = std::fs::read_to_string(intune_filter_demo::config())?;
    let audited = config.replace("mode: enforce", "mode: audit");
    ensure!(audited != config, "the demo's configuration does not say mode: enforce");
    let path = directory.write("audit.yaml", &audited)?;
    let path = path.to_str().context("a path of the testbed is ASCII")?;
    let (code, report) = demo(&["--config", path])?;
    ensure!(code == Some(1), "expected exit code 1, got {code:?}");
    let surprises = report["surprises"].as_array().context("no surprises")?.len();
    ensure!(surprises > 100, "noticed only {surprises}");
    Ok(())
}
