//! Collects the services that a site's groups can name: the catalogue's, with the site's overrides
//! and for its region, and the site's own.
//!
//! An entry of the configuration's `services` with the id of a catalogue service overrides that
//! service:
//!
//! - `title`, `fqdns`, `cidrs`, `tcp` and `udp` each replace the catalogue's value and leave the
//!   others. `fqdns` and `cidrs` replace destinations selected by region, too. A rule with the
//!   destinations of another rule gets its own as soon as the entry has `fqdns` or `cidrs`.
//! - These keys apply to the service's only rule. A service of several rules is overridden rule by
//!   rule under `rules`, with one unambiguous exception: `cidrs` alone are the destinations of
//!   every rule for which the site has to name the networks.
//! - An empty `tcp` or `udp` removes those ports, provided that the rule keeps a port of the other
//!   protocol.
//!
//! Any other entry is a service of the site's own, in the set `all` and in no other.

use std::{
    collections::{BTreeMap, HashSet},
    hash::Hash,
};

use ipnet::IpNet;

use crate::{
    catalogue::{ALL_SET, Catalogue, Location, RuleId, Selector},
    config::{Config, Parts, Region, SiteRule, SiteService},
    pattern::Pattern,
    ports::{Ports, protocols},
    yaml::FileError,
};

/// Id of the only rule of a site's service without `rules`.
const ONLY_RULE: &str = "site";

/// Service with the site's overrides.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Service {
    /// Id of the service.
    pub id: String,
    /// Title for people.
    pub title: String,
    /// Origin in the catalogue, the configuration, or both.
    pub origin: Origin,
    /// Traffic that the service opens beyond its purpose.
    pub risk: Option<String>,
    /// Rules of the service.
    pub rules: Vec<Rule>,
}

/// Origin of a service.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Origin {
    /// Catalogue alone.
    Catalogue,
    /// Catalogue, with overrides by the site.
    Overridden,
    /// Configuration of the site alone.
    Site,
}

/// One set of destinations and one set of ports.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rule {
    /// Id of the rule with its service.
    pub id: RuleId,
    /// Name patterns of the destinations.
    pub fqdns: Vec<Pattern>,
    /// Prefixes of the destinations.
    pub cidrs: Vec<IpNet>,
    /// Ports.
    pub ports: Ports,
    /// Whether it is for the site to name its destinations.
    pub site_networks: bool,
    /// Rule whose destinations this rule has.
    destinations_of: Option<RuleId>,
}

impl Rule {
    /// Returns the rule with which a group lets senders in, by its number.
    pub(super) fn inbound(group: &str, number: usize, from: &[IpNet], ports: &Ports) -> Self {
        Self {
            id: RuleId { service: format!("inbound@{group}"), rule: number.to_string() },
            fqdns: Vec::new(),
            cidrs: from.to_vec(),
            ports: ports.clone(),
            site_networks: false,
            destinations_of: None,
        }
    }

    /// Whether the rule has any destination.
    #[must_use]
    pub const fn has_destinations(&self) -> bool {
        !self.fqdns.is_empty() || !self.cidrs.is_empty()
    }
}

/// Every service of a site, the catalogue's first.
#[derive(Clone, Debug)]
pub struct Services<'a> {
    services: Vec<Service>,
    catalogue: &'a Catalogue,
}

impl<'a> Services<'a> {
    /// Returns the services of a configuration, with the faults of its keys `tenant`, `region` and
    /// `services`.
    #[must_use]
    pub fn of(config: &Config, catalogue: &'a Catalogue) -> (Self, Vec<FileError>) {
        let mut builder = Builder { config, catalogue, services: Vec::new(), errors: Vec::new() };
        let selector = builder.selector();
        builder.services = from_catalogue(catalogue, &selector);
        for (index, site) in config.services.iter().enumerate() {
            builder.site_service(&format!("services[{index}]"), site);
        }
        builder.follow();
        (Self { services: builder.services, catalogue }, builder.errors)
    }

    /// Returns every service.
    #[must_use]
    pub fn all(&self) -> &[Service] {
        &self.services
    }

    /// Returns the services that `name` stands for, and whether `name` is a service rather than a
    /// set.
    #[must_use]
    pub fn resolve(&self, name: &str) -> Option<(Vec<&Service>, bool)> {
        if name == ALL_SET {
            return Some((self.services.iter().collect(), false));
        }
        if let Some(service) = self.services.iter().find(|service| service.id == name) {
            return Some((vec![service], true));
        }
        let named = self.catalogue.resolve(name)?;
        let ours = |id: &str| self.services.iter().find(|service| service.id == id);
        let services = named.iter().filter_map(|service| ours(&service.id)).collect();
        Some((services, !self.catalogue.named(name).is_empty()))
    }

