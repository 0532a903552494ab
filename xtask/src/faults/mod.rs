//! Faults planted into a copy of the sources, one at a time: the random streams of DNS over TCP have
//! to find each of them.

mod list;

use std::{
    ffi::OsStr,
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result, bail, ensure};
use list::{FAULTS, Fault};

use crate::{
    command, runner,
    setup::{self, Scope},
    workspace,
};

/// Random streams for each fault.
const CASES: &str = "3000";
/// Where their choices come from.
const SEED: &str = "13";
/// What the tests say of streams that are not as they have to be: nothing else counts as found.
const FOUND: &str = "streams of seed";
/// What of the workspace is no source.
const NO_SOURCES: [&str; 2] = ["target", ".git"];

/// Plants these faults, or all, and fails unless each is found.
pub fn run(names: &[String]) -> Result<()> {
    let chosen: Vec<&Fault> = FAULTS
        .iter()
        .filter(|fault| names.is_empty() || names.iter().any(|name| name == fault.name))
        .collect();
    ensure!(!chosen.is_empty(), "no fault has such a name: {}", names.join(", "));
    setup::run(Scope::Everything)?;
    let field = Field::make()?;
    // Whatever fails without a fault would be found with any.
    let sound = field.build()?;
    let (found, text) = field.test(&sound)?;
    ensure!(found.is_none(), "the streams fail without a fault:\n{text}");
    let sound = fs::read(&sound).context("cannot read the program without a fault")?;
    let mut missed = Vec::new();
    for fault in chosen {
        command::say(&format!("planting {}", fault.name));
        match field.plant(fault, &sound) {
            Ok(how) => println!("{}: found: {how}", fault.name),
            Err(error) => {
                println!("{}: {error:#}", fault.name);
                missed.push(fault.name);
            }
        }
    }
    ensure!(missed.is_empty(), "not found: {}", missed.join(", "));
    println!("every fault was found");
    Ok(())
}

/// The copy that faults are planted in.
struct Field {
    sources: PathBuf,
    /// What is built of them. Not among the workspace's own products: cargo names both alike, by
    /// their place in their workspace, and takes the ones for the others.
    products: PathBuf,
}

impl Field {
    /// Copies the sources as they are now.
    fn make() -> Result<Self> {
        let target = workspace::target()?;
        let field = Self { sources: target.join("faults"), products: target.join("faulty") };
        if field.sources.exists() {
            fs::remove_dir_all(&field.sources).context("cannot remove the last copy")?;
        }
        copy(workspace::root(), &field.sources)?;
        // Cargo takes the settings of every directory above, and would take these twice.
        if field.sources.starts_with(workspace::root()) {
            fs::remove_dir_all(field.sources.join(".cargo")).context("cannot remove a copy")?;
        }
        Ok(field)
    }

    /// Builds the program from the copy.
    fn build(&self) -> Result<PathBuf> {
        let mut cargo = workspace::cargo();
        cargo.current_dir(&self.sources);
        cargo.args(["build", "--locked", "--workspace", "--bin", "intune-filter"]);
        command::run(cargo.arg("--target-dir").arg(&self.products))?;
        Ok(self.products.join("debug/intune-filter"))
    }

    /// Runs the streams against a program: what they find, and all that they say.
    fn test(&self, program: &Path) -> Result<(Option<String>, String)> {
        let mut cargo = runner::cargo_as_root()?;
        cargo.args(["-p", "intune-filter-tests", "--test", "dns_tcp", "--", "random::"]);
        cargo.env("INTUNE_FILTER", program);
        cargo.env("INTUNE_CASES", CASES).env("INTUNE_SEED", SEED);
        let (succeeds, text) = told(&mut cargo)?;
        if succeeds {
            return Ok((None, text));
        }
        let found = text.lines().find(|line| line.contains(FOUND)).map(str::to_owned);
        ensure!(found.is_some(), "the streams fail otherwise than by what they find:\n{text}");
        Ok((found, text))
    }

    /// Plants a fault, and takes it away again. How it was found. The program has to be another than
    /// the one without it.
    fn plant(&self, fault: &Fault, without: &[u8]) -> Result<String> {
        let path = self.sources.join(fault.file);
        let sound =
            fs::read_to_string(&path).with_context(|| format!("cannot read {}", fault.file))?;
        let faulty = planted(&sound, fault)?;
        fs::write(&path, faulty).with_context(|| format!("cannot write {}", fault.file))?;
        let tested = self.build().and_then(|program| {
            let same = fs::read(&program).context("cannot read the program")? == without;
            ensure!(!same, "the fault is not in the program");
            self.test(&program)
        });
        fs::write(&path, sound).with_context(|| format!("cannot write {}", fault.file))?;
        let (found, _) = tested?;
        found.context("NOT FOUND")
    }
}

/// A source with a fault in it.
fn planted(source: &str, fault: &Fault) -> Result<String> {
    match source.matches(fault.text).count() {
        1 => Ok(source.replace(fault.text, fault.instead)),
        0 => bail!("its text stands no more in {}", fault.file),
        count => bail!("its text stands {count} times in {}", fault.file),
    }
}

/// Runs a command to its end: whether it succeeds, and what it prints.
fn told(command: &mut Command) -> Result<(bool, String)> {
    let line = command::line(command);
    command::say(&line);
    let output = command.output().with_context(|| format!("cannot run `{line}`"))?;
    let text = [output.stdout, output.stderr].concat();
    Ok((output.status.success(), String::from_utf8_lossy(&text).into_owned()))
}

/// Copies a directory, but for what is no source.
fn copy(from: &Path, to: &Path) -> Result<()> {
    let cannot = || format!("cannot copy {}", from.display());
    fs::create_dir_all(to).with_context(cannot)?;
    for entry in fs::read_dir(from).with_context(cannot)? {
        let entry = entry.with_context(cannot)?;
        let (name, kind) = (entry.file_name(), entry.file_type().with_context(cannot)?);
        if NO_SOURCES.iter().any(|no| OsStr::new(no) == name) {
            continue;
        }
        if kind.is_dir() {
            copy(&entry.path(), &to.join(&name))?;
        } else if kind.is_file() {
            fs::copy(entry.path(), to.join(&name)).with_context(cannot)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_fault_can_be_planted() -> Result<()> {
        let mut names = BTreeSet::new();
        for fault in FAULTS {
            let source = fs::read_to_string(workspace::root().join(fault.file))?;
            let planted = planted(&source, fault).with_context(|| fault.name.to_owned())?;
            ensure!(planted != source, "{} changes nothing", fault.name);
            ensure!(names.insert(fault.name), "two faults are named {}", fault.name);
        }
        Ok(())
    }

    #[test]
    fn a_fault_whose_text_is_gone_or_ambiguous_is_an_error() {
        let fault = Fault { name: "", file: "", text: "a == b", instead: "true" };
        assert_eq!(planted("if a == b {}", &fault).ok().as_deref(), Some("if true {}"));
        assert!(planted("if a != b {}", &fault).is_err());
        assert!(planted("if a == b || a == b {}", &fault).is_err());
    }
}
