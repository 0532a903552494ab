//! `explain` agrees with the kernel about every probe of the demo, and changes no map. Of the denied ones,
//! for each of which it looks for a remedy, one in eight is explained, unless `INTUNE_PROBES` asks for all.

use std::{collections::BTreeMap, env, path::PathBuf};

use anyhow::{Context as _, Result, ensure};
use intune_filter_demo::{
    Demo, config,
    plan::{Expected, Part, Probe},
    run::Runner,
    services::Service,
};
use intune_filter_ebpf::abi::Reason;
use intune_filter_tests::{
    filter::FilterDaemon, network::CLIENT, pins, probe::concurrently, resolver::Kind,
    testbed::Testbed,
};
use serde_json::Value;

/// Of so many denied probes one is explained.
const ONE_IN: usize = 8;

#[test]
fn explain_agrees_with_the_kernel_about_every_probe_and_changes_no_map() -> Result<()> {
    let Demo { services, plan, setup } = Demo::new(&config(), Kind::default())?;
    let mut testbed = Testbed::create(&setup)?;
    testbed.filter.start()?;

    // Names that nobody has asked for yet lead nowhere.
    let one_in = if env::var_os("INTUNE_PROBES").is_some() { 1 } else { ONE_IN };
    explain_all(&testbed, &services, plan.unresolved.iter().step_by(one_in))?;
    let surprises: Vec<String> = Runner::new(&testbed)
        .run(&plan)?
        .into_iter()
        .filter_map(|finding| finding.surprise)
        .collect();
    ensure!(surprises.is_empty(), "not what the demo expects: {surprises:#?}");
    // It removes flows that have ended, once a minute; the programs go on without it.
    testbed.filter.kill()?;
    let denied = plan.other_ports.iter().chain(&plan.other_destinations).step_by(one_in);
    explain_all(&testbed, &services, plan.allowed.iter().chain(denied))
}

/// Explains each probe, and checks that the answer is what the kernel does, or did.
fn explain_all<'a>(
    testbed: &Testbed,
    services: &[Service],
    probes: impl Iterator<Item = &'a Probe>,
) -> Result<()> {
    let probes: Vec<&Probe> = probes.collect();
    let before = contents(testbed)?;
    // The processes enter the gateway themselves: where they are started from does not matter.
    let results = concurrently(&testbed.network.internet, 3, &probes, |probe| {
        explain(&testbed.filter, services, probe).with_context(|| format!("{probe:?}"))
    });
    let after = contents(testbed)?;
    results.into_iter().collect::<Result<Vec<()>>>()?;
    println!("{} probes explained", probes.len());
    for (path, content) in before {
        ensure!(after.get(&path) == Some(&content), "{} has changed", path.display());
    }
    Ok(())
}

fn explain(filter: &FilterDaemon, services: &[Service], probe: &Probe) -> Result<()> {
    let [v4, v6] = CLIENT;
    let client = if probe.target.address.is_ipv4() { v4 } else { v6 };
    let told = filter.json(&["explain", &client.to_string(), &probe.target.to_string()])?;
    let (verdict, reason) = match probe.expected {
        Expected::Reached => ("allow", None),
        Expected::Denied(reason) => ("deny", Some(reason.as_str())),
    };
    ensure!(told["verdict"] == verdict, "expected {verdict}: {told}");
    ensure!(reason.is_none_or(|reason| told["reason"] == reason), "expected {reason:?}: {told}");
    // What is the gateway's own business is decided before anybody asks for the group.
    let group = if probe.part == Part::Gateway { Value::Null } else { "devices".into() };
    ensure!(told["client_group"] == group, "expected group {group}: {told}");
    match probe.part {
        Part::Service(number) if reason.is_none() => matched(services, number, probe, &told),
        Part::Service(_) => {
            ensure!(told["service"].is_string(), "names no service: {told}");
            Ok(())
        }
        Part::Gateway => {
            ensure!(told["matched"]["kind"] == "control", "expected control: {told}");
            Ok(())
        }
        _ => {
            ensure!(told["service"].is_null(), "names a service: {told}");
            Ok(())
        }
    }
}

/// Checks what the verdict is said to rest on: a rule with this destination and this port.
fn matched(services: &[Service], number: usize, probe: &Probe, told: &Value) -> Result<()> {
    let by = &told["matched"];
    let kind = by["kind"].as_str().context("matched has no kind")?;
    let target = probe.target;
    let opens = |service: &Service| {
        service.rules.iter().any(|rule| {
            rule.opens(target.transport, target.port)
                && (rule.names(&probe.subject) || rule.contains(target.address))
        })
    };
    let named = services.iter().find(|service| told["service"] == service.id.as_str());
    let named = named.with_context(|| format!("names no service: {told}"))?;
    ensure!(opens(named), "{} is not for that: {told}", named.id);
    let is_network = services
        .get(number)
        .is_some_and(|service| service.rules.iter().any(|rule| rule.contains(target.address)));
    let expected = if is_network { "cidr" } else { "name" };
    ensure!(kind == expected || kind == "flow", "expected {expected}: {told}");
    Ok(())
}

/// The contents of the pinned maps, but for two counters that the gateway's own traffic moves:
/// router advertisements and neighbour discovery go on.
fn contents(testbed: &Testbed) -> Result<BTreeMap<PathBuf, Value>> {
    let mut contents = pins::contents(&testbed.filter.pins())?;
    let moving =
        [Reason::Link, Reason::GatewaySent].map(|reason| format!("0x{:02x}", reason as u8));
    for (path, content) in &mut contents {
        if path.ends_with("COUNTERS")
            && let Some(elements) = content.as_array_mut()
        {
            let total = elements.len();
            elements.retain(|element| !moving.iter().any(|key| element["key"][0] == key.as_str()));
            ensure!(elements.len() + moving.len() == total, "COUNTERS has other keys: {content}");
        }
    }
    ensure!(!contents.is_empty(), "nothing is pinned");
    Ok(contents)
}
