//! Applies the site's entries to the catalogue's services, and adds the services of its own.
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
//! - An entry with an id of an earlier edition changes what that service has become: all services and
//!   rules that have taken it over, with a warning.
//! - An empty `tcp` or `udp` removes those ports, provided that the rule keeps a port of the other
//!   protocol.
//!
//! Any other entry is a service of the site's own, in the set `all` and in no other.

use std::{
    collections::{BTreeMap, HashSet},
    hash::Hash,
};

use ipnet::IpNet;

use super::service::{Origin, Rule, Service};
use crate::{
    catalogue::{Catalogue, RuleId},
    config::{Config, Parts, SiteRule, SiteService},
    pattern::Pattern,
    ports::{Ports, protocols},
    yaml::FileError,
};

/// Id of the only rule of a site's service without `rules`.
const ONLY_RULE: &str = "site";

/// Applies the site's entries to the catalogue's services. Returns faults and warnings.
pub(super) fn override_services(
    config: &Config,
    catalogue: &Catalogue,
    services: &mut Vec<Service>,
) -> (Vec<FileError>, Vec<FileError>) {
    let mut builder =
        Builder { config, catalogue, services, errors: Vec::new(), warnings: Vec::new() };
    for (index, site) in config.services.iter().enumerate() {
        builder.site_service(&format!("services[{index}]"), site);
    }
    builder.follow();
    (builder.errors, builder.warnings)
}

struct Builder<'a> {
    config: &'a Config,
    catalogue: &'a Catalogue,
    services: &'a mut Vec<Service>,
    errors: Vec<FileError>,
    warnings: Vec<FileError>,
}

