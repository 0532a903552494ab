//! The README's configurations are sound, its commands are ones that the program has, and its figures
//! are those of the report.

use std::{collections::BTreeSet, fs, path::Path, process::Command};

use anyhow::{Context as _, Result, ensure};
use intune_filter_tests::{
    bench::{figures::Figures, markdown, written},
    cargo::binary,
};

const README: &str = include_str!("../../README.md");
/// Where the figures are, seen from the README.
const FIGURES: &str = "tests/figures/";

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

#[test]
fn the_figures_in_the_readme_and_on_the_page_are_those_of_the_report() -> Result<()> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let read =
        |name: &str| fs::read_to_string(root.join(FIGURES).join(name)).context(name.to_owned());
    let figures: Figures = serde_json::from_str(&read(written::JSON)?)?;
    let readme = markdown::replaced(README, &markdown::summary(&figures, FIGURES));
    ensure!(readme.as_deref() == Some(README), "the README shows other figures");
    ensure!(read(written::PAGE)? == markdown::page(&figures), "the page shows other figures");
    for chart in figures.benchmarks.iter().flat_map(|found| &found.charts) {
        ensure!(read(&chart.file)?.starts_with("<svg"), "{} is no picture", chart.file);
    }
    Ok(())
}
