//! A file that cannot be used, in each of the ways that the documentation's table has.

use std::{fs, os::unix::fs::MetadataExt as _, path::Path};

use anyhow::{Context as _, Result, ensure};
use intune_filter_tests::{filter::PATIENCE, namespace::run, network::Network, site::CONFIG};

use super::{Site, changed, remove};

/// Damage of a file.
enum Fault<'a> {
    Content(&'a [u8]),
    Missing,
    Directory,
}

impl Fault<'_> {
    fn happen(&self, file: &Path) -> Result<()> {
        if file.exists() {
            remove(file)?;
        }
        match self {
            Self::Content(content) => fs::write(file, content)?,
            Self::Missing => {}
            Self::Directory => fs::create_dir(file)?,
        }
        Ok(())
    }
}

/// The gateway's tables of nftables.
fn tables(network: &Network) -> Result<String> {
    run(network.gateway.command("nft").args(["list", "tables"]))
}

/// As a reboot leaves the machine: nothing attached, no gate, and the files as they are.
fn reboot(site: &mut Site) -> Result<()> {
    site.testbed.filter.kill()?;
    site.testbed.filter.succeed(&["detach"])?;
    ensure!(tables(&site.testbed.network)?.is_empty(), "the gate is left");
    Ok(())
}

#[test]
fn a_start_without_a_usable_file_runs_what_was_last_in_force() -> Result<()> {
    let mut site = Site::start(CONFIG)?;
    let wrong_key = format!("{CONFIG}no_such_key: 1\n");
    let wrong_service = CONFIG.replace("[web, clock, printer]", "[web, clock, plotter]");
    for (what, fault, words) in [
        ("no YAML", Fault::Content(b"clients: ["), "not YAML"),
        ("empty", Fault::Content(b""), "empty"),
        ("missing", Fault::Missing, "cannot read"),
        ("a directory", Fault::Directory, "cannot read"),
        ("not text", Fault::Content(&[0xff, 0xfe]), "UTF-8"),
        ("wrong key", Fault::Content(wrong_key.as_bytes()), "no_such_key"),
        ("wrong service", Fault::Content(wrong_service.as_bytes()), "plotter"),
    ] {
        reboot(&mut site)?;
        fault.happen(&site.file()).context(what)?;
        site.testbed.filter.start().context(what)?;
        site.expect_old().context(what)?;
        ensure!(site.origin()? == "last-good", "{what}");
        site.expect_problem("configuration_refused", words).context(what)?;
        site.eventually_metric("configuration_last_good", 1).context(what)?;
        let log = site.testbed.filter.output();
        ensure!(log.contains("what was last in force runs instead"), "{what}: {log}");
        let text = site.testbed.filter.succeed(&["status"])?;
        ensure!(text.contains("PROBLEM configuration_refused"), "{text}");
        ensure!(text.contains("what was last in force runs, from"), "{text}");
    }
    // Nobody has to say that it is mended. A fault after another is no mending.
    site.configure("clients: {")?;
    site.testbed.filter.daemon()?.wait_for("not used, the old one stays", PATIENCE)?;
    site.expect_old()?;
    site.configure(&changed())?;
    site.eventually_from("file")?;
    site.expect_new()?;
    site.expect_none("configuration_refused")?;
    site.eventually_metric("configuration_last_good", 0)?;
    // And that is the last good one from now on.
    remove(&site.file())?;
    site.restart()?;
    site.expect_new()
}

#[test]
fn the_sites_catalogue_is_kept_with_its_configuration() -> Result<()> {
    let mut site = Site::create("")?;
    let catalogue = site.path("catalogue");
    fs::create_dir(&catalogue)?;
    let services = |port: u16| {
        format!(
            "services:\n- id: printing\n  title: Printing\n  source: {{document: Ours, section: All}}\n  \
             default: true\n  rules:\n  - {{id: all, cidrs: [192.0.2.0/28], tcp: [{port}]}}\n"
        )
    };
    fs::write(catalogue.join("site.yaml"), services(631))?;
    let config = CONFIG.replace("[web, clock, printer]", "[web, clock, printing]");
    let paths = format!("paths: {{catalogue: {}}}\n", catalogue.display());
    site.configure(&format!("{config}{paths}"))?;
    site.testbed.filter.start()?;
    site.expect_old()?;
    for broken in [true, false] {
        match broken {
            true => fs::write(catalogue.join("site.yaml"), "services: 7")?,
            false => remove(&catalogue)?,
        }
        reboot(&mut site)?;
        site.testbed.filter.start()?;
        ensure!(site.origin()? == "last-good", "broken: {broken}");
        site.expect_problem("configuration_refused", "paths.catalogue")?;
        site.expect_old()?;
    }
    fs::create_dir(&catalogue)?;
    fs::write(catalogue.join("site.yaml"), services(443))?;
    site.eventually_from("file")?;
    site.expect_new()
}

