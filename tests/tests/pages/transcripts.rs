//! Transcripts of `check` in the pages are what the program prints.

use std::{fs, process::Command};

use anyhow::{Context as _, Result, bail, ensure};
use intune_filter_tests::{
    cargo::{binary, root},
    pages::{Block, Tree},
};

const PAGE: &str = "intune-filter/docs/OPERATING.md";
/// Prompt and command of a transcript.
const COMMAND: &str = "# intune-filter check";
/// Lines, or a part of one, that a transcript leaves out.
const LEFT_OUT: &str = "...";

/// Whether a printed line is one of a transcript, in which some words may be left out.
fn is_line(expected: &str, printed: &str) -> bool {
    match expected.split_once(LEFT_OUT) {
        None => expected.trim_end() == printed.trim_end(),
        Some((before, after)) => printed
            .strip_prefix(before)
            .is_some_and(|rest| rest.trim_end().ends_with(after.trim_end())),
    }
}

/// Finds the lines of a transcript in what was printed, in their order and without gaps but those
/// that it shows.
fn find(transcript: &str, printed: &str) -> Result<()> {
    let printed: Vec<&str> = printed.lines().collect();
    let (mut at, mut may_skip) = (0, false);
    for expected in transcript.lines() {
        if expected.trim() == LEFT_OUT {
            may_skip = true;
            continue;
        }
        let rest = printed.get(at..).unwrap_or_default();
        let found = rest.iter().position(|line| is_line(expected, line));
        match found {
            Some(skipped) if skipped == 0 || may_skip => at += skipped + 1,
            _ => bail!("not printed here: {expected}\n{}", rest.join("\n")),
        }
        may_skip = false;
    }
    ensure!(
        may_skip || at == printed.len(),
        "not in the page: {}",
        printed.get(at..).unwrap_or_default().join("\n")
    );
    Ok(())
}

#[test]
fn what_check_prints_of_each_configuration_is_in_the_page() -> Result<()> {
    let directory = tempfile::tempdir()?;
    let tree = Tree::read(&root())?;
    let page = tree.pages().remove(PAGE).with_context(|| PAGE)?;
    let mut count = 0;
    let mut configuration: Option<&Block> = None;
    for block in &page.blocks {
        let (command, transcript) = block.text.split_once('\n').unwrap_or((&block.text, ""));
        if block.language == "yaml" {
            configuration = Some(block);
        } else if command.starts_with(COMMAND) && !transcript.trim().is_empty() {
            let configuration = configuration.context("a transcript without a configuration")?;
            let file = directory.path().join("config.yaml");
            fs::write(&file, &configuration.text)?;
            let output = Command::new(binary()?).arg("check").arg(&file).output()?;
            let printed = [output.stdout, output.stderr].concat();
            find(transcript, &String::from_utf8(printed)?)
                .with_context(|| configuration.text.clone())?;
            count += 1;
        }
    }
    ensure!(count >= 2, "the page has {count} transcripts");
    Ok(())
}

#[test]
fn a_transcript_that_differs_is_noticed() {
    let printed = "Groups\n  a (enforce)\n\nServices\n  x: 3 names\n  y: 4 names\n";
    for (transcript, is_found) in [
        ("Groups\n...\n  x: 3 names\n...\n", true),
        ("Groups\n  a (enforce)\n\nServices\n  x: ... names\n  y: 4 names\n", true),
        ("...\n  y: 4 names\n", true),
        ("Groups\n...\n  x: 3 names\n", false),
        ("Groups\n  x: 3 names\n...\n", false),
        ("Groups\n...\n  y: 4 names\n  x: 3 names\n...\n", false),
        ("...\n  x: 4 ...\n...\n", false),
    ] {
        assert_eq!(find(transcript, printed).is_ok(), is_found, "{transcript}");
    }
}
