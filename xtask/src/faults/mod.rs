//! Faults planted into a copy of the sources: tests have to find each of them, those of the host, or,
//! where these do not, random streams of DNS over TCP through the loaded programs.

mod field;
mod host;
mod list;
mod planting;
mod streams;

use anyhow::{Result, ensure};
use field::Field;
use host::HostTests;
use list::{FAULTS, Fault};
use streams::Streams;

use crate::{
    command,
    setup::{self, Scope},
    workspace::{self, Profile},
};

/// Plants these faults, or all, and fails unless each is found.
pub(crate) fn run(names: &[String]) -> Result<()> {
    let chosen: Vec<&Fault> = FAULTS
        .iter()
        .filter(|fault| names.is_empty() || names.iter().any(|name| name == fault.name))
        .collect();
    ensure!(!chosen.is_empty(), "no fault has such a name: {}", names.join(", "));
    setup::run(Scope::Everything)?;
    workspace::build(Profile::Debug, &["intune-filter"])?;
    let field = Field::make()?;
    let tests = HostTests::build(&field, FAULTS)?;
    // Whatever fails without a fault would be found with any.
    let sound = tests.run(None)?;
    ensure!(sound.is_none(), "{} fails without a fault", sound.unwrap_or_default());
    let mut found = Vec::new();
    for fault in chosen {
        command::say(&format!("planting {}", fault.name));
        found.push((fault, tests.run(Some(fault))?));
    }
    if found.iter().any(|(_, how)| how.is_none()) {
        // Without the switches, which cost instructions.
        let field = Field::make()?;
        let streams = Streams::build(&field)?;
        for (fault, how) in found.iter_mut().filter(|(_, how)| how.is_none()) {
            command::say(&format!("planting {}", fault.name));
            *how = streams.run(fault)?;
        }
    }
    println!("{}", table(&found));
    let missed: Vec<&str> =
        found.iter().filter(|(_, how)| how.is_none()).map(|(fault, _)| fault.name).collect();
    ensure!(missed.is_empty(), "not found: {}", missed.join(", "));
    println!("every fault was found: {}", found.len());
    Ok(())
}

/// Table of the faults and of the tests that found them.
fn table(found: &[(&Fault, Option<String>)]) -> String {
    let width = found.iter().map(|(fault, _)| fault.name.len()).max().unwrap_or_default();
    let line = |(fault, how): &(&Fault, Option<String>)| {
        format!("{:width$}  {}", fault.name, how.as_deref().unwrap_or("NOT FOUND"))
    };
    found.iter().map(line).collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    use std::{collections::BTreeSet, fs};

    use anyhow::Context as _;

    use super::{
        planting::{planted, switched},
        *,
    };

    fn source(file: &str) -> Result<String> {
        let path = workspace::root().join("intune-filter-ebpf/src").join(file);
        Ok(fs::read_to_string(path)?)
    }

    #[test]
    fn every_fault_can_be_planted() -> Result<()> {
        let mut names = BTreeSet::new();
        for fault in FAULTS {
            let source = source(fault.file)?;
            let planted = planted(&source, fault).with_context(|| fault.name.to_owned())?;
            ensure!(planted != source, "{} changes nothing", fault.name);
            ensure!(names.insert(fault.name), "two faults are named {}", fault.name);
        }
        Ok(())
    }

    #[test]
    fn all_faults_of_a_file_can_be_planted_at_once() -> Result<()> {
        for file in FAULTS.iter().map(|fault| fault.file).collect::<BTreeSet<_>>() {
            let faults: Vec<&Fault> = FAULTS.iter().filter(|fault| fault.file == file).collect();
            let text = switched(&source(file)?, &faults).with_context(|| file.to_owned())?;
            ensure!(text.matches("crate::fault::is(").count() == faults.len(), "not all in {file}");
        }
        Ok(())
    }

    #[test]
    fn a_fault_that_nothing_found_stands_out() {
        let of = |name: &str| FAULTS.iter().find(|fault| fault.name == name);
        let (Some(one), Some(two)) = (of("ttl-sign"), of("any-owner")) else {
            panic!("faults of these names are among them");
        };
        let found = [(one, Some("dns::ttl".to_owned())), (two, None)];
        assert_eq!(table(&found), "ttl-sign   dns::ttl\nany-owner  NOT FOUND");
    }
}
