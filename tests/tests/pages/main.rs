//! The pages are true: their configurations are sound, their commands exist, their table of maps is what the program computes, and what they refer to is there.

mod recipes;
mod transcripts;

use std::{collections::BTreeSet, fs, process::Command};

use anyhow::{Context as _, Result, ensure};
use intune_filter::{
    catalogue::Catalogue,
    config::{Config, MapSizes},
    policy::{RuleBits, compile, map_memory},
};
use intune_filter_tests::{
    cargo::{binary, root, xtask},
    pages::{self, Page, Tree},
};

const README: &str = "README.md";
const ARCHITECTURE: &str = "intune-filter/docs/ARCHITECTURE.md";
const OPERATING: &str = "intune-filter/docs/OPERATING.md";
const CONFIG: &str = "config/config.yaml";
/// Lines of the README at most.
const LINES: usize = 200;

fn text<'t>(tree: &'t Tree, path: &str) -> Result<&'t str> {
    tree.text(path).with_context(|| format!("there is no {path}"))
}

/// Arguments behind a program's name in the code spans and code blocks of a page.
fn commands(page: &Page, program: &str) -> Vec<String> {
    let blocks = page.blocks.iter().filter(|block| block.language.is_empty());
    let lines = blocks.flat_map(|block| block.text.lines());
    let lines = lines.chain(page.code.iter().map(String::as_str));
    let lines = lines.map(|line| line.trim_start_matches("# ").trim_start());
    lines.filter_map(|line| line.strip_prefix(program)).map(str::to_owned).collect()
}

fn first_word(text: &str) -> Option<&str> {
    let word = text.split(|c: char| !c.is_ascii_lowercase()).next()?;
    (!word.is_empty()).then_some(word)
}

/// The commands that a program's help lists.
fn listed(help: &str) -> BTreeSet<&str> {
    let after = help.split_once("Commands:\n").map_or("", |(_, after)| after);
    let lines = after.lines().take_while(|line| !line.is_empty());
    // Descriptions may go on in lines of their own.
    let lines = lines.filter(|line| line.starts_with("  ") && !line.starts_with("   "));
    lines.filter_map(|line| line.split_whitespace().next()).filter(|word| *word != "help").collect()
}

fn help(command: &mut Command) -> Result<String> {
    let output = command.arg("--help").output()?;
    ensure!(output.status.success(), "{command:?}: {output:?}");
    Ok(String::from_utf8(output.stdout)?)
}

#[test]
fn every_reference_of_a_page_leads_somewhere() -> Result<()> {
    let tree = Tree::read(&root())?;
    let links: usize = tree.pages().values().map(|page| page.links.len()).sum();
    let code: usize = tree.pages().values().map(|page| page.code.len()).sum();
    ensure!(links > 50 && code > 300, "only {links} links and {code} code spans were read");
    let problems: Vec<_> = pages::problems(&tree).iter().map(ToString::to_string).collect();
    ensure!(problems.is_empty(), "these lead nowhere:\n{}", problems.join("\n"));
    Ok(())
}

#[test]
fn the_readme_is_short() -> Result<()> {
    let tree = Tree::read(&root())?;
    let lines = text(&tree, README)?.lines().count();
    ensure!(lines <= LINES, "the README has {lines} lines, and {LINES} are the most");
    Ok(())
}

#[test]
fn every_configuration_in_a_page_is_sound() -> Result<()> {
    let directory = tempfile::tempdir()?;
    let tree = Tree::read(&root())?;
    let mut count = 0;
    for (path, page) in tree.pages() {
        for block in page.blocks.iter().filter(|block| block.language == "yaml") {
            let file = directory.path().join("config.yaml");
            fs::write(&file, &block.text)?;
            let output = Command::new(binary()?).arg("check").arg(&file).output()?;
            ensure!(output.status.success(), "{path}: {}\n{output:?}", block.text);
            count += 1;
        }
    }
    ensure!(count >= 3, "the pages have {count} configurations");
    Ok(())
}