impl Builder<'_> {
    fn report(&mut self, key: impl Into<String>, message: impl Into<String>) {
        self.errors.push(self.config.error(key, message));
    }

    fn warn(&mut self, key: impl Into<String>, message: impl Into<String>) {
        self.warnings.push(self.config.error(key, message));
    }

    /// Returns the service that had an id in an earlier edition, which entries of a site may mean.
    fn earlier(&self, id: &str) -> Option<&'static crate::catalogue::Service> {
        let now = &self.catalogue.edition().name;
        let mut earlier = Catalogue::editions().take_while(|name| name != now);
        // Of a site's own catalogue no edition is known to be earlier.
        Catalogue::editions().find(|name| name == now)?;
        earlier.find_map(|name| {
            let services = Catalogue::edition_named(name)?.services();
            services.iter().find(|service| service.id == id)
        })
    }

    fn site_service(&mut self, key: &str, site: &SiteService) {
        if self.services.iter().any(|service| service.id == site.id) {
            self.override_services(key, site, std::slice::from_ref(&site.id));
            return;
        }
        let named = self.catalogue.named(&site.id);
        let named: Vec<String> = named.into_iter().map(|service| service.id.clone()).collect();
        if !named.is_empty() {
            let (list, now) = (named.join(" and "), &self.catalogue.edition().name);
            if self.earlier(&site.id).is_some() {
                let message = format!("in edition {now} this is {list}, and all of it is changed");
                self.warn(format!("{key}.id"), message);
                self.override_services(key, site, &named);
            } else {
                let message = format!("another name of {list}, expected that id");
                self.report(format!("{key}.id"), message);
            }
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

    /// Changes services: one, or those into which an edition has split it.
    fn override_services(&mut self, key: &str, site: &SiteService, ids: &[String]) {
        if site.parts.is_empty() && site.rules.is_empty() && site.title.is_none() {
            let ports = protocols(", ");
            let message =
                format!("overrides nothing, expected title, fqdns, cidrs, {ports} or rules");
            self.report(key, message);
        }
        for service in self.services.iter_mut().filter(|service| ids.contains(&service.id)) {
            service.origin = Origin::Overridden;
            if let Some(title) = &site.title {
                service.title.clone_from(title);
            }
        }
        if !site.parts.is_empty() {
            self.override_whole(key, site, ids);
        }
        for (index, changed) in site.rules.iter().enumerate() {
            let key = rule_key(key, site, index);
            let rules = self.rules_meant(site, &changed.id, ids);
            if rules.is_empty() {
                let message =
                    format!("{} has no such rule, expected one of {}", site.id, self.rule_ids(ids));
                self.report(format!("{key}.id"), message);
            }
            for id in rules {
                self.change(&key, &id, &changed.parts);
            }
        }
    }

    /// Returns the rules of services that an entry names, by their ids of this edition or of an
    /// earlier one.
    fn rules_meant(&self, site: &SiteService, rule: &str, ids: &[String]) -> Vec<RuleId> {
        let of_services = self.rules_of(ids).filter(|id| id.rule == rule);
        let found: Vec<RuleId> = of_services.cloned().collect();
        if !found.is_empty() || self.earlier(&site.id).is_none() {
            return found;
        }
        let id = RuleId { service: site.id.clone(), rule: rule.to_owned() };
        let renamed = self.catalogue.rules_named(&id).into_iter();
        renamed.map(|(service, rule)| service.rule_id(rule)).collect()
    }

    fn rules_of<'s>(&'s self, ids: &'s [String]) -> impl Iterator<Item = &'s RuleId> {
        let services = self.services.iter().filter(|service| ids.contains(&service.id));
        services.flat_map(|service| service.rules.iter().map(|rule| &rule.id))
    }

    fn rule_ids(&self, ids: &[String]) -> String {
        self.rules_of(ids).map(|id| id.rule.as_str()).collect::<Vec<_>>().join(", ")
    }

    /// Applies keys without `rules` to the rules that can be meant.
    fn override_whole(&mut self, key: &str, site: &SiteService, ids: &[String]) {
        let parts = &site.parts;
        let cidrs_alone = parts.fqdns.is_none() && parts.ports.all(Option::is_none);
        let rules: Vec<RuleId> = self.rules_of(ids).cloned().collect();
        let of_site: Vec<RuleId> = self
            .services
            .iter()
            .filter(|service| ids.contains(&service.id))
            .flat_map(|service| service.rules.iter().filter(|rule| rule.site_networks))
            .map(|rule| rule.id.clone())
            .collect();
        let meant = if rules.len() == 1 {
            rules
        } else if cidrs_alone && !of_site.is_empty() {
            of_site
        } else if self.earlier(&site.id).is_some_and(|service| service.rules.len() == 1) {
            // What was written for a service of one rule has to go on working.
            let (list, now) = (self.rule_ids(ids), &self.catalogue.edition().name);
            let message =
                format!("in edition {now} {} has several rules, and all change: {list}", site.id);
            self.warn(key, message);
            rules
        } else {
            let message = format!(
                "{} has several rules ({}), expected each that changes to be named under rules",
                site.id,
                self.rule_ids(ids)
            );
            self.report(key, message);
            return;
        };
        for id in meant {
            self.change(key, &id, parts);
        }
    }

    /// Replaces the parts of a rule that the site names.
    fn change(&mut self, key: &str, id: &RuleId, parts: &Parts) {
        let services = self.services.iter_mut();
        let Some(service) = services.into_iter().find(|service| service.id == id.service) else {
            return;
        };
        service.origin = Origin::Overridden;
        let Some(rule) = service.rules.iter_mut().find(|rule| rule.id == *id) else { return };
        rule.replace(parts);
        let rule = rule.clone();
        self.complete(key, &rule, parts);
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
        // A rule of the catalogue may have none for the site's tenant.
        let is_named = parts.fqdns.is_some() || parts.cidrs.is_some();
        let is_own = self.catalogue.rule(&rule.id).is_none();
        if !rule.has_destinations()
            && !rule.site_networks
            && rule.destinations_of.is_none()
            && (is_named || is_own)
        {
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

fn rule_key(key: &str, site: &SiteService, index: usize) -> String {
    if site.rules.is_empty() { key.to_owned() } else { format!("{key}.rules[{index}]") }
}

fn first_repeated<T: Hash + Eq + ToString>(values: &[T]) -> Option<(usize, String)> {
    let mut seen = HashSet::new();
    let mut each = values.iter().enumerate();
    each.find(|(_, value)| !seen.insert(*value)).map(|(index, value)| (index, value.to_string()))
}
