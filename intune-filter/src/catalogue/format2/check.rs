//! Checks a parsed catalogue of format 2: every name has one meaning, every datum a source, every
//! rule destinations and ports.

use std::collections::{BTreeMap, HashMap, HashSet};

use intune_filter_ebpf::abi::TITLE_CAPACITY;

use super::{edition, parsed::Parsed};
use crate::{
    catalogue::{
        ALL_SET, Catalogue, Datum, Provenance, Rule, RuleId, Service, Status, error::Place, ids,
    },
    ports::protocols,
    yaml::FileError,
};

/// Faults of each file, by its index; that of the edition file is last.
pub(super) type Faults = Vec<(usize, FileError)>;

/// Checks the files of a catalogue, each by itself and all together.
///
/// - Ids, aliases and sets are lower-case letters, digits and hyphens. An id stands once and is
///   neither alias nor set; an alias may stand at several services, and is no set.
/// - A service has a title and rules; its rules' ids stand once.
/// - A rule has ports, and destinations in exactly one way: its own, another rule's that has its
///   own, or the site's networks.
/// - A datum stands once for the same sites. Its source and its tenants are known to the edition.
/// - A set consists of services and other sets, and does not hold itself.
/// - Where the files add to an edition, its names, sets and sources are taken.
pub(super) fn check(
    files: &[Parsed<super::document::File>],
    edition: &Parsed<edition::File>,
    base: Option<&'static Catalogue>,
) -> Faults {
    let mut check = Check { files, edition, base, names: HashMap::new(), faults: Vec::new() };
    check.of_base();
    check.edition();
    check.sources();
    for (file, parsed) in files.iter().enumerate() {
        for (index, service) in parsed.value.services.iter().enumerate() {
            check.names(file, &format!("services[{index}]"), service);
        }
    }
    for (file, parsed) in files.iter().enumerate() {
        for (index, service) in parsed.value.services.iter().enumerate() {
            check.service(file, &format!("services[{index}]"), service);
        }
    }
    check.sets();
    check.faults
}

/// Meaning of a name in configurations.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Id,
    Alias,
    /// Alias in the edition that the files add to, where it keeps its meaning.
    Taken,
}

struct Check<'a> {
    files: &'a [Parsed<super::document::File>],
    edition: &'a Parsed<edition::File>,
    /// Edition that the files add to.
    base: Option<&'static Catalogue>,
    names: HashMap<&'a str, (Kind, String)>,
    faults: Faults,
}

impl<'a> Check<'a> {
    fn report(&mut self, file: usize, key: impl Into<String>, message: impl Into<String>) {
        let key = key.into();
        let lines = self.files.get(file).map_or(&self.edition.lines, |file| &file.lines);
        let error = FileError::new(lines.line(&key), key, message);
        self.faults.push((file, error));
    }

    fn id(&mut self, file: usize, key: &str, id: &str) {
        if let Some(fault) = ids::fault(id) {
            self.report(file, key, fault);
        }
    }

    fn text(&mut self, file: usize, key: impl Into<String>, text: &str, what: &str) {
        if text.trim().is_empty() {
            self.report(file, key, format!("empty, expected {what}"));
        }
    }

    fn edition(&mut self) {
        let (edition, file) = (&self.edition.value, self.files.len());
        self.id(file, "edition", &edition.name);
        for tenant in edition.tenants.keys() {
            if let Some(fault) = ids::fault_of_tenant(tenant) {
                self.report(file, format!("tenants.{tenant}"), fault);
            }
        }
        for (index, excused) in edition.excused.iter().enumerate() {
            let key = format!("excused[{index}]");
            if !self.has_source(&excused.source) {
                let message = unknown_source(&excused.source);
                self.report(file, format!("{key}.source"), message);
            }
            self.text(file, format!("{key}.reason"), &excused.reason, "a reason");
        }
    }

    /// Takes the names of the edition that the files add to.
    fn of_base(&mut self) {
        let Some(base) = self.base else { return };
        let edition = || format!("edition {}", base.edition().name);
        for service in base.services() {
            let aliases = service.aliases.iter().map(|name| (name, Kind::Taken));
            for (name, kind) in std::iter::once((&service.id, Kind::Id)).chain(aliases) {
                self.names.insert(name, (kind, edition()));
            }
        }
    }

