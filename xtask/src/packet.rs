//! One row of the tables of packets: found by its name, judged, and shown.

use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail, ensure};
use clap::Args;

use crate::{
    command, runner,
    setup::{self, Scope},
    workspace,
};

/// Environment variable that asks the tables for a row, or, empty, for the names of all.
const VARIABLE: &str = "INTUNE_PACKET";
/// Prefixes of lines: before a row's name, and before each line of a judgement.
const NAME: &str = "row: ";
const LINE: &str = "packet: ";
/// Rows that are named where none has the name that was asked for.
const NEAR: usize = 8;

/// Options of `packet`.
#[derive(Args)]
pub(crate) struct Options {
    /// Name of the row, or a part of `TEST: DESCRIPTION` that no other row has; without it rows are
    /// listed
    name: Option<String>,
    /// By the host's maps, though this is root and the kernel could judge
    #[arg(long)]
    host: bool,
}

/// A row's name.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Row {
    test: String,
    description: String,
}

impl Row {
    fn parse(line: &str) -> Option<Self> {
        let (test, description) = line.split_once(NAME)?.1.split_once(": ")?;
        Some(Self { test: test.to_owned(), description: description.to_owned() })
    }

    fn full(&self) -> String {
        format!("{}: {}", self.test, self.description)
    }
}

/// Lists the rows, or judges one: in the kernel as root, else by the host's maps.
pub(crate) fn run(options: &Options) -> Result<()> {
    setup::run(Scope::Build)?;
    let rows = rows()?;
    let Some(name) = &options.name else {
        for row in rows {
            println!("{}", row.full());
        }
        return Ok(());
    };
    let row = choose(&rows, name)?;
    let in_kernel = command::is_root() && !options.host;
    let mut tests = if in_kernel {
        let mut cargo = runner::cargo_as_root()?;
        cargo.args(["-p", "intune-filter-tests", "--test", "packets"]);
        cargo
    } else {
        of_host()
    };
    tests.args(["--", "--nocapture", "--exact", &row.test]).env(VARIABLE, &row.description);
    println!(
        "{}, judged by {}",
        row.test,
        if in_kernel { "the kernel" } else { "the host's maps" }
    );
    let (text, succeeds) = output(&mut tests)?;
    let mut lines = text.lines().filter_map(|line| Some(line.split_once(LINE)?.1)).peekable();
    ensure!(lines.peek().is_some(), "the row was not judged:\n{text}");
    lines.for_each(|line| println!("{line}"));
    ensure!(succeeds, "the test of the row fails:\n{text}");
    Ok(())
}

/// A cargo that runs the tables on the host.
fn of_host() -> Command {
    let mut cargo = workspace::cargo();
    cargo.args(["test", "--locked", "-p", "intune-filter-ebpf", "--test", "tables"]);
    cargo
}

/// The rows that the host can judge, once each.
fn rows() -> Result<Vec<Row>> {
    let (text, succeeds) = output(of_host().args(["--", "--nocapture"]).env(VARIABLE, ""))?;
    let mut rows: Vec<Row> = text.lines().filter_map(Row::parse).collect();
    ensure!(!rows.is_empty(), "there are no rows:\n{text}");
    ensure!(succeeds, "the tables are not as expected:\n{text}");
    rows.sort_by_key(Row::full);
    rows.dedup();
    Ok(rows)
}

/// Runs a command to its end: what it prints, and whether it succeeds.
fn output(command: &mut Command) -> Result<(String, bool)> {
    let line = command::line(command);
    command::say(&line);
    let output = command.stdin(Stdio::null()).stderr(Stdio::inherit()).output();
    let output = output.with_context(|| format!("cannot run `{line}`"))?;
    Ok((String::from_utf8_lossy(&output.stdout).into_owned(), output.status.success()))
}

/// The row of this name: the only one that is called so, or that has it in its full name.
fn choose<'r>(rows: &'r [Row], name: &str) -> Result<&'r Row> {
    let called: Vec<&Row> =
        rows.iter().filter(|row| row.full() == name || row.description == name).collect();
    let wanted = name.to_lowercase();
    let having = || rows.iter().filter(|row| row.full().to_lowercase().contains(&wanted)).collect();
    let found = if called.is_empty() { having() } else { called };
    let list =
        |rows: &[&Row]| rows.iter().map(|row| format!("\n  {}", row.full())).collect::<String>();
    match found[..] {
        [row] => Ok(row),
        [] => bail!("no row is called {name:?}; near it are:{}", list(&near(rows, name))),
        [..] => {
            bail!(
                "{} rows are called {name:?}:{}",
                found.len(),
                list(found.get(..NEAR).unwrap_or(&found))
            )
        }
    }
}

/// The rows whose names are most alike a name.
fn near<'r>(rows: &'r [Row], name: &str) -> Vec<&'r Row> {
    let wanted = name.to_lowercase();
    let likeness = |row: &Row| {
        let [full, description] = [row.full(), row.description.clone()];
        let of = |text: String| strsim::sorensen_dice(&wanted, &text.to_lowercase());
        of(full).max(of(description))
    };
    let mut near: Vec<(f64, &Row)> = rows.iter().map(|row| (likeness(row), row)).collect();
    near.sort_by(|(one, _), (other, _)| other.total_cmp(one));
    near.into_iter().take(NEAR).map(|(_, row)| row).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rows() -> Vec<Row> {
        [
            "row: policy::a_client_reaches: TCP to a network of a rule",
            "test policy::a_client_reaches ... row: policy::a_client_reaches: UDP",
            "row: headers::frames: IPv4: a second tag",
            "row: headers::frames: IPv6: a second tag",
            "test result: ok",
        ]
        .into_iter()
        .filter_map(Row::parse)
        .collect()
    }

    #[test]
    fn rows_are_read_from_between_what_the_runner_says() {
        let names: Vec<String> = rows().iter().map(Row::full).collect();
        assert_eq!(names[1], "policy::a_client_reaches: UDP");
        assert_eq!(names[2], "headers::frames: IPv4: a second tag");
        assert_eq!(names.len(), 4);
    }

    #[test]
    fn a_row_is_found_by_its_name_or_a_part_of_it() -> Result<()> {
        let rows = rows();
        assert_eq!(choose(&rows, "UDP")?, &rows[1]);
        assert_eq!(choose(&rows, "ipv6: a second")?, &rows[3]);
        assert_eq!(choose(&rows, "headers::frames: IPv4: a second tag")?, &rows[2]);
        Ok(())
    }

    #[test]
    fn a_name_of_none_or_of_several_is_an_error_that_names_rows() {
        let rows = rows();
        let message = |name| choose(&rows, name).err().map(|error| error.to_string());
        let several = message("a second tag").unwrap_or_default();
        assert!(several.starts_with("2 rows are called \"a second tag\""), "{several}");
        let none = message("IPv4: a secnd tag").unwrap_or_default();
        let first = none.lines().nth(1).unwrap_or_default().trim();
        assert!(none.starts_with("no row is called \"IPv4: a secnd tag\""), "{none}");
        assert_eq!(first, "headers::frames: IPv4: a second tag");
    }
}
