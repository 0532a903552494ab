//! Provides the endpoint catalogue: services with their rules and sources.
//!
//! The files in `config/catalogue` are built into the binary, and a directory can replace them.
//! Every [`Catalogue`] has passed [`check`].

mod check;
mod document;
mod error;
mod files;
mod selector;
mod service;
#[cfg(test)]
mod tests;

use std::{collections::BTreeMap, sync::LazyLock};

use self::{check::check, document::Document};
pub use self::{
    error::CatalogueError,
    files::CatalogueFiles,
    selector::{Destinations, Selector},
    service::{ALL_SET, DEFAULT_SET, Date, Provenance, Region, Rule, RuleId, Selected, Service},
};

/// Files of the built-in catalogue.
const BUILTIN: &[(&str, &str)] = &[
    ("core.yaml", include_str!("../../../config/catalogue/core.yaml")),
    ("windows.yaml", include_str!("../../../config/catalogue/windows.yaml")),
    ("updates.yaml", include_str!("../../../config/catalogue/updates.yaml")),
    ("apps.yaml", include_str!("../../../config/catalogue/apps.yaml")),
    ("support.yaml", include_str!("../../../config/catalogue/support.yaml")),
    ("security.yaml", include_str!("../../../config/catalogue/security.yaml")),
    ("apple.yaml", include_str!("../../../config/catalogue/apple.yaml")),
    ("android.yaml", include_str!("../../../config/catalogue/android.yaml")),
];

/// Services that have been checked, each by itself and all together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Catalogue {
    services: Vec<Service>,
    tenants: BTreeMap<String, Region>,
}

impl Catalogue {
    /// Returns the catalogue that is built into the binary.
    ///
    /// # Panics
    /// Never: the files are constants, and a test parses them.
    #[must_use]
    #[expect(clippy::panic, reason = "the files are constants, and a test parses them")]
    pub fn builtin() -> &'static Self {
        static CATALOGUE: LazyLock<Catalogue> = LazyLock::new(|| {
            Catalogue::parse(BUILTIN.iter().copied())
                .unwrap_or_else(|error| panic!("built-in catalogue: {error}"))
        });
        &CATALOGUE
    }

    /// Parses a catalogue from the names and texts of its files.
    ///
    /// # Errors
    /// A text is no catalogue, or a check refuses it; the error has file and line.
    pub fn parse<'a>(
        files: impl IntoIterator<Item = (&'a str, &'a str)>,
    ) -> Result<Self, CatalogueError> {
        let documents = files
            .into_iter()
            .map(|(name, text)| Document::parse(name, text))
            .collect::<Result<Vec<_>, _>>()?;
        let tenants = check(&documents)?;
        let services = documents.into_iter().flat_map(|document| document.services).collect();
        Ok(Self { services, tenants })
    }

    /// Returns every service, in the order of the files.
    #[must_use]
    pub fn services(&self) -> &[Service] {
        &self.services
    }

    /// Returns the service with an id or alias.
    #[must_use]
    pub fn service(&self, name: &str) -> Option<&Service> {
        self.services
            .iter()
            .find(|service| service.id == name || service.aliases.iter().any(|alias| alias == name))
    }

    /// Returns the rule with an id, and its service.
    #[must_use]
    pub fn rule(&self, id: &RuleId) -> Option<(&Service, &Rule)> {
        let service = self.services.iter().find(|service| service.id == id.service)?;
        Some((service, service.rule(&id.rule)?))
    }

    /// Returns the services of a set: `default`, `all`, or one that services name; `None` for an
    /// unknown set.
    #[must_use]
    pub fn set(&self, name: &str) -> Option<Vec<&Service>> {
        let services: Vec<_> = self.services.iter().filter(|service| service.is_in(name)).collect();
        (!services.is_empty() || name == DEFAULT_SET || name == ALL_SET).then_some(services)
    }

    /// Returns the names of all sets, in alphabetical order.
    #[must_use]
    pub fn sets(&self) -> Vec<&str> {
        let mut names: Vec<&str> = self
            .services
            .iter()
            .flat_map(|service| service.sets.iter().map(String::as_str))
            .chain([DEFAULT_SET, ALL_SET])
            .collect();
        names.sort_unstable();
        names.dedup();
        names
    }

    /// Returns the services that `name` stands for in a configuration: an id, an alias or a set.
    #[must_use]
    pub fn resolve(&self, name: &str) -> Option<Vec<&Service>> {
        self.service(name).map(|service| vec![service]).or_else(|| self.set(name))
    }

    /// Returns every tenant location with its region, in alphabetical order.
    pub fn tenants(&self) -> impl Iterator<Item = (&str, Region)> {
        self.tenants.iter().map(|(tenant, region)| (tenant.as_str(), *region))
    }

    /// Returns the region of a tenant location such as `AMSUB0502`.
    #[must_use]
    pub fn region_of(&self, tenant: &str) -> Option<Region> {
        self.tenants.get(tenant).copied()
    }

    /// Returns the selector of a tenant location such as `AMSUB0502`, in any case; `None` if no
    /// service has the location.
    #[must_use]
    pub fn tenant(&self, tenant: &str) -> Option<Selector> {
        let tenant = tenant.to_ascii_uppercase();
        let region = self.region_of(&tenant)?;
        Some(Selector::Tenant { tenant, region })
    }

    /// Returns the destinations of a rule under `selector`; none if the site has to name them.
    #[must_use]
    pub fn destinations<'a>(&'a self, rule: &'a Rule, selector: &Selector) -> Destinations<'a> {
        let target = rule.destinations_of.as_ref().and_then(|id| self.rule(id));
        Destinations::of(target.map_or(rule, |(_, target)| target), selector)
    }
}
