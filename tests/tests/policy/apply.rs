//! `apply` and `confirm`: a new configuration takes over at once, and goes by itself if it cuts
//! its admin off, whatever becomes of the command, the daemon and the configuration file.

use std::{io::Write as _, os::unix::net::UnixStream, path::PathBuf, time::Duration};

use anyhow::{Context as _, Result, ensure};
use intune_filter_tests::{
    network::GATEWAY,
    probe::{Target, Transport},
    site::{self, CONFIG, eventually, tcp},
    testbed::{FOREIGN_PORT, Testbed},
};
use nix::sys::signal::Signal;

/// Time enough for what a test does meanwhile, on a busy machine.
const AMPLE: &str = "10m";

/// Longest time until a rollback is noticed.
const PATIENCE: Duration = Duration::from_secs(60);

/// The printer's port, before and after the change.
const OLD: Target = Target { address: PRINTER, port: 631, transport: Transport::Tcp };
const NEW: Target = Target { address: PRINTER, port: 443, transport: Transport::Tcp };
const PRINTER: std::net::IpAddr = std::net::IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 5));

/// The site's configuration with the printer elsewhere.
fn changed() -> String {
    CONFIG.replace("tcp: [631]", "tcp: [443]")
}

struct Site {
    testbed: Testbed,
    new: PathBuf,
}

impl Site {
    fn start() -> Result<Self> {
        let mut testbed = Testbed::create(&site::setup())?;
        testbed.filter.start()?;
        let new = testbed.directory.write("new.yaml", &changed())?;
        let site = Self { testbed, new };
        site.expect_old()?;
        Ok(site)
    }

    fn apply(&self, arguments: &[&str]) -> Result<serde_json::Value> {
        let new = self.new.to_str().context("a path of ours is text")?;
        self.testbed.filter.json(&[&["apply", new], arguments].concat())
    }

    /// Runs a command that has to fail with exit code 1; what it says.
    fn fail(&self, arguments: &[&str]) -> Result<String> {
        let output = self.testbed.filter.run(arguments)?;
        let text = String::from_utf8_lossy(&output.stderr).into_owned();
        ensure!(output.status.code() == Some(1), "{arguments:?}: {}: {text}", output.status);
        Ok(text)
    }

    fn configuration(&self) -> Result<serde_json::Value> {
        Ok(self.testbed.filter.json(&["status"])?["daemon"]["configuration"].clone())
    }

    fn expect_old(&self) -> Result<()> {
        self.testbed.expect_reached(OLD)?;
        self.testbed.expect_denied(NEW)
    }

    fn expect_new(&self) -> Result<()> {
        self.testbed.expect_reached(NEW)?;
        self.testbed.expect_denied(OLD)
    }

    fn wait_for(&mut self, line: &str) -> Result<()> {
        self.testbed.filter.daemon()?.wait_for(line, PATIENCE).map(drop)
    }

    fn restart(&mut self) -> Result<()> {
        self.testbed.filter.kill()?;
        self.testbed.filter.start()
    }
}

#[test]
fn what_was_applied_holds_over_a_restart_until_the_file_changes() -> Result<()> {
    let mut site = Site::start()?;
    let generation = site.testbed.filter.json(&["status"])?["generation"].clone();
    let answer = site.apply(&[])?;
    ensure!(answer["generation"].as_u64() > generation.as_u64(), "{answer}");
    ensure!(answer["overrides_file"] == true && answer["confirm_within_s"].is_null(), "{answer}");
    site.expect_new()?;
    site.restart()?;
    site.expect_new()?;
    let told = site.configuration()?;
    ensure!(told["overrides_file"] == true && told.get("confirm_within_s").is_none(), "{told}");
    ensure!(told["file"].as_str().is_some_and(|file| file.ends_with("new.yaml")), "{told}");

    // The file as it was is not loaded by a reload either, since it has not changed.
    site.testbed.filter.daemon()?.signal(Signal::SIGHUP)?;
    site.wait_for("has not changed since")?;
    site.expect_new()?;
    site.testbed.filter.configure(&format!("{CONFIG}# changed\n"))?;
    site.restart()?;
    site.expect_old()?;
    ensure!(site.configuration()?["overrides_file"] == false, "{}", site.configuration()?);
    Ok(())
}

