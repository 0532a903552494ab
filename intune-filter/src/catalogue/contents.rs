//! Answers questions about the contents of a catalogue.

use std::collections::{BTreeMap, HashSet};

use super::{ALL_SET, DEFAULT_SET, Datum, Edition, Region, Rule, RuleId, Service};

/// Services that have been checked, each by itself and all together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Catalogue {
    /// Edition.
    pub(super) edition: Edition,
    /// Every service.
    pub(super) services: Vec<Service>,
    /// Services and sets of each set.
    pub(super) sets: BTreeMap<String, Vec<String>>,
    /// Region of each tenant location.
    pub(super) tenants: BTreeMap<String, Region>,
}

impl Catalogue {
    /// Returns the edition.
    #[must_use]
    pub const fn edition(&self) -> &Edition {
        &self.edition
    }

    /// Returns every service, in the order of the files.
    #[must_use]
    pub fn services(&self) -> &[Service] {
        &self.services
    }

    /// Returns the service with an id, or the only one with an alias.
    #[must_use]
    pub fn service(&self, name: &str) -> Option<&Service> {
        match self.named(name)[..] {
            [service] => Some(service),
            _ => None,
        }
    }

    /// Returns the services with an id or alias: several where what was one has been split.
    #[must_use]
    pub fn named(&self, name: &str) -> Vec<&Service> {
        match self.services.iter().find(|service| service.id == name) {
            Some(service) => vec![service],
            None => self.services.iter().filter(|service| service.is_named(name)).collect(),
        }
    }

    /// Returns the rule with an id, and its service.
    #[must_use]
    pub fn rule(&self, id: &RuleId) -> Option<(&Service, &Rule)> {
        let service = self.services.iter().find(|service| service.id == id.service)?;
        Some((service, service.rule(&id.rule)?))
    }

    /// Returns the rules that an id stands for, in this edition or an earlier one.
    #[must_use]
    pub fn rules_named(&self, id: &RuleId) -> Vec<(&Service, &Rule)> {
        if let Some(rule) = self.rule(id) {
            return vec![rule];
        }
        let rules = self
            .services
            .iter()
            .flat_map(|service| service.rules.iter().map(move |rule| (service, rule)));
        let is_named = |(service, rule): &(&Service, &Rule)| {
            rule.aliases.contains(id) || rule.id == id.rule && service.is_named(&id.service)
        };
        rules.filter(is_named).collect()
    }

    /// Returns the services of a set: `default`, `all`, or one of the catalogue's; `None` for an
    /// unknown set.
    #[must_use]
    pub fn set(&self, name: &str) -> Option<Vec<&Service>> {
        if name == ALL_SET {
            return Some(self.services.iter().collect());
        }
        if !self.sets.contains_key(name) && name != DEFAULT_SET {
            return None;
        }
        let mut members = HashSet::new();
        self.collect_set(name, &mut members);
        let is_member = |service: &&Service| members.contains(service.id.as_str());
        Some(self.services.iter().filter(is_member).collect())
    }

    /// Collects the services and sets that a set holds, which a check has found to end.
    fn collect_set<'a>(&'a self, name: &str, members: &mut HashSet<&'a str>) {
        for member in self.sets.get(name).into_iter().flatten() {
            if members.insert(member) {
                self.collect_set(member, members);
            }
        }
    }

    /// Returns the names of all sets, in alphabetical order.
    #[must_use]
    pub fn sets(&self) -> Vec<&str> {
        let own = self.sets.keys().map(String::as_str);
        let mut names: Vec<&str> = own.chain([DEFAULT_SET, ALL_SET]).collect();
        names.sort_unstable();
        names.dedup();
        names
    }

    /// Returns the names of the sets, except `all`, that hold a service, in alphabetical order.
    #[must_use]
    pub fn sets_of(&self, service: &Service) -> Vec<&str> {
        let holds = |set: &&str| {
            self.set(set).is_some_and(|services| services.iter().any(|one| one.id == service.id))
        };
        self.sets().into_iter().filter(|set| *set != ALL_SET).filter(holds).collect()
    }

    /// Returns the services that `name` stands for in a configuration: an id, an alias or a set.
    #[must_use]
    pub fn resolve(&self, name: &str) -> Option<Vec<&Service>> {
        let named = self.named(name);
        if named.is_empty() { self.set(name) } else { Some(named) }
    }

    /// Returns every tenant location with its region, in alphabetical order.
    pub fn tenants(&self) -> impl Iterator<Item = (&str, Region)> {
        self.tenants.iter().map(|(tenant, region)| (tenant.as_str(), *region))
    }

    /// Returns the region of a tenant location such as `AMSUB0502`, in this edition.
    #[must_use]
    pub fn region_of(&self, tenant: &str) -> Option<Region> {
        self.tenants.get(tenant).copied()
    }

    /// Returns every source of a service as text for people.
    #[must_use]
    pub fn cite(&self, service: &Service) -> String {
        let places = service.provenance().into_iter().map(|place| self.edition.cite(place));
        places.collect::<Vec<_>>().join("; ")
    }

    /// Returns the data that a rule's destinations are made of: its own, or those of another rule.
    #[must_use]
    pub fn data<'a>(&'a self, rule: &'a Rule) -> &'a [Datum] {
        let target = rule.destinations_of.as_ref().and_then(|id| self.rule(id));
        &target.map_or(rule, |(_, target)| target).to
    }
}
