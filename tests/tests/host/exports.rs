//! Exports are loaded by the programs that they are for, and imports by the filter itself.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use anyhow::{Context as _, Result, bail, ensure};
use intune_filter_tests::cargo::binary;

/// Runs `endpoints` with arguments, and returns what it prints.
fn endpoints(arguments: &[&str]) -> Result<String> {
    let output = Command::new(binary()?).arg("endpoints").args(arguments).output()?;
    ensure!(
        output.status.success(),
        "endpoints {arguments:?}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    Ok(String::from_utf8(output.stdout)?)
}

/// Exports everything in a form, and returns the files.
fn exported(form: &str, directory: &Path) -> Result<Vec<PathBuf>> {
    let directory = directory.join(form);
    let into = directory.to_str().context("a directory of ASCII")?;
    endpoints(&["export", "--as", form, "--into", into, "all"])?;
    let files =
        fs::read_dir(&directory)?.map(|entry| Ok(entry?.path())).collect::<Result<Vec<_>>>()?;
    ensure!(!files.is_empty(), "no file in the form {form}");
    Ok(files)
}

/// Runs a program on a file of its form; the file is its standard input if no argument names it.
fn load(file: &Path, command: &[&str]) -> Result<()> {
    let [program, arguments @ ..] = command else { bail!("no program") };
    let path = file.to_str().context("a path of ASCII")?;
    let arguments: Vec<&str> =
        arguments.iter().map(|one| if *one == "FILE" { path } else { one }).collect();
    let input = fs::File::open(file)?;
    let output = Command::new(program)
        .args(&arguments)
        .stdin(Stdio::from(input))
        .output()
        .with_context(|| format!("cannot start {program}"))?;
    ensure!(
        output.status.success(),
        "{program} refuses {path}: {}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    Ok(())
}

#[test]
fn each_form_is_loaded_by_its_program() -> Result<()> {
    let directory = tempfile::tempdir()?;
    for (form, command) in [
        ("nftables", &["unshare", "--net", "nft", "--check", "--file", "FILE"][..]),
        ("dnsmasq", &["dnsmasq", "--test", "--conf-file=FILE"]),
        ("ipset", &["unshare", "--net", "ipset", "-exist", "restore"]),
        ("unbound", &["unbound-checkconf", "FILE"]),
        ("rpz", &["named-checkzone", "-q", "rpz.example", "FILE"]),
    ] {
        let files = exported(form, directory.path())?;
        for file in &files {
            let conf = format!("--conf-file={}", file.display());
            let command: Vec<&str> = command
                .iter()
                .map(|one| if *one == "--conf-file=FILE" { &conf } else { *one })
                .collect();
            load(file, &command)?;
        }
        println!("{form}: {} files loaded", files.len());
        // A program that takes everything would prove nothing.
        let broken = directory.path().join("broken");
        fs::write(&broken, "no such = line in any { of these\n")?;
        ensure!(load(&broken, command).is_err(), "{form}: its program takes anything");
    }
    Ok(())
}

#[test]
fn an_export_is_replaced_as_a_whole_and_strange_files_stay() -> Result<()> {
    let directory = tempfile::tempdir()?;
    let into = directory.path().to_str().context("a directory of ASCII")?;
    endpoints(&["export", "--as", "list", "--into", into, "all"])?;
    let strange = directory.path().join("mine.names.txt");
    fs::write(&strange, "mine.example\n")?;
    let text = endpoints(&["export", "--as", "list", "--into", into, "android"])?;
    ensure!(text.contains("removed, of an earlier export"), "{text}");
    ensure!(strange.exists(), "a file that no export wrote is gone");
    let left = fs::read_dir(directory.path())?.count();
    ensure!(left < 20, "{left} files are left");
    fs::rename(&strange, directory.path().join("android-aosp-tcp-443.names.txt"))?;
    let refused = endpoints(&["export", "--as", "list", "--into", into, "android"]);
    let refused = refused.expect_err("a strange file is not replaced").to_string();
    ensure!(refused.contains("not written by an export"), "{refused}");
    Ok(())
}
