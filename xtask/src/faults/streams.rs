//! Faults against the loaded programs: random streams of DNS over TCP.

use std::{fs, process::Command};

use anyhow::{Context, Result, ensure};

use super::{field::Field, list::Fault, planting::planted};
use crate::{command, runner};

/// Random streams for each fault.
const CASES: &str = "3000";
/// Seed of the random streams.
const SEED: &str = "13";
/// Message of the tests about wrong streams: no other failure counts as found.
const FOUND: &str = "streams of seed";

/// The copy, and the program without a fault.
pub(super) struct Streams<'f> {
    field: &'f Field,
    sound: Vec<u8>,
}

impl<'f> Streams<'f> {
    /// Builds the program without a fault: whatever fails with that would be found with any.
    pub(super) fn build(field: &'f Field) -> Result<Self> {
        let streams = Self { field, sound: Vec::new() };
        let sound = streams.program()?;
        let (found, text) = streams.test()?;
        ensure!(found.is_none(), "the streams fail without a fault:\n{text}");
        Ok(Self { sound, ..streams })
    }

    /// Plants a fault, and takes it away again: how it was found. The program has to be another than
    /// the one without it.
    pub(super) fn run(&self, fault: &Fault) -> Result<Option<String>> {
        let sound = self.field.read(fault.file)?;
        self.field.write(fault.file, &planted(&sound, fault)?)?;
        let tested = self.program().and_then(|program| {
            ensure!(program != self.sound, "the fault is not in the program");
            self.test()
        });
        self.field.write(fault.file, &sound)?;
        Ok(tested?.0)
    }

    fn program(&self) -> Result<Vec<u8>> {
        let mut cargo = self.field.cargo(&["build", "--workspace", "--bin", "intune-filter"]);
        command::run(&mut cargo)?;
        fs::read(self.field.program()).context("cannot read the program")
    }

    /// Runs the streams: what they find, and all that they say.
    fn test(&self) -> Result<(Option<String>, String)> {
        let mut cargo = runner::cargo_as_root()?;
        cargo.args(["-p", "intune-filter-tests", "--test", "dns_tcp", "--", "random::"]);
        cargo.env("INTUNE_FILTER", self.field.program());
        cargo.env("INTUNE_CASES", CASES).env("INTUNE_SEED", SEED);
        let (succeeds, text) = told(&mut cargo)?;
        if succeeds {
            return Ok((None, text));
        }
        let found = text.lines().find(|line| line.contains(FOUND)).map(str::to_owned);
        ensure!(found.is_some(), "the streams fail otherwise than by what they find:\n{text}");
        Ok((found, text))
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
