//! Reads the files of `tests/scenarios`, and refuses what is no transcription: a step without a source,
//! a redirect from nowhere, an example of no pattern.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    net::IpAddr,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result, bail, ensure};
use intune_filter::pattern::Pattern;
use ipnet::IpNet;
use serde::{Deserialize, de::DeserializeOwned};

use super::{
    scenario::Scenario,
    site::{Cloud, Region, Site},
    step::{Answers, COUNTRY, DOMAIN, Destination, Need, Step, TENANT},
};
use crate::cargo::root;

/// Seconds that addresses may be kept, where no source says so.
const TTL: u32 = 60;

/// Every scenario, with what all of them need.
#[derive(Clone, Debug)]
pub struct Fixture {
    /// Documents and reports.
    pub sources: BTreeMap<String, Source>,
    /// Scale units of the documents, with their regions.
    pub tenants: BTreeMap<String, Region>,
    /// Domains of the site.
    pub domains: Vec<String>,
    /// Country domains of the site.
    pub country: Vec<String>,
    /// Sets that promise a scenario, by its id.
    pub sets: BTreeMap<String, Vec<String>>,
    /// Scenarios by their ids.
    pub scenarios: Vec<Scenario>,
}

/// A document or a public report.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Source {
    /// Title.
    pub title: String,
    /// Date of the document or report, as it says itself; or `undated`.
    pub date: String,
    /// Where it was read.
    pub at: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct SitesFile {
    tenants: BTreeMap<String, Region>,
    domains: Vec<String>,
    country: Vec<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ScenarioFile {
    title: String,
    cloud: Cloud,
    #[serde(default)]
    gcc: bool,
    steps: Vec<Entry>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct PartFile {
    steps: Vec<Entry>,
}

/// An entry of `steps`: a step, or the steps of a part.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    part: Option<String>,
    r#do: Option<String>,
    name: Option<String>,
    address: Option<IpAddr>,
    of: Option<String>,
    #[serde(default)]
    via: Vec<String>,
    answers: Option<Answers>,
    ttl: Option<u32>,
    #[serde(default)]
    tcp: BTreeSet<u16>,
    #[serde(default)]
    udp: BTreeSet<u16>,
    #[serde(default)]
    plain: BTreeSet<u16>,
    redirected_by: Option<String>,
    #[serde(default)]
    need: Need,
    why: Option<String>,
    from: Option<String>,
    #[serde(default)]
    regions: BTreeSet<Region>,
}

impl Fixture {
    /// Reads every file.
    pub fn read() -> Result<Self> {
        let directory = root().join("tests/scenarios");
        let sites: SitesFile = file(&directory.join("sites.yaml"))?;
        let parts = files(&directory.join("parts"))?;
        let parts = parts.into_iter().map(|(id, path)| Ok((id, file::<PartFile>(&path)?)));
        let parts: BTreeMap<String, PartFile> = parts.collect::<Result<_>>()?;
        let mut scenarios = Vec::new();
        for folder in ["windows", "apple", "android", "server"] {
            for (name, path) in files(&directory.join(folder))? {
                let id = format!("{folder}/{name}");
                let read = scenario(&id, file(&path)?, &parts);
                scenarios.push(read.with_context(|| path.display().to_string())?);
            }
        }
        let fixture = Self {
            sources: file(&directory.join("sources.yaml"))?,
            tenants: sites.tenants,
            domains: sites.domains,
            country: sites.country,
            sets: file(&directory.join("sets.yaml"))?,
            scenarios,
        };
        fixture.check(&parts)?;
        Ok(fixture)
    }

    /// The site of a cloud, with every tenant or with one.
    #[must_use]
    pub fn site(&self, cloud: Cloud, tenant: Option<&str>, gcc: bool) -> Site {
        let tenant = tenant.map(str::to_owned);
        Site { cloud, tenant, gcc, domains: self.domains.clone(), country: self.country.clone() }
    }

    /// Scenarios that a set promises in a cloud, for tenants of GCC or for the others.
    pub fn promised<'a>(
        &'a self,
        set: &'a str,
        cloud: Cloud,
        gcc: bool,
    ) -> impl Iterator<Item = &'a Scenario> {
        let is_of = move |scenario: &&Scenario| {
            let sets = self.sets.get(&scenario.id);
            let promised = sets.is_some_and(|sets| sets.iter().any(|name| name == set));
            promised && scenario.cloud == cloud && scenario.gcc == gcc
        };
        self.scenarios.iter().filter(is_of)
    }

    fn check(&self, parts: &BTreeMap<String, PartFile>) -> Result<()> {
        let known: BTreeSet<&String> = self.scenarios.iter().map(|scenario| &scenario.id).collect();
        let mapped: BTreeSet<&String> = self.sets.keys().collect();
        ensure!(known == mapped, "sets.yaml: expected {known:?}, found {mapped:?}");
        for source in self.sources.values() {
            let is_date = source.date.len() >= 4 && source.date.starts_with("20");
            ensure!(is_date || source.date == "undated", "{}: {}", source.title, source.date);
            ensure!(source.at.contains(['/', '.']), "{}: where was it read?", source.title);
        }
        let mut used = BTreeSet::new();
        for scenario in &self.scenarios {
            for step in &scenario.steps {
                for from in &step.from {
                    let id = from.split('#').next().unwrap_or_default();
                    let known = self.sources.contains_key(id);
                    ensure!(known, "{}: {}: no source {id}", scenario.id, step.act);
                    used.insert(id.to_owned());
                }
            }
        }
        let unused: Vec<_> = self.sources.keys().filter(|id| !used.contains(*id)).collect();
        ensure!(unused.is_empty(), "sources.yaml: no step is from {unused:?}");
        // Parts have no parts, so those that scenarios name are all.
        let idle: Vec<_> =
            parts.iter().filter(|(_, part)| part.steps.is_empty()).map(|(id, _)| id).collect();
        ensure!(idle.is_empty(), "parts without steps: {idle:?}");
        Ok(())
    }
}