#[test]
fn every_command_in_a_page_exists() -> Result<()> {
    let tree = Tree::read(&root())?;
    let pages = tree.pages();
    let all: Vec<String> =
        pages.values().flat_map(|page| commands(page, "intune-filter ")).collect();
    let commands: BTreeSet<&str> = all.iter().filter_map(|rest| first_word(rest)).collect();
    ensure!(commands.len() >= 8, "the pages have the commands {commands:?}");
    for command in commands {
        help(Command::new(binary()?).arg(command))?;
    }
    Ok(())
}

#[test]
fn every_command_stands_in_the_table_of_commands() -> Result<()> {
    let help = help(&mut Command::new(binary()?))?;
    let tree = Tree::read(&root())?;
    let page = Page::parse(text(&tree, OPERATING)?);
    let heads = page.rows.iter().filter_map(|row| row.first()?.strip_prefix("`intune-filter "));
    let told: BTreeSet<&str> = heads.filter_map(first_word).collect();
    let there = listed(&help);
    ensure!(there.len() > 10, "the help is not as expected: {help}");
    ensure!(told == there, "the table has {told:?}, the program {there:?}");
    Ok(())
}

/// Of developer commands, the command, and the options of the tests'.
#[test]
fn every_developer_command_in_a_page_exists() -> Result<()> {
    let commands_help = help(&mut xtask())?;
    let test_help = help(xtask().arg("test"))?;
    let tree = Tree::read(&root())?;
    let pages = tree.pages();
    let all: Vec<String> = pages.values().flat_map(|page| commands(page, "cargo xtask ")).collect();
    let there = listed(&commands_help);
    let told: BTreeSet<&str> = all.iter().filter_map(|rest| first_word(rest)).collect();
    ensure!(told == there, "the pages have {told:?}, the program {there:?}");
    for rest in all.iter().filter(|rest| first_word(rest) == Some("test")) {
        let own = rest.split(" -- ").next().unwrap_or(rest).split(['#', ';']).next();
        let own = own.filter(|own| !own.contains(" -p ")).unwrap_or_default();
        for option in own.split_whitespace().filter(|word| word.starts_with("--")) {
            ensure!(test_help.contains(option), "cargo xtask {rest}: there is no {option}");
        }
    }
    Ok(())
}

/// With the configuration that is installed, on two CPUs, whatever this machine has.
#[test]
fn the_table_of_interfaces_is_what_a_test_of_devices_finds() -> Result<()> {
    const TABLE: &str = include_str!("../devices/kinds.md");
    let tree = Tree::read(&root())?;
    ensure!(text(&tree, OPERATING)?.contains(TABLE), "{OPERATING} has another table of interfaces");
    Ok(())
}

#[test]
fn the_table_of_maps_is_what_the_program_computes() -> Result<()> {
    let tree = Tree::read(&root())?;
    let config = Config::parse(CONFIG, text(&tree, CONFIG)?).map_err(anyhow::Error::new)?;
    let policy = compile(&config, Catalogue::builtin(), &RuleBits::new())?;
    let maps = map_memory(&MapSizes::default(), &policy, 2);
    let total: u64 = maps.iter().map(|map| map.bytes).sum();
    let share = |part: f64, whole: f64| format!("{:.1} %", 100.0 * part / whole);
    let wanted: Vec<[String; 4]> = maps
        .iter()
        .map(|map| {
            let bytes = map.bytes as f64;
            [
                format!("`{}`", map.name),
                map.entries.to_string(),
                format!("{:.1}", bytes / 1024.0),
                share(bytes, total as f64),
            ]
        })
        .collect();
    let page = text(&tree, ARCHITECTURE)?;
    let rows = Page::parse(page).rows;
    let told: Vec<[String; 4]> = rows
        .iter()
        .filter_map(|row| match &row[..] {
            [name, _, _, entries, kib, share] if name.starts_with('`') => {
                Some([name, entries, kib, share].map(Clone::clone))
            }
            _ => None,
        })
        .collect();
    let lines = |rows: &[[String; 4]]| rows.iter().map(|row| row.join(" | ")).collect::<Vec<_>>();
    ensure!(told == wanted, "the table is to have:\n{}", lines(&wanted).join("\n"));
    let sum = format!("In all: {:.1} MiB", total as f64 / f64::from(1 << 20));
    ensure!(page.contains(&sum), "the page does not say: {sum}");
    Ok(())
}
