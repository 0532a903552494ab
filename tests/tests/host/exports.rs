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

#[test]
fn an_imported_list_is_a_service_of_the_sites_own_catalogue() -> Result<()> {
    let directory = tempfile::tempdir()?;
    let at = |name: &str| directory.path().join(name).display().to_string();
    let (list, catalogue, config) = (at("Office list.txt"), at("catalogue"), at("config.yaml"));
    fs::write(&list, "\u{feff}printer.example\r\n*.print.example\r\n192.0.2.0/24\r\n")?;
    let without_ports = endpoints(&["import", &list, "--into", &catalogue]);
    let refused = without_ports.expect_err("no ports are never all ports").to_string();
    ensure!(refused.contains("line 1: printer.example has no ports"), "{refused}");
    ensure!(!Path::new(&catalogue).exists(), "something was written all the same");
    endpoints(&["import", &list, "--tcp", "631,9100-9102", "--into", &catalogue])?;
    fs::write(
        &config,
        format!(
            "interfaces: [{{name: eth1}}]\npaths: {{catalogue: {catalogue:?}}}\n\
             clients: [{{name: office, networks: [10.20.0.0/24], services: [office-list, default]}}]\n\
             dns: {{resolvers: [10.20.0.1]}}\n"
        ),
    )?;
    let explained = |destination: &str| -> Result<Option<i32>> {
        let mut command = Command::new(binary()?);
        command.args(["--config", &config, "explain", "10.20.0.10", destination]);
        let nowhere = ["--pin-dir", "--runtime-dir", "--state-dir"];
        for flag in nowhere {
            command.args([flag, &at("nothing")]);
        }
        Ok(command.output()?.status.code())
    };
    ensure!(explained("192.0.2.7:9101")? == Some(0), "the list's prefix on its ports");
    ensure!(explained("192.0.2.7:443")? == Some(4), "the list's prefix on another port");
    ensure!(explained("198.51.100.7:9101")? == Some(4), "another address");
    // Importing again replaces the file; one that a person wrote stays.
    fs::write(&list, "printer.example\n")?;
    endpoints(&["import", &list, "--tcp", "631", "--into", &catalogue])?;
    ensure!(explained("192.0.2.7:9101")? == Some(4), "the list has it no more");
    let file = Path::new(&catalogue).join("office-list.yaml");
    fs::write(&file, fs::read_to_string(&file)?.replace("# Imported", "# Edited"))?;
    let again = endpoints(&["import", &list, "--tcp", "631", "--into", &catalogue]);
    let refused = again.expect_err("a person's file is not replaced").to_string();
    ensure!(refused.contains("not written by an import"), "{refused}");
    Ok(())
}