fn scenario(id: &str, file: ScenarioFile, parts: &BTreeMap<String, PartFile>) -> Result<Scenario> {
    let mut steps: Vec<Step> = Vec::new();
    for entry in &file.steps {
        match &entry.part {
            None => steps.push(step(entry)?),
            Some(name) => {
                let part = parts.get(name).with_context(|| format!("there is no part {name}"))?;
                for entry in &part.steps {
                    ensure!(entry.part.is_none(), "{name}: a part of a part");
                    steps.push(step(entry).with_context(|| format!("part {name}"))?);
                }
            }
        }
    }
    for (at, step) in steps.iter().enumerate() {
        if let Some(name) = &step.redirected_by {
            let before = steps.iter().take(at).any(|step| step.name() == Some(name));
            ensure!(before, "{}: no step before it leads to {name}", step.act);
        }
    }
    Ok(Scenario { id: id.to_owned(), title: file.title, cloud: file.cloud, gcc: file.gcc, steps })
}

fn step(entry: &Entry) -> Result<Step> {
    let act = entry.r#do.clone().context("a step without `do`")?;
    let destination = match (&entry.name, entry.address) {
        (Some(name), None) => Destination::Name(name.clone()),
        (None, Some(address)) => Destination::Address(address),
        _ => bail!("{act}: expected a name or an address"),
    };
    let from = entry.from.as_deref().with_context(|| format!("{act}: no source"))?;
    let step = Step {
        act,
        destination,
        of: entry.of.clone(),
        via: entry.via.clone(),
        answers: entry.answers,
        ttl: entry.ttl.unwrap_or(TTL),
        tcp: entry.tcp.clone(),
        udp: entry.udp.clone(),
        plain: entry.plain.iter().copied().chain([80]).filter(|p| entry.tcp.contains(p)).collect(),
        redirected_by: entry.redirected_by.clone(),
        need: entry.need,
        why: entry.why.clone(),
        from: from.split(", ").map(str::to_owned).collect(),
        regions: entry.regions.clone(),
    };
    well_formed(&step).with_context(|| step.act.clone())?;
    Ok(step)
}

fn well_formed(step: &Step) -> Result<()> {
    ensure!(step.why.is_some() == (step.need == Need::Spare), "`why` is for what is spare");
    match &step.destination {
        Destination::Name(name) => {
            for name in step.via.iter().chain([name]) {
                let filled = [TENANT, DOMAIN, COUNTRY]
                    .iter()
                    .fold(name.clone(), |name, placeholder| name.replace(placeholder, "x"));
                let pattern: Pattern =
                    filled.parse().with_context(|| format!("{name} is no name"))?;
                ensure!(!filled.contains('*') && !filled.contains('#'), "{pattern}: a pattern");
            }
            if let Some(of) = &step.of {
                let pattern: Pattern = of.parse().with_context(|| of.clone())?;
                ensure!(pattern.matches(name), "{name} is no {of}");
            }
        }
        Destination::Address(address) => {
            let bare = step.via.is_empty() && step.answers.is_none();
            ensure!(bare, "{address}: an address has no aliases and answers");
            ensure!(!step.tcp.is_empty() || !step.udp.is_empty(), "{address}: no port");
            let of = step.of.as_ref().with_context(|| format!("{address}: of which prefix?"))?;
            let prefix: IpNet = of.parse().with_context(|| of.clone())?;
            ensure!(prefix.contains(address), "{address} is not in {of}");
        }
    }
    Ok(())
}

fn file<T: DeserializeOwned>(path: &Path) -> Result<T> {
    let text = fs::read_to_string(path).with_context(|| path.display().to_string())?;
    serde_yaml::from_str(&text).with_context(|| path.display().to_string())
}

/// Files of a folder, by their names without extension.
fn files(folder: &Path) -> Result<BTreeMap<String, PathBuf>> {
    let mut found = BTreeMap::new();
    for entry in fs::read_dir(folder).with_context(|| folder.display().to_string())? {
        let path = entry?.path();
        let name = path.file_stem().and_then(|name| name.to_str()).map(str::to_owned);
        let is_yaml = path.extension().is_some_and(|extension| extension == "yaml");
        ensure!(is_yaml, "{}: no scenario", path.display());
        found.insert(name.context("a name")?, path);
    }
    Ok(found)
}
