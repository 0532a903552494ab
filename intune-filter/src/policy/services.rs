//! Collects the services that a site's groups can name: the catalogue's, with the site's overrides
//! and for its tenant, and the site's own.

use std::collections::BTreeSet;

use super::{
    overrides::override_services,
    selector::selector,
    service::{Origin, Rule, Service},
};
use crate::{
    catalogue::{ALL_SET, Catalogue, Selector},
    config::{ClientGroup, Config},
    yaml::FileError,
};

/// Every service of a site, the catalogue's first.
#[derive(Clone, Debug)]
pub struct Services<'a> {
    services: Vec<Service>,
    catalogue: &'a Catalogue,
    selector: Selector,
    warnings: Vec<FileError>,
}

impl<'a> Services<'a> {
    /// Returns the services of a configuration, with the faults of the keys that need the
    /// catalogue.
    #[must_use]
    pub fn of(config: &Config, catalogue: &'a Catalogue) -> (Self, Vec<FileError>) {
        let (selector, mut errors, mut warnings) = selector(config, catalogue);
        let mut services = from_catalogue(catalogue, &selector);
        let (refused, warned) = override_services(config, catalogue, &mut services);
        errors.extend(refused);
        warnings.extend(warned);
        (Self { services, catalogue, selector, warnings }, errors)
    }

    /// Returns what the site says of itself.
    #[must_use]
    pub const fn selector(&self) -> &Selector {
        &self.selector
    }

    /// Returns warnings about keys that have less effect, or another one, than they say.
    #[must_use]
    pub fn warnings(&self) -> &[FileError] {
        &self.warnings
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

    /// Returns the ids of the services that groups of clients have, by themselves or in a set.
    #[must_use]
    pub fn enabled<'g>(&self, groups: impl IntoIterator<Item = &'g ClientGroup>) -> BTreeSet<&str> {
        let names = groups.into_iter().flat_map(|group| &group.services);
        let services =
            names.filter_map(|name| self.resolve(name)).flat_map(|(services, _)| services);
        services.map(|service| service.id.as_str()).collect()
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
        risk: catalogue.risk(service, selector),
        rules: service.rules.iter().map(|one| rule(service, one)).collect(),
    };
    catalogue.services().iter().map(service).collect()
}
