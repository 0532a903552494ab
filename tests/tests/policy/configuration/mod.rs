//! Configuration in force, whatever becomes of its file and of the state directory; and the
//! commands that change it.

mod changes;
mod last_good;
mod reload;
mod state;

use std::{
    path::{Path, PathBuf},
    process::Output,
};

use anyhow::{Context as _, Result, ensure};
use intune_filter_tests::{
    namespace::run,
    probe::Target,
    site::{self, CONFIG, eventually, tcp},
    testbed::{Setup, Testbed},
};
use serde_json::Value;

/// The site's configuration with the printer elsewhere.
fn changed() -> String {
    CONFIG.replace("tcp: [631]", "tcp: [443]")
}

/// The printer's port before the change, and after it.
fn old() -> Result<Target> {
    Ok(tcp("192.0.2.5".parse()?, 631))
}

fn new() -> Result<Target> {
    Ok(tcp("192.0.2.5".parse()?, 443))
}

struct Site {
    testbed: Testbed,
}

impl Site {
    /// A site whose filter has not been started.
    fn create(config: &str) -> Result<Self> {
        let setup = Setup { config: config.to_owned(), ..site::setup() };
        Ok(Self { testbed: Testbed::create(&setup)? })
    }

    fn start(config: &str) -> Result<Self> {
        let mut site = Self::create(config)?;
        site.testbed.filter.start()?;
        Ok(site)
    }

    fn restart(&mut self) -> Result<()> {
        self.testbed.filter.kill()?;
        self.testbed.filter.start()
    }

    fn path(&self, name: &str) -> PathBuf {
        self.testbed.directory.path().join(name)
    }

    fn file(&self) -> PathBuf {
        self.path("config.yaml")
    }

    /// Writes another configuration; its path.
    fn other(&self, name: &str, config: &str) -> Result<String> {
        let path = self.testbed.directory.write(name, config)?;
        Ok(path.to_str().context("a path of ours is text")?.to_owned())
    }

    fn configure(&self, config: &str) -> Result<()> {
        self.testbed.filter.configure(config)
    }

    fn json(&self, arguments: &[&str]) -> Result<Value> {
        self.testbed.filter.json(arguments)
    }

    fn status(&self) -> Result<Value> {
        self.json(&["status"])
    }

    fn generation(&self) -> Result<u64> {
        self.status()?["generation"].as_u64().context("a number")
    }

    /// Origin of the configuration in force.
    fn origin(&self) -> Result<String> {
        let status = self.status()?;
        let origin = status["configuration"]["origin"].as_str();
        Ok(origin.with_context(|| format!("no origin in {status:#}"))?.to_owned())
    }

    /// Problem of a code in `status`.
    fn problem(&self, code: &str) -> Result<Option<String>> {
        let status = self.status()?;
        let problems = status["problems"].as_array().context("a list")?;
        let found = problems.iter().find(|problem| problem["code"] == code);
        if let Some(found) = found {
            let since = found["since"].as_str().unwrap_or_default();
            ensure!(since.ends_with('Z') && since.contains('T'), "{found:#}");
        }
        Ok(found.and_then(|found| Some(found["text"].as_str()?.to_owned())))
    }

    fn expect_problem(&self, code: &str, words: &str) -> Result<()> {
        let text = self.problem(code)?.with_context(|| format!("no problem {code}"))?;
        ensure!(text.contains(words), "{code}: {text}");
        Ok(())
    }

    fn expect_none(&self, code: &str) -> Result<()> {
        let problem = self.problem(code)?;
        ensure!(problem.is_none(), "{code}: {problem:?}");
        Ok(())
    }

    /// Runs a command that has to end with this exit code; what it prints to standard error.
    fn fail(&self, code: i32, arguments: &[&str]) -> Result<String> {
        let output: Output = self.testbed.filter.run(arguments)?;
        let [text, errors] =
            [&output.stdout, &output.stderr].map(|text| String::from_utf8_lossy(text).into_owned());
        ensure!(
            output.status.code() == Some(code),
            "{arguments:?}: {}: {text}{errors}",
            output.status
        );
        Ok(errors)
    }

    /// A figure of the metrics.
    fn metric(&self, port: u16, name: &str) -> Result<Option<i64>> {
        let mut command = self.testbed.network.gateway.command("curl");
        command.args(["--silent", "--show-error", "--max-time", "10"]);
        let text = run(command.arg(format!("http://127.0.0.1:{port}/metrics")))?;
        let name = format!("intune_filter_{name} ");
        Ok(text.lines().find_map(|line| line.strip_prefix(&name)?.trim().parse().ok()))
    }

    /// Waits for a metric: served values may be a second old.
    fn eventually_metric(&self, name: &str, value: i64) -> Result<()> {
        eventually(&format!("{name} is {value}"), || Ok(self.metric(9469, name)? == Some(value)))
    }

    fn expect_old(&self) -> Result<()> {
        self.testbed.expect_reached(old()?)?;
        self.testbed.expect_denied(new()?)
    }

    fn expect_new(&self) -> Result<()> {
        self.testbed.expect_reached(new()?)?;
        self.testbed.expect_denied(old()?)
    }

    fn eventually_from(&self, origin: &str) -> Result<()> {
        eventually(&format!("the configuration is from {origin}"), || Ok(self.origin()? == origin))
    }
}

/// Removes a file or a directory.
fn remove(path: &Path) -> Result<()> {
    let removed =
        if path.is_dir() { std::fs::remove_dir_all(path) } else { std::fs::remove_file(path) };
    removed.with_context(|| path.display().to_string())
}
