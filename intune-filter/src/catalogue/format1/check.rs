//! Checks a parsed catalogue of format 1: every name has one meaning, and every rule can match.

use std::collections::{BTreeMap, HashMap};

use super::document::{Document, Rule, Selected, Service, Source};
use crate::{
    catalogue::{ALL_SET, CatalogueError, DEFAULT_SET, Region, error::Place, ids},
    ports::protocols,
    yaml::{FileError, FileErrors},
};

/// Kind of a name in a configuration's `services`.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Service,
    Set,
}

/// Names and tenant locations in the files checked so far.
#[derive(Default)]
struct Seen {
    names: HashMap<String, (Kind, Place)>,
    tenants: BTreeMap<String, (Region, Place)>,
}

/// Checks the files of a catalogue, each by itself and all together.
///
/// - Ids, aliases and sets are lower-case letters, digits and hyphens. They share one namespace,
///   in which `default` and `all` are sets, and an id or alias stands once.
/// - A service has a title, a source and rules; its rules' ids stand once.
/// - A rule has ports, and destinations in exactly one way: its own, another rule's that has its
///   own, or the site's networks. None stands twice in one list.
/// - A tenant location belongs to one region.
///
/// Returns the region of each tenant location.
pub(super) fn check(documents: &[Document]) -> Result<BTreeMap<String, Region>, CatalogueError> {
    let mut seen = Seen::default();
    for document in documents {
        for (index, service) in document.services.iter().enumerate() {
            let at = At { document, path: format!("services[{index}]") };
            check_names(&at, service, &mut seen)?;
            check_service(&at, service, &mut seen)?;
        }
    }
    for document in documents {
        for (index, service) in document.services.iter().enumerate() {
            for (number, rule) in service.rules.iter().enumerate() {
                let path = format!("services[{index}].rules[{number}].destinations_of");
                check_target(&At { document, path }, rule, documents)?;
            }
        }
    }
    Ok(seen.tenants.into_iter().map(|(tenant, (region, _))| (tenant, region)).collect())
}

/// Value of a document, by its path.
struct At<'a> {
    document: &'a Document,
    path: String,
}

impl At<'_> {
    fn key(&self, key: &str) -> Self {
        Self { path: format!("{}.{key}", self.path), ..*self }
    }

    fn element(&self, key: &str, index: usize) -> Self {
        Self { path: format!("{}.{key}[{index}]", self.path), ..*self }
    }

    fn place(&self) -> Place {
        self.document.place(&self.path)
    }

    fn error(&self, message: impl Into<String>) -> CatalogueError {
        let Place { file, line } = self.place();
        let error = FileError::new(line, self.path.clone(), message);
        CatalogueError::Invalid(FileErrors::new(file, vec![error]))
    }
}

fn check_names(at: &At<'_>, service: &Service, seen: &mut Seen) -> Result<(), CatalogueError> {
    let aliases =
        service.aliases.iter().enumerate().map(|(i, name)| (at.element("aliases", i), name));
    for (at, name) in std::iter::once((at.key("id"), &service.id)).chain(aliases) {
        check_id(&at, name)?;
        if name == DEFAULT_SET || name == ALL_SET {
            return Err(at.error(format!("{name:?} is the name of a set, expected another id")));
        }
        if let Some((_, first)) = seen.names.get(name) {
            return Err(at.error(format!("duplicate id {name:?}, first used at {first}")));
        }
        seen.names.insert(name.clone(), (Kind::Service, at.place()));
    }
    for (index, name) in service.sets.iter().enumerate() {
        let at = at.element("sets", index);
        check_id(&at, name)?;
        if name == DEFAULT_SET || name == ALL_SET {
            return Err(at.error(format!("{name:?} is never listed, expected `default: true`")));
        }
        match seen.names.get(name) {
            Some((Kind::Service, first)) => {
                return Err(at.error(format!("set {name:?} is a service's id at {first}")));
            }
            Some((Kind::Set, _)) => {}
            None => {
                seen.names.insert(name.clone(), (Kind::Set, at.place()));
            }
        }
    }
    Ok(())
}

fn check_id(at: &At<'_>, id: &str) -> Result<(), CatalogueError> {
    ids::fault(id).map_or(Ok(()), |fault| Err(at.error(fault)))
}