    /// Returns every name that [`Self::resolve`] accepts, except aliases.
    #[must_use]
    pub fn names(&self) -> Vec<&str> {
        let ids = self.services.iter().map(|service| service.id.as_str());
        self.catalogue.sets().into_iter().chain(ids).collect()
    }
}

fn from_catalogue(catalogue: &Catalogue, selector: &Selector) -> Vec<Service> {
    let rule = |service: &crate::catalogue::Service, rule: &crate::catalogue::Rule| {
        let destinations = catalogue.destinations(service, rule, selector);
        Rule {
            id: service.rule_id(rule),
            fqdns: destinations.fqdns,
            cidrs: destinations.cidrs,
            ports: rule.ports.clone(),
            site_networks: rule.site_networks,
            destinations_of: rule.destinations_of.clone(),
        }
    };
    let service = |service: &crate::catalogue::Service| Service {
        id: service.id.clone(),
        title: service.title.clone(),
        origin: Origin::Catalogue,
        risk: service.risk.clone(),
        rules: service.rules.iter().map(|one| rule(service, one)).collect(),
    };
    catalogue.services().iter().map(service).collect()
}

struct Builder<'a> {
    config: &'a Config,
    catalogue: &'a Catalogue,
    services: Vec<Service>,
    errors: Vec<FileError>,
}

impl Builder<'_> {
    fn report(&mut self, key: impl Into<String>, message: impl Into<String>) {
        self.errors.push(self.config.error(key, message));
    }

    fn selector(&mut self) -> Selector {
        let region = match self.config.region {
            None | Some(Region::All) => None,
            Some(Region::NorthAmerica) => Some(crate::catalogue::Region::NorthAmerica),
            Some(Region::Europe) => Some(crate::catalogue::Region::Europe),
            Some(Region::AsiaPacific) => Some(crate::catalogue::Region::AsiaPacific),
        };
        let Some(tenant) = &self.config.tenant else {
            return region.map_or(Location::All, Location::Region).into();
        };
        let Some(location) = self.catalogue.tenant(tenant) else {
            self.report(
                "tenant",
                format!(
                    "unknown tenant location {tenant:?}, expected one such as AMSUB0502 (portal: \
                     Tenant administration, Tenant status) or the key region instead"
                ),
            );
            return Selector::default();
        };
        if self.config.region.is_some() && region != location.region() {
            let of_tenant = location.region().map_or("all", crate::catalogue::Region::as_str);
            self.report(
                "region",
                format!(
                    "contradicts tenant {tenant}, which is in {of_tenant}; expected one of them"
                ),
            );
        }
        location.into()
    }

    fn site_service(&mut self, key: &str, site: &SiteService) {
        if let Some(at) = self.services.iter().position(|service| service.id == site.id) {
            self.override_service(key, site, at);
        } else if let Some(service) = self.catalogue.service(&site.id) {
            let message = format!("another name of {}, expected that id", service.id);
            self.report(format!("{key}.id"), message);
        } else if self.catalogue.set(&site.id).is_some() {
            let message = format!("{} is a set of services, expected another id", site.id);
            self.report(format!("{key}.id"), message);
        } else if !site.id.is_empty() {
            self.own_service(key, site);
        }
    }

    fn own_service(&mut self, key: &str, site: &SiteService) {
        let only = [SiteRule { id: ONLY_RULE.to_owned(), parts: site.parts.clone() }];
        let rules = if site.rules.is_empty() { &only } else { &site.rules[..] };
        let mut service = Service {
            id: site.id.clone(),
            title: site.title.clone().unwrap_or_else(|| site.id.clone()),
            origin: Origin::Site,
            risk: None,
            rules: Vec::new(),
        };
        for (index, rule) in rules.iter().enumerate() {
            let key = rule_key(key, site, index);
            for (protocol, ports) in rule.parts.ports.iter() {
                if ports.as_ref().is_some_and(Vec::is_empty) {
                    let key = format!("{key}.{}", protocol.as_str());
                    self.report(key, "an empty port list, expected ports");
                }
            }
            let id = RuleId { service: site.id.clone(), rule: rule.id.clone() };
            let mut own = Rule {
                id,
                fqdns: Vec::new(),
                cidrs: Vec::new(),
                ports: Ports::default(),
                site_networks: false,
                destinations_of: None,
            };
            own.replace(&rule.parts);
            self.complete(&key, &own, &rule.parts);
            service.rules.push(own);
        }
        self.services.push(service);
    }

    fn override_service(&mut self, key: &str, site: &SiteService, at: usize) {
        if site.parts.is_empty() && site.rules.is_empty() && site.title.is_none() {
            let ports = protocols(", ");
            let message =
                format!("overrides nothing, expected title, fqdns, cidrs, {ports} or rules");
            self.report(key, message);
        }
        // Taken out, so that faults can be reported while it changes.
        let Some(mut service) = self.services.get(at).cloned() else { return };
        service.origin = Origin::Overridden;
        if let Some(title) = &site.title {
            service.title.clone_from(title);
        }
        if !site.parts.is_empty() {
            self.override_only_rule(key, &site.parts, &mut service);
        }
        for (index, changed) in site.rules.iter().enumerate() {
            let key = rule_key(key, site, index);
            if let Some(rule) = service.rules.iter_mut().find(|rule| rule.id.rule == changed.id) {
                rule.replace(&changed.parts);
                self.complete(&key, rule, &changed.parts);
            } else {
                let message =
                    format!("{} has no such rule, expected one of {}", site.id, rule_ids(&service));
                self.report(format!("{key}.id"), message);
            }
        }
        if let Some(overridden) = self.services.get_mut(at) {
            *overridden = service;
        }
    }

    fn override_only_rule(&mut self, key: &str, parts: &Parts, service: &mut Service) {
        if let [rule] = &mut service.rules[..] {
            rule.replace(parts);
            self.complete(key, rule, parts);
            return;
        }
        let cidrs_alone = parts.fqdns.is_none() && parts.ports.all(Option::is_none);
        if cidrs_alone && service.rules.iter().any(|rule| rule.site_networks) {
            for rule in service.rules.iter_mut().filter(|rule| rule.site_networks) {
                rule.replace(parts);
                self.complete(key, rule, parts);
            }
            return;
        }
        let message = format!(
            "{} has several rules ({}), expected each that changes to be named under rules",
            service.id,
            rule_ids(service)
        );
        self.report(key, message);
    }

    /// Reports a rule of the site that cannot allow anything.
    fn complete(&mut self, key: &str, rule: &Rule, parts: &Parts) {
        if rule.ports.all(Vec::is_empty) {
            let at = parts.ports.iter().find(|(_, ports)| ports.is_some());
            let key = at.map_or(key.to_owned(), |(at, _)| format!("{key}.{}", at.as_str()));
            // The empty list of a service of the site's own was reported as such.
            if !self.errors.iter().any(|error| error.key == key) {
                let message = format!("no port, expected at least one under {}", protocols(" or "));
                self.report(key, message);
            }
        }
        if !rule.has_destinations() && !rule.site_networks && rule.destinations_of.is_none() {
            self.report(key, "no destination, expected at least one under fqdns or cidrs");
        }
        for (name, repeated) in [
            ("fqdns", parts.fqdns.as_deref().and_then(first_repeated)),
            ("cidrs", parts.cidrs.as_deref().and_then(first_repeated)),
        ] {
            if let Some((index, text)) = repeated {
                self.report(format!("{key}.{name}[{index}]"), format!("{text} stands twice"));
            }
        }
    }

    /// Copies destinations, with the site's changes, to the rules that have those of another rule.
    fn follow(&mut self) {
        let own: BTreeMap<RuleId, (Vec<Pattern>, Vec<IpNet>)> = self
            .services
            .iter()
            .flat_map(|service| &service.rules)
            .map(|rule| (rule.id.clone(), (rule.fqdns.clone(), rule.cidrs.clone())))
            .collect();
        for rule in self.services.iter_mut().flat_map(|service| &mut service.rules) {
            if let Some((fqdns, cidrs)) = rule.destinations_of.as_ref().and_then(|id| own.get(id)) {
                rule.fqdns.clone_from(fqdns);
                rule.cidrs.clone_from(cidrs);
            }
        }
    }
}