#[test]
fn the_file_itself_is_applied_without_leaving_anything_behind() -> Result<()> {
    let site = Site::start()?;
    site.testbed.filter.configure(&changed())?;
    site.expect_old()?;
    let text = site.testbed.filter.succeed(&["apply"])?;
    ensure!(text.contains("config.yaml is in force"), "{text}");
    site.expect_new()?;
    ensure!(site.configuration()?["overrides_file"] == false, "{}", site.configuration()?);
    // And back, from another state.
    site.testbed.directory.write("new.yaml", &format!("{}icmp_echo: false\n", changed()))?;
    site.apply(&["--confirm", AMPLE])?;
    site.testbed.filter.succeed(&["confirm"])?;
    site.testbed.filter.configure(CONFIG)?;
    site.testbed.filter.succeed(&["apply"])?;
    site.expect_old()
}

#[test]
fn a_configuration_that_cuts_its_admin_off_goes_by_itself() -> Result<()> {
    let mut site = Site::start()?;
    let ways: Vec<Target> = GATEWAY.into_iter().map(|to| tcp(to, FOREIGN_PORT)).collect();
    for way in &ways {
        site.testbed.expect_reached(*way)?;
    }
    // No service has the way to the gateway.
    site.testbed.directory.write("new.yaml", &format!("{}to_gateway: policy\n", changed()))?;
    // As from a terminal that goes down with the connection: nobody waits for the answer.
    let socket = site.testbed.directory.path().join("run/control.sock");
    let request = serde_json::json!({
        "version": 1,
        "command": "apply",
        "file": "train.yaml",
        "text": std::fs::read_to_string(&site.new)?,
        "confirm_s": 8,
    });
    writeln!(UnixStream::connect(socket)?, "{request}")?;
    site.wait_for("train.yaml is in force, and waits 8 s")?;
    let told = site.configuration()?;
    ensure!(matches!(told["confirm_within_s"].as_u64(), Some(1..=8)), "{told}");
    for way in &ways {
        site.testbed.expect_denied(*way)?;
    }
    site.wait_for("train.yaml was not confirmed in time")?;
    for way in &ways {
        site.testbed.expect_reached(*way)?;
    }
    site.expect_old()?;
    let told = site.configuration()?;
    ensure!(told.get("confirm_within_s").is_none(), "{told}");
    let text = site.fail(&["confirm"])?;
    ensure!(text.contains("nothing to confirm"), "{text}");
    Ok(())
}

#[test]
fn a_confirmed_configuration_stays() -> Result<()> {
    let mut site = Site::start()?;
    let text = site.fail(&["confirm"])?;
    ensure!(text.contains("nothing to confirm"), "{text}");
    let answer = site.apply(&["--confirm", AMPLE])?;
    ensure!(answer["confirm_within_s"] == 600, "{answer}");
    let text = site.testbed.filter.succeed(&["status"])?;
    ensure!(text.contains("new.yaml waits for its confirmation"), "{text}");
    let answer = site.testbed.filter.json(&["confirm"])?;
    ensure!(answer["overrides_file"] == true, "{answer}");
    let text = site.testbed.filter.succeed(&["status"])?;
    ensure!(text.contains("in place of the configuration file"), "{text}");
    site.restart()?;
    site.expect_new()
}

#[test]
fn a_daemon_that_dies_within_the_time_comes_back_with_the_old_configuration() -> Result<()> {
    // Whatever the file says by then.
    let faulty = "interfaces: 7\n".to_owned();
    for on_disk in [CONFIG.to_owned(), changed(), faulty] {
        let mut site = Site::start()?;
        site.testbed.filter.configure(&on_disk)?;
        site.apply(&["--confirm", AMPLE])?;
        site.expect_new()?;
        site.restart()?;
        site.wait_for("was not confirmed before the daemon ended")?;
        site.expect_old()?;
        // Nor does the next start, or a reload, load what was not confirmed.
        site.restart()?;
        site.expect_old()?;
        if on_disk == changed() {
            site.testbed.filter.daemon()?.signal(Signal::SIGHUP)?;
            site.wait_for("has not changed since")?;
            site.expect_old()?;
        }
        // Whoever says so gets it.
        site.apply(&[])?;
        site.expect_new()?;
    }
    Ok(())
}

#[test]
fn a_daemon_that_is_stopped_within_the_time_goes_back_first() -> Result<()> {
    let mut site = Site::start()?;
    site.apply(&["--confirm", AMPLE])?;
    site.expect_new()?;
    site.testbed.filter.stop()?;
    site.expect_old()?;
    site.testbed.filter.start()?;
    site.expect_old()
}

