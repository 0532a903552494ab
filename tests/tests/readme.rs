//! The README's configurations are sound, and its commands are ones that the program has.

use std::{collections::BTreeSet, fs, process::Command};

use anyhow::{Result, ensure};
use intune_filter_tests::cargo::binary;

const README: &str = include_str!("../../README.md");

#[test]
fn every_configuration_in_the_readme_is_sound() -> Result<()> {
    let directory = tempfile::tempdir()?;
    let mut count = 0;
    for block in README.split("```yaml\n").skip(1) {
        let (config, _) = block.split_once("```").unwrap_or((block, ""));
        let file = directory.path().join("config.yaml");
        fs::write(&file, config)?;
        let output = Command::new(binary()?).arg("check").arg(&file).output()?;
        ensure!(output.status.success(), "{config}\n{output:?}");
        count += 1;
    }
    ensure!(count >= 2, "the README has {count} configurations");
    Ok(())
}

#[test]
fn every_command_in_the_readme_exists() -> Result<()> {
    let commands: BTreeSet<&str> = README
        .split("intune-filter ")
        .skip(1)
        .filter_map(|rest| rest.split(|c: char| !c.is_ascii_lowercase()).next())
        // In running text, the name is followed by other words.
        .filter(|word| README.contains(&format!("`intune-filter {word}")))
        .collect();
    ensure!(commands.len() >= 8, "the README has the commands {commands:?}");
    for command in commands {
        let output = Command::new(binary()?).args([command, "--help"]).output()?;
        ensure!(output.status.success(), "intune-filter {command}: {output:?}");
    }
    Ok(())
}