impl Rule {
    /// Replaces the parts that the site names.
    fn replace(&mut self, parts: &Parts) {
        if self.destinations_of.is_some() && (parts.fqdns.is_some() || parts.cidrs.is_some()) {
            self.destinations_of = None;
            self.fqdns.clear();
            self.cidrs.clear();
        }
        if let Some(fqdns) = &parts.fqdns {
            self.fqdns.clone_from(fqdns);
        }
        if let Some(cidrs) = &parts.cidrs {
            self.cidrs.clone_from(cidrs);
        }
        for (protocol, ports) in parts.ports.iter() {
            if let Some(ports) = ports {
                self.ports[protocol].clone_from(ports);
            }
        }
    }
}

fn rule_key(key: &str, site: &SiteService, index: usize) -> String {
    if site.rules.is_empty() { key.to_owned() } else { format!("{key}.rules[{index}]") }
}

fn rule_ids(service: &Service) -> String {
    service.rules.iter().map(|rule| rule.id.rule.as_str()).collect::<Vec<_>>().join(", ")
}

fn first_repeated<T: Hash + Eq + ToString>(values: &[T]) -> Option<(usize, String)> {
    let mut seen = HashSet::new();
    let mut each = values.iter().enumerate();
    each.find(|(_, value)| !seen.insert(*value)).map(|(index, value)| (index, value.to_string()))
}
