//! Installation by `cargo xtask install`: a program that finds its configuration sound, a unit that
//! systemd understands, and nothing that overwrites a site's files.

use std::{
    fs,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result, ensure};
use intune_filter_tests::cargo::{binary, xtask};
use serde_json::Value;
use tempfile::TempDir;

/// A directory that stands for the root of a machine.
struct Machine(TempDir);

impl Machine {
    fn installed() -> Result<Self> {
        let machine = Self(tempfile::tempdir()?);
        machine.install()?;
        Ok(machine)
    }

    fn install(&self) -> Result<()> {
        let mut xtask = xtask();
        xtask.arg("install").arg("--binary").arg(binary()?);
        succeed(xtask.arg("--destdir").arg(self.0.path())).map(drop)
    }

    fn path(&self, path: &str) -> PathBuf {
        self.0.path().join(path)
    }
}

/// The configuration that `check` says is in force, with every default.
fn in_force(program: &Path, config: &Path) -> Result<Value> {
    let output = Command::new(program).args(["--json", "check"]).arg(config).output()?;
    ensure!(output.status.success(), "{output:?}");
    let mut summary: Value = serde_json::from_slice(&output.stdout)?;
    Ok(summary["configuration"].take())
}

fn succeed(command: &mut Command) -> Result<String> {
    let output = command.output().with_context(|| format!("cannot run {command:?}"))?;
    let [text, errors] = [&output.stdout, &output.stderr].map(|t| String::from_utf8_lossy(t));
    ensure!(output.status.success(), "{command:?}: {}\n{text}{errors}", output.status);
    Ok(format!("{text}{errors}"))
}

fn mode(path: &Path) -> Result<u32> {
    let metadata = fs::metadata(path).with_context(|| path.display().to_string())?;
    Ok(metadata.permissions().mode() & 0o7777)
}

#[test]
fn the_installed_program_finds_the_installed_configuration_sound() -> Result<()> {
    let machine = Machine::installed()?;
    let program = machine.path("usr/local/bin/intune-filter");
    assert_eq!(mode(&program)?, 0o755);
    let config = machine.path("etc/intune-filter/config.yaml");
    assert_eq!(mode(&config)?, 0o644);
    succeed(Command::new(&program).arg("check").arg(&config))?;

    // The catalogue is in the program: a copy that nothing reads would be taken for it.
    ensure!(!machine.path("usr/local/share/intune-filter/catalogue").exists());

    let text = fs::read_to_string(&config)?;
    fs::write(&config, text + "no_such_key: 1\n")?;
    let output = Command::new(&program).arg("check").arg(&config).output()?;
    assert_eq!(output.status.code(), Some(3), "{output:?}");
    Ok(())
}

#[test]
fn the_installed_configuration_shows_the_defaults() -> Result<()> {
    let machine = Machine::installed()?;
    let program = machine.path("usr/local/bin/intune-filter");
    let shipped = in_force(&program, &machine.path("etc/intune-filter/config.yaml"))?;
    let bare = machine.path("bare.yaml");
    fs::write(
        &bare,
        "interfaces: [{name: eth1}]\n\
         clients: [{name: enrolment, networks: [10.20.0.0/24, \"fd00:20::/64\"]}]\n\
         dns: {resolvers: [10.20.0.1, \"fd00:20::1\"]}\n",
    )?;
    assert_eq!(in_force(&program, &bare)?, shipped);

    // What is only in comments, too: it has to be readable once it is not one any more.
    let text = fs::read_to_string(machine.path("etc/intune-filter/config.yaml"))?;
    let (_, maps) = text.split_once("# maps: ").context("the sizes of the maps are shown")?;
    let (maps, _) = maps.split_once('}').context("the sizes of the maps are one value")?;
    let maps = maps.replace('#', "");
    fs::write(&bare, format!("{}\nmaps: {maps}}}\n", fs::read_to_string(&bare)?))?;
    assert_eq!(in_force(&program, &bare)?, shipped);
    Ok(())
}

#[test]
fn the_installed_unit_passes_verification_and_names_the_installed_program() -> Result<()> {
    let machine = Machine::installed()?;
    let verify = || -> Result<String> {
        let mut analyze = Command::new("systemd-analyze");
        analyze.arg("--root").arg(machine.0.path()).args(["verify", "intune-filter.service"]);
        succeed(&mut analyze)
    };
    assert_eq!(verify()?, "", "systemd has something to say about the unit");

    fs::remove_file(machine.path("usr/local/bin/intune-filter"))?;
    let error = format!("{:#}", verify().expect_err("the program is gone"));
    assert!(error.contains("/usr/local/bin/intune-filter"), "{error}");
    Ok(())
}

#[test]
fn a_sites_own_configuration_is_kept() -> Result<()> {
    let machine = Machine::installed()?;
    let config = machine.path("etc/intune-filter/config.yaml");
    fs::write(&config, "# of the site\n")?;
    machine.install()?;
    assert_eq!(fs::read_to_string(&config)?, "# of the site\n");
    // What is new in the default can still be read.
    let default = fs::read_to_string(machine.path("usr/local/share/intune-filter/config.yaml"))?;
    assert!(default.contains("interfaces:"), "{default}");
    Ok(())
}
