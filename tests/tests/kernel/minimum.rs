//! A kernel that lacks what the programs need is refused: one sentence, and nothing is touched. Any
//! other is not. `cargo xtask test --vm` runs this on a kernel that is too old.

use std::{fs, sync::Arc};

use anyhow::{Context as _, Result, ensure};
use intune_filter_tests::{
    directory::Directory,
    filter::FilterDaemon,
    namespace::run,
    network::{LAN, Network},
    site::CONFIG,
};

/// A gateway where nothing runs yet.
struct Gateway {
    network: Network,
    filter: FilterDaemon,
    directory: Arc<Directory>,
}

impl Gateway {
    fn create() -> Result<Self> {
        let directory = Arc::new(Directory::create()?);
        let network = Network::create(directory.label())?;
        let filter =
            FilterDaemon::new(Arc::clone(&network.gateway), Arc::clone(&directory), CONFIG)?;
        Ok(Self { network, filter, directory })
    }

    /// State that an attachment changes: the interface, its queueing disciplines and filters, pins.
    fn traces(&self) -> Result<Vec<String>> {
        let command = |program: &str, arguments: &[&str]| {
            run(self.network.gateway.command(program).args(arguments).args(["dev", LAN]))
        };
        Ok(vec![
            command("ip", &["-details", "link", "show"])?,
            command("tc", &["qdisc", "show"])?,
            command("tc", &["filter", "show", "ingress"])?,
            command("tc", &["filter", "show", "egress"])?,
            format!("{:?}", fs::read_dir(self.directory.bpffs())?.collect::<Vec<_>>()),
        ])
    }
}

/// Message on this kernel, if it is too old.
fn refusal() -> Result<Option<String>> {
    let release = fs::read_to_string("/proc/sys/kernel/osrelease")?;
    let release = release.trim();
    let mut numbers = release.split(['.', '-']).map(str::parse::<u32>);
    let mut number = || numbers.next().context("a release has two numbers")?.context("a number");
    let is_old = (number()?, number()?) < (6, 1);
    let sentence = format!("kernel {release} is too old: intune-filter needs Linux 6.1 or newer");
    Ok(is_old.then_some(sentence))
}

#[test]
fn the_daemon_refuses_an_old_kernel_in_one_sentence_and_touches_nothing() -> Result<()> {
    let mut gateway = Gateway::create()?;
    let before = gateway.traces()?;
    let Some(refusal) = refusal()? else {
        gateway.filter.start()?;
        let after = gateway.traces()?;
        ensure!(before[0] != after[0], "no program is attached: {}", after[0]);
        ensure!(before[4] != after[4], "nothing is pinned");
        return Ok(());
    };
    let (code, output) = gateway.filter.fail_to_start()?;
    ensure!(code == Some(1), "expected exit code 1, got {code:?}: {output}");
    ensure!(output == format!("intune-filter: {refusal}"), "says more, or less: {output}");
    let after = gateway.traces()?;
    ensure!(before == after, "before: {before:#?}\nafter: {after:#?}");
    println!("refused: {refusal}");
    Ok(())
}

#[test]
fn check_warns_of_an_old_kernel() -> Result<()> {
    let gateway = Gateway::create()?;
    let summary = gateway.filter.json(&["check"])?;
    let warnings = summary["warnings"].as_array().context("check lists warnings")?;
    let warnings = warnings.iter().filter_map(|warning| warning.as_str());
    let warning = warnings.filter(|warning| warning.contains("too old")).collect::<Vec<_>>();
    ensure!(warning.first().copied() == refusal()?.as_deref(), "warns of {warning:?}");
    Ok(())
}

#[test]
fn what_needs_no_program_works_on_every_kernel() -> Result<()> {
    let gateway = Gateway::create()?;
    let filter = &gateway.filter;
    for (port, verdict) in [(631, "allow"), (22, "deny")] {
        let told = filter.json(&["explain", "10.20.0.10", &format!("192.0.2.5:{port}")])?;
        ensure!(told["verdict"] == verdict, "port {port}: {told}");
    }
    let told = filter.json(&["match", "www.web.test"])?;
    ensure!(told["services"][0]["id"] == "web", "{told}");
    // Where nothing is attached there is nothing to remove.
    filter.succeed(&["detach"]).map(drop)
}