fn check_service(at: &At<'_>, service: &Service, seen: &mut Seen) -> Result<(), CatalogueError> {
    if service.title.trim().is_empty() {
        return Err(at.key("title").error("empty, expected a name for people"));
    }
    check_source(at, &service.source)?;
    if service.rules.is_empty() {
        return Err(at.key("rules").error("no rules, expected at least one"));
    }
    for (index, rule) in service.rules.iter().enumerate() {
        let at = at.element("rules", index);
        check_id(&at.key("id"), &rule.id)?;
        let before = service.rules.iter().take(index);
        if let Some(first) = before.clone().position(|other| other.id == rule.id) {
            let message = format!("duplicate id {:?}, first used by rule {first}", rule.id);
            return Err(at.key("id").error(message));
        }
        if let Some(source) = &rule.source {
            check_source(&at, source)?;
        }
        check_rule(&at, rule, seen)?;
    }
    Ok(())
}

fn check_source(at: &At<'_>, source: &Source) -> Result<(), CatalogueError> {
    for (key, text) in [("document", &source.document), ("section", &source.section)] {
        if text.trim().is_empty() {
            return Err(at.key("source").key(key).error("empty, expected where it comes from"));
        }
    }
    Ok(())
}

fn check_rule(at: &At<'_>, rule: &Rule, seen: &mut Seen) -> Result<(), CatalogueError> {
    if rule.ports.all(Vec::is_empty) {
        return Err(at.error(format!("no ports, expected {}", protocols(" or "))));
    }
    for (protocol, ports) in rule.ports.iter() {
        check_once(at, protocol.as_str(), ports)?;
    }
    let own = !rule.fqdns.is_empty() || !rule.cidrs.is_empty() || !rule.selected.is_empty();
    let ways = [own, rule.destinations_of.is_some(), rule.site_networks];
    if ways.into_iter().filter(|way| *way).count() != 1 {
        let found =
            if ways.contains(&true) { "destinations in several ways" } else { "no destinations" };
        return Err(at.error(format!(
            "{found}, expected either fqdns, cidrs or selected, or destinations_of, or site_networks"
        )));
    }
    check_once(at, "fqdns", &rule.fqdns)?;
    check_once(at, "cidrs", &rule.cidrs)?;
    for (index, selected) in rule.selected.iter().enumerate() {
        check_selected(&at.element("selected", index), selected, seen)?;
    }
    Ok(())
}

fn check_selected(at: &At<'_>, selected: &Selected, seen: &mut Seen) -> Result<(), CatalogueError> {
    if selected.fqdns.is_empty() && selected.cidrs.is_empty() {
        return Err(at.error("no destinations, expected fqdns or cidrs"));
    }
    check_once(at, "fqdns", &selected.fqdns)?;
    check_once(at, "cidrs", &selected.cidrs)?;
    check_once(at, "tenants", &selected.tenants)?;
    for (index, tenant) in selected.tenants.iter().enumerate() {
        let at = at.element("tenants", index);
        if let Some(fault) = ids::fault_of_tenant(tenant) {
            return Err(at.error(fault));
        }
        let (region, first) =
            seen.tenants.entry(tenant.clone()).or_insert_with(|| (selected.region, at.place()));
        if *region != selected.region {
            return Err(at.error(format!(
                "tenant location {tenant:?} is in region {}, but in {region} at {first}",
                selected.region
            )));
        }
    }
    Ok(())
}

fn check_once<T: PartialEq + std::fmt::Display>(
    at: &At<'_>,
    key: &str,
    list: &[T],
) -> Result<(), CatalogueError> {
    for (index, item) in list.iter().enumerate() {
        if list.iter().take(index).any(|other| other == item) {
            return Err(at.element(key, index).error(format!("{item} stands twice")));
        }
    }
    Ok(())
}

fn check_target(at: &At<'_>, rule: &Rule, documents: &[Document]) -> Result<(), CatalogueError> {
    let Some(id) = &rule.destinations_of else { return Ok(()) };
    let target = documents
        .iter()
        .flat_map(|document| &document.services)
        .find(|service| service.id == id.service)
        .and_then(|service| service.rules.iter().find(|rule| rule.id == id.rule));
    match target {
        None => Err(at.error(format!("no rule {id}, expected an existing SERVICE/RULE"))),
        Some(target) if target.destinations_of.is_some() || target.site_networks => {
            Err(at.error(format!("rule {id} has no destinations of its own")))
        }
        Some(_) => Ok(()),
    }
}