#[test]
fn while_one_waits_only_another_that_waits_takes_its_place() -> Result<()> {
    let mut site = Site::start()?;
    site.apply(&["--confirm", AMPLE])?;
    let text = site.fail(&["apply"])?;
    ensure!(text.contains("waits for its confirmation"), "{text}");
    site.testbed.filter.configure(&format!("{CONFIG}# changed\n"))?;
    site.testbed.filter.daemon()?.signal(Signal::SIGHUP)?;
    site.wait_for("nothing is reloaded until then")?;
    site.expect_new()?;

    // What is gone back to is what was confirmed, not what waited before.
    let third = CONFIG.replace("tcp: [631]", "tcp: [80]");
    let third = site.testbed.directory.write("third.yaml", &third)?;
    let third = third.to_str().context("a path of ours is text")?;
    site.testbed.filter.succeed(&["apply", third, "--confirm", "1s"])?;
    site.wait_for("third.yaml was not confirmed in time")?;
    site.expect_old()
}

#[test]
fn a_rollback_that_fails_is_told_and_tried_again() -> Result<()> {
    let mut site = Site::start()?;
    site.apply(&["--confirm", "4s"])?;
    // A map that the daemon writes, and `status` does not read.
    let pins = intune_filter::kernel::PinDirectory::new(site.testbed.filter.pins());
    let (map, elsewhere) = (pins.map("GROUP_TITLES"), pins.map("GROUP_TITLES_away"));
    std::fs::rename(&map, &elsewhere)?;
    site.wait_for("CANNOT be put back")?;
    let told = site.configuration()?;
    let error = told["rollback_error"].as_str().unwrap_or_default();
    ensure!(error.contains("GROUP_TITLES") && told["confirm_within_s"] == 0, "{told}");
    let text = site.fail(&["confirm"])?;
    ensure!(text.contains("too late"), "{text}");
    site.expect_new()?;
    std::fs::rename(&elsewhere, &map)?;
    site.wait_for("new.yaml was not confirmed in time: ")?;
    eventually("the old configuration is back", || {
        Ok(site.configuration()?.get("rollback_error").is_none())
    })?;
    site.expect_old()
}

#[test]
fn what_was_on_trial_can_be_kept_while_going_back_fails() -> Result<()> {
    let mut site = Site::start()?;
    site.apply(&["--confirm", "2s"])?;
    let pins = intune_filter::kernel::PinDirectory::new(site.testbed.filter.pins());
    let (map, elsewhere) = (pins.map("GROUP_TITLES"), pins.map("GROUP_TITLES_away"));
    std::fs::rename(&map, &elsewhere)?;
    site.wait_for("CANNOT be put back")?;
    let answer = site.apply(&[])?;
    ensure!(answer["changed"] == false && answer["confirm_within_s"].is_null(), "{answer}");
    std::fs::rename(&elsewhere, &map)?;
    let told = site.configuration()?;
    ensure!(told.get("rollback_error").is_none(), "{told}");
    site.restart()?;
    site.expect_new()
}

#[test]
fn what_cannot_be_put_into_force_changes_nothing() -> Result<()> {
    let mut site = Site::start()?;
    let faulty = changed().replace("tcp: [443]", "tcp: [0]");
    let line = faulty.lines().position(|line| line.contains("tcp: [0]")).context("a line")? + 1;
    site.testbed.directory.write("new.yaml", &faulty)?;
    let new = site.new.clone();
    let new = new.to_str().context("a path of ours is text")?;
    for arguments in [&["apply", new][..], &["apply", new, "--confirm", "1s"]] {
        let output = site.testbed.filter.run(arguments)?;
        let text = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.code() == Some(3), "{}: {text}", output.status);
        ensure!(text.contains(&format!("new.yaml:{line}: services[2].tcp[0]")), "{text}");
    }
    site.testbed.directory.write("new.yaml", &format!("{}maps: {{flows4: 2048}}\n", changed()))?;
    let text = site.fail(&["apply", new, "--confirm", AMPLE])?;
    ensure!(text.contains("sizes of maps"), "{text}");
    site.testbed.directory.write("new.yaml", &changed())?;
    let obstacle = site.testbed.directory.path().join("state/configuration.json.new");
    std::fs::create_dir(&obstacle)?;
    let text = site.fail(&["apply", new, "--confirm", AMPLE])?;
    ensure!(text.contains("configuration.json"), "{text}");
    std::fs::remove_dir(&obstacle)?;
    site.expect_old()?;
    ensure!(site.configuration()?.get("confirm_within_s").is_none(), "something waits");
    site.restart()?;
    site.expect_old()?;

    site.testbed.filter.stop()?;
    for command in [&["apply", new][..], &["confirm"]] {
        let text = site.fail(command)?;
        ensure!(text.contains("no daemon listens in"), "{text}");
    }
    Ok(())
}