#[test]
fn what_the_gate_is_to_be_is_known_before_any_file_is_read() -> Result<()> {
    let mut site = Site::start(&format!("{CONFIG}boot: closed\n"))?;
    reboot(&mut site)?;
    remove(&site.path("state/last-good"))?;
    for fault in ["clients: [", ""] {
        site.configure(fault)?;
        let (code, output) = site.testbed.filter.fail_to_start()?;
        ensure!(code == Some(3), "{code:?}: {output}");
        ensure!(output.contains("critical: no configuration can be used"), "{output}");
        ensure!(output.contains("nothing is forwarded for clients"), "{output}");
        ensure!(tables(&site.testbed.network)?.contains("intune-filter"), "open: {output}");
        site.testbed.expect_denied(super::old()?)?;
    }
    // The configuration that was last in force said otherwise.
    site.configure(&format!("{CONFIG}boot: open\n"))?;
    site.testbed.filter.start()?;
    reboot(&mut site)?;
    remove(&site.path("state/last-good"))?;
    remove(&site.file())?;
    let (code, output) = site.testbed.filter.fail_to_start()?;
    ensure!(code == Some(3) && output.contains("UNJUDGED"), "{code:?}: {output}");
    ensure!(tables(&site.testbed.network)?.is_empty(), "shut: {output}");
    // And where nothing is known at all.
    remove(&site.path("state/boot.json"))?;
    let (code, output) = site.testbed.filter.fail_to_start()?;
    ensure!(code == Some(3) && output.contains("UNJUDGED"), "{code:?}: {output}");
    site.testbed.expect_reached(super::new()?)
}

#[test]
fn a_configuration_on_trial_is_never_the_last_good_one() -> Result<()> {
    let mut site = Site::start(CONFIG)?;
    let trial = site.other("trial.yaml", &format!("{}boot: closed\n", changed()))?;
    site.json(&["apply", &trial, "--confirm", "10m"])?;
    site.expect_new()?;
    let boot = fs::read_to_string(site.path("state/boot.json"))?;
    ensure!(boot.contains(r#""boot":"open""#), "{boot}");
    remove(&site.file())?;
    site.restart()?;
    site.expect_old()?;
    site.json(&["apply", &trial, "--confirm", "10m"])?;
    site.json(&["confirm"])?;
    site.restart()?;
    ensure!(site.origin()? == "last-good", "{}", site.origin()?);
    site.expect_new()
}

#[test]
fn a_file_that_others_may_write_is_used_and_complained_of() -> Result<()> {
    let mut site = Site::start(CONFIG)?;
    site.expect_none("file_writable")?;
    let mode = fs::metadata(site.file())?.mode();
    for (command, arguments) in [("chmod", ["0666"]), ("chown", ["12345"])] {
        run(std::process::Command::new(command).args(arguments).arg(site.file()))?;
        site.restart()?;
        ensure!(site.origin()? == "file", "{command}");
        site.expect_problem("file_writable", &site.file().display().to_string())?;
        let text = site.testbed.filter.succeed(&["check"])?;
        ensure!(text.contains("decides who passes"), "{text}");
    }
    run(std::process::Command::new("chown").arg("0").arg(site.file()))?;
    run(std::process::Command::new("chmod").arg(format!("{:o}", mode & 0o777)).arg(site.file()))?;
    site.json(&["reload"])?;
    site.expect_none("file_writable")
}

#[test]
fn every_line_for_the_journal_has_its_priority() -> Result<()> {
    let site = Site::create("interfaces: 7\nclients: 8\n")?;
    let path = site.path("journal");
    let file = fs::File::create(&path)?;
    let metadata = file.metadata()?;
    let mut daemon = site.testbed.filter.command(&["run"])?;
    daemon.env("JOURNAL_STREAM", format!("{}:{}", metadata.dev(), metadata.ino()));
    let status = daemon.stderr(file).status()?;
    ensure!(status.code() == Some(3), "{status}");
    let text = fs::read_to_string(path)?;
    ensure!(text.lines().count() >= 4, "{text}");
    let has_priority = |line: &str| matches!(line.as_bytes(), [b'<', b'0'..=b'7', b'>', ..]);
    ensure!(text.lines().all(has_priority), "{text}");
    ensure!(text.contains("<3>") && text.contains(": clients: "), "{text}");
    ensure!(text.contains("<2>no configuration can be used"), "{text}");
    ensure!(text.contains("config.yaml:1: interfaces: "), "{text}");
    // Whoever inherits the variable and writes elsewhere is no journal.
    let mut check = site.testbed.filter.command(&["check"])?;
    let output = check.env("JOURNAL_STREAM", "1:1").output()?;
    ensure!(output.stderr.starts_with(b"intune-filter: "), "{output:?}");
    Ok(())
}