    /// Checks the sources of the edition file and of the others: an id stands once in all.
    fn sources(&mut self) {
        let own = self.files.iter().map(|file| &file.value.sources);
        let edition = std::iter::once(&self.edition.value.sources);
        let mut seen: HashSet<&str> = HashSet::new();
        seen.extend(
            self.base
                .into_iter()
                .flat_map(|base| base.edition().sources.keys())
                .map(String::as_str),
        );
        for (file, sources) in own.chain(edition).enumerate() {
            for (id, source) in sources {
                let key = format!("sources.{id}");
                let legal =
                    |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || "-.".contains(c);
                if id.is_empty() || !id.chars().all(legal) {
                    let message = format!(
                        "bad id {id:?}, expected lower-case letters, digits, hyphens and dots"
                    );
                    self.report(file, &key, message);
                }
                if !seen.insert(id) {
                    self.report(
                        file,
                        &key,
                        format!("duplicate source {id:?}, expected another id"),
                    );
                }
                self.text(file, format!("{key}.title"), &source.title, "the document's title");
            }
        }
    }

    fn has_source(&self, id: &str) -> bool {
        let files = self.files.iter().map(|file| &file.value.sources);
        files.chain([&self.edition.value.sources]).any(|sources| sources.contains_key(id))
            || self.base.is_some_and(|base| base.edition().source(id).is_some())
    }

    fn has_set(&self, name: &str) -> bool {
        name == ALL_SET
            || self.edition.value.sets.contains_key(name)
            || self.base.is_some_and(|base| base.sets().contains(&name))
    }

    fn names(&mut self, file: usize, key: &str, service: &'a Service) {
        let aliases = service.aliases.iter().enumerate();
        let aliases = aliases.map(|(at, name)| (format!("{key}.aliases[{at}]"), name, Kind::Alias));
        let id = (format!("{key}.id"), &service.id, Kind::Id);
        let mut own = HashSet::new();
        for (key, name, kind) in std::iter::once(id).chain(aliases) {
            self.id(file, &key, name);
            if self.has_set(name) {
                let message = format!("{name:?} is the name of a set, expected another id");
                self.report(file, &key, message);
            }
            let here = self.files.get(file).map_or_else(String::new, |file| {
                Place { file: file.name.clone(), line: file.lines.line(&key) }.to_string()
            });
            let first = self.names.get(name.as_str()).cloned();
            match first {
                // What several services were one before.
                Some((Kind::Alias, _)) if kind == Kind::Alias && own.insert(name) => {}
                Some((_, first)) => {
                    self.report(file, key, format!("duplicate id {name:?}, first used at {first}"));
                }
                None => {
                    own.insert(name);
                    self.names.insert(name, (kind, here));
                }
            }
        }
    }

    fn service(&mut self, file: usize, key: &str, service: &Service) {
        self.text(file, format!("{key}.title"), &service.title, "a name for people");
        if service.rules.is_empty() {
            self.report(file, format!("{key}.rules"), "no rules, expected at least one");
        }
        for (index, rule) in service.rules.iter().enumerate() {
            let key = format!("{key}.rules[{index}]");
            self.id(file, &format!("{key}.id"), &rule.id);
            let before = service.rules.iter().take(index);
            if let Some(first) = before.clone().position(|other| other.id == rule.id) {
                let message = format!("duplicate id {:?}, first used by rule {first}", rule.id);
                self.report(file, format!("{key}.id"), message);
            }
            if service.rule_id(rule).to_string().len() > TITLE_CAPACITY {
                let message = format!("longer than {TITLE_CAPACITY} octets with its service");
                self.report(file, format!("{key}.id"), message);
            }
            self.rule(file, &key, rule);
        }
    }

    fn rule(&mut self, file: usize, key: &str, rule: &Rule) {
        if rule.ports.all(Vec::is_empty) {
            self.report(file, key, format!("no ports, expected {}", protocols(" or ")));
        }
        for (protocol, ports) in rule.ports.iter() {
            if let Some((at, port)) = repeated(ports.iter()) {
                let key = format!("{key}.{}[{at}]", protocol.as_str());
                self.report(file, key, format!("{port} stands twice"));
            }
        }
        let ways = [!rule.to.is_empty(), rule.destinations_of.is_some(), rule.site_networks];
        if ways.into_iter().filter(|way| *way).count() != 1 {
            let several = ways.contains(&true);
            let found = if several { "destinations in several ways" } else { "no destinations" };
            let message =
                format!("{found}, expected either to, or destinations_of, or site_networks");
            self.report(file, key, message);
        }
        if rule.to.is_empty() || rule.from.is_some() {
            self.source(file, &format!("{key}.from"), key, rule.from.as_ref());
        }
        if let Some(id) = &rule.destinations_of {
            self.target(file, &format!("{key}.destinations_of"), id);
        }
        let mut first = HashSet::new();
        for (index, datum) in rule.to.iter().enumerate() {
            let key = format!("{key}.to[{index}]");
            if !first.insert((&datum.address, &datum.when)) {
                let message = format!("{} stands twice for the same sites", datum.address);
                self.report(file, &key, message);
            }
            self.datum(file, &key, datum);
            // The source of the rule has been looked at.
            if rule.from.as_ref() != Some(&datum.from) {
                let given = Some(&datum.from).filter(|from| !from.source.is_empty());
                self.source(file, &format!("{key}.from"), &key, given);
            }
        }
    }

