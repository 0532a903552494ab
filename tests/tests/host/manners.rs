//! How commands end: exit codes, what goes to which stream, and whose fault it was.

use std::{
    fs::{self, File},
    os::unix::{fs::PermissionsExt as _, process::CommandExt as _},
    path::Path,
    process::{Command, Output, Stdio},
};

use anyhow::{Context as _, Result, ensure};
use intune_filter_tests::cargo::binary;
use serde_json::Value;

const CONFIG: &str = "interfaces: [{name: eth1}]\n\
                      clients:\n  - {name: all, networks: [10.20.0.0/24], services: [default]}\n\
                      dns: {resolvers: [10.20.0.1]}\n";

/// A command whose state is in a directory of its own.
fn command(directory: &Path, arguments: &[&str]) -> Result<Command> {
    let config = directory.join("config.yaml");
    if !config.exists() {
        fs::write(&config, CONFIG)?;
    }
    let mut command = Command::new(binary()?);
    command.arg("--config").arg(config);
    for flag in ["--pin-dir", "--runtime-dir", "--state-dir"] {
        command.arg(flag).arg(directory.join("state"));
    }
    command.args(arguments);
    Ok(command)
}

fn errors(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[test]
fn what_cannot_be_written_is_an_error_and_a_closed_pipe_is_none() -> Result<()> {
    let directory = tempfile::tempdir()?;
    for arguments in [&["endpoints", "list"][..], &["--json", "endpoints", "list"], &["check"]] {
        let full = File::options().write(true).open("/dev/full")?;
        let output = command(directory.path(), arguments)?.stdout(full).output()?;
        ensure!(output.status.code() == Some(1), "{arguments:?}: {}", output.status);
        ensure!(errors(&output).contains("cannot write to standard output"), "{}", errors(&output));
        let mut child = command(directory.path(), arguments)?
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()?;
        drop(child.stdout.take());
        let output = child.wait_with_output()?;
        ensure!(output.status.success(), "{arguments:?}: {}", output.status);
        ensure!(!errors(&output).contains("write"), "{}", errors(&output));
    }
    Ok(())
}

#[test]
fn failures_are_json_on_standard_output_under_json() -> Result<()> {
    let directory = tempfile::tempdir()?;
    let bad = directory.path().join("bad.yaml");
    fs::write(&bad, CONFIG.replace("networks:", "netwroks:").replace("[default]", "[defualt]"))?;
    let path = bad.to_str().context("a path of ASCII")?;
    let output = command(directory.path(), &["--json", "check", path])?.output()?;
    ensure!(output.status.code() == Some(3), "{}", output.status);
    let failed: Value = serde_json::from_slice(&output.stdout)?;
    ensure!(failed["ok"] == false && failed["schema"] == 1, "{failed}");
    let errors_of_file = failed["errors"].as_array().context("a list of errors")?;
    for (key, meant) in [("clients[0].netwroks", "networks"), ("clients[0].services[0]", "default")]
    {
        let error = errors_of_file.iter().find(|error| error["key"] == key).context(key)?;
        ensure!(error["file"] == path && error["line"] == 3, "{failed}");
        ensure!(error["did_you_mean"] == meant, "{failed}");
    }
    ensure!(errors(&output).contains("did you mean networks?"), "{}", errors(&output));

    let missing = command(directory.path(), &["--json", "reload"])?.output()?;
    ensure!(missing.status.code() == Some(1), "{}", missing.status);
    let failed: Value = serde_json::from_slice(&missing.stdout)?;
    let message = failed["errors"][0]["message"].as_str().unwrap_or_default();
    ensure!(message.contains("no daemon listens"), "{failed}");
    Ok(())
}

#[test]
fn two_families_in_one_question_are_wrong_usage() -> Result<()> {
    let directory = tempfile::tempdir()?;
    let output = command(directory.path(), &["explain", "10.20.0.10", "2001:db8::1"])?.output()?;
    ensure!(output.status.code() == Some(2), "{}: {}", output.status, errors(&output));
    Ok(())
}

#[test]
fn another_user_is_told_that_root_is_needed() -> Result<()> {
    let directory = tempfile::tempdir()?;
    command(directory.path(), &["check"])?.output()?;
    let state = directory.path().join("state");
    fs::create_dir_all(&state)?;
    // As on a gateway: the program may be run and the configuration read, the socket is root's alone.
    let program = directory.path().join("intune-filter");
    fs::copy(binary()?, &program)?;
    for (path, mode) in [(directory.path(), 0o755), (&state, 0o700), (&program, 0o755)] {
        fs::set_permissions(path, fs::Permissions::from_mode(mode))?;
    }
    for arguments in [&["apply"][..], &["reload"], &["confirm"]] {
        let mut command = Command::new(&program);
        command.arg("--config").arg(directory.path().join("config.yaml"));
        command.arg("--runtime-dir").arg(&state).args(arguments);
        let output = command.uid(65_534).gid(65_534).output()?;
        ensure!(output.status.code() == Some(1), "{}: {}", output.status, errors(&output));
        ensure!(errors(&output).contains("has to be run as root"), "{}", errors(&output));
    }
    Ok(())
}