    fn datum(&mut self, file: usize, key: &str, datum: &Datum) {
        for tenant in &datum.when.tenant {
            let of_base = self.base.is_some_and(|base| base.region_of(tenant).is_some());
            if !of_base && !self.edition.value.tenants.contains_key(tenant) {
                let message =
                    format!("unknown tenant location {tenant:?}, expected one of the edition's");
                self.report(file, format!("{key}.when.tenant"), message);
            }
        }
        if datum.status == Status::Current && datum.until.is_some() {
            let message = "current although it has ended, expected status legacy";
            self.report(file, format!("{key}.until"), message);
        }
        if let (Some(since), Some(until)) = (&datum.since, &datum.until)
            && since > until
        {
            let message = format!("{until} is before since, {since}");
            self.report(file, format!("{key}.until"), message);
        }
    }

    /// Reports a source that is missing from the file or from the edition.
    fn source(&mut self, file: usize, key: &str, of: &str, from: Option<&Provenance>) {
        match from {
            None => self.report(file, of, "no source, expected from here or at the rule"),
            Some(from) if !self.has_source(&from.source) => {
                self.report(file, key, unknown_source(&from.source));
            }
            Some(_) => {}
        }
    }

    fn target(&mut self, file: usize, key: &str, id: &RuleId) {
        let services = self.files.iter().flat_map(|file| &file.value.services);
        let base = self.base.into_iter().flat_map(Catalogue::services);
        let mut named = services.chain(base).filter(|service| service.id == id.service);
        match named.next().and_then(|service| service.rule(&id.rule)) {
            None => {
                self.report(file, key, format!("no rule {id}, expected an existing SERVICE/RULE"));
            }
            Some(target) if target.to.is_empty() => {
                self.report(file, key, format!("rule {id} has no destinations of its own"));
            }
            Some(_) => {}
        }
    }

    fn sets(&mut self) {
        let (sets, file) = (&self.edition.value.sets, self.files.len());
        for (set, members) in sets {
            let key = format!("sets.{set}");
            self.id(file, &key, set);
            if set == ALL_SET {
                self.report(file, &key, "all is every service, expected no such key");
            } else if self.base.is_some_and(|base| base.sets().contains(&set.as_str())) {
                self.report(
                    file,
                    &key,
                    "a set of the edition that this one adds to, expected another",
                );
            }
            if let Some((at, member)) = repeated(members.iter()) {
                self.report(file, format!("{key}[{at}]"), format!("{member} stands twice"));
            }
            for (at, member) in members.iter().enumerate() {
                let is_service =
                    self.names.get(member.as_str()).is_some_and(|(kind, _)| *kind == Kind::Id);
                if !is_service && !self.has_set(member) {
                    let message = format!("no service or set {member:?}, expected the id of one");
                    self.report(file, format!("{key}[{at}]"), message);
                }
            }
            if holds(sets, set, set, &mut HashSet::new()) {
                self.report(file, &key, "the set holds itself");
            }
        }
    }
}

/// Whether a set holds another, by itself or by the sets that it holds.
fn holds<'a>(
    sets: &'a BTreeMap<String, Vec<String>>,
    set: &str,
    other: &str,
    seen: &mut HashSet<&'a str>,
) -> bool {
    sets.get(set).is_some_and(|members| {
        members.iter().any(|member| {
            member == other || seen.insert(member) && holds(sets, member, other, seen)
        })
    })
}

fn unknown_source(id: &str) -> String {
    format!("unknown source {id:?}, expected one under sources")
}

fn repeated<'a, T: Eq + std::hash::Hash>(
    values: impl Iterator<Item = &'a T>,
) -> Option<(usize, &'a T)> {
    let mut seen = HashSet::new();
    values.enumerate().find(|(_, value)| !seen.insert(*value))
}
