//! Selects the data that a site's variables leave.

use std::collections::{BTreeSet, HashSet};

use ipnet::IpNet;

use super::{
    Address, Catalogue, Cloud, Datum, Region, Risk, Rule, Service, Status, Template, Variable,
};
use crate::pattern::Pattern;

/// What a site says of itself.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Selector {
    /// Cloud of the tenant.
    pub cloud: Cloud,
    /// Location of the tenant.
    pub location: Location,
    /// Domains of the site's own.
    pub domains: Vec<String>,
    /// Countries of the site's devices; empty for all.
    pub countries: Vec<String>,
    /// Whether the tenant is in GCC.
    pub gcc: bool,
    /// Whether data that the documents no longer have are taken.
    pub legacy: bool,
    /// Ids of the services whose observed data are taken.
    pub observed: BTreeSet<String>,
}

/// Location of a site's tenant.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Location {
    /// Unknown location: every region and tenant location.
    #[default]
    All,
    /// Region, without a tenant location.
    Region(Region),
    /// Tenant location, known to some edition.
    Tenant {
        /// Name of the location, such as `AMSUB0502`.
        tenant: String,
        /// Region of the location.
        region: Region,
    },
}

impl Location {
    /// Returns the region, if there is a single one.
    #[must_use]
    pub const fn region(&self) -> Option<Region> {
        match self {
            Self::All => None,
            Self::Region(region) | Self::Tenant { region, .. } => Some(*region),
        }
    }
}

impl From<Location> for Selector {
    fn from(location: Location) -> Self {
        Self { location, ..Self::default() }
    }
}

impl Selector {
    /// Whether the site takes a datum of a service, as far as its status and its conditions go. A
    /// template may still come to nothing.
    #[must_use]
    pub fn takes(&self, catalogue: &Catalogue, service: &str, datum: &Datum) -> bool {
        let of_status = match datum.status {
            Status::Current => true,
            Status::Legacy => self.legacy,
            Status::Observed => self.observed.contains(service),
        };
        of_status && self.is_for(catalogue, datum)
    }

    /// Whether a datum is for a site such as this, whatever its status.
    #[must_use]
    pub fn is_for(&self, catalogue: &Catalogue, datum: &Datum) -> bool {
        let when = &datum.when;
        let country = |country: &String| when.country.contains(country);
        (when.cloud.is_empty() || when.cloud.contains(&self.cloud))
            && (!when.gcc || self.gcc)
            && (when.country.is_empty()
                || self.countries.is_empty()
                || self.countries.iter().any(country))
            && self.is_where(catalogue, &when.region, &when.tenant)
    }

    fn is_where(&self, catalogue: &Catalogue, regions: &[Region], tenants: &[String]) -> bool {
        let in_region = |region| regions.is_empty() || regions.contains(&region);
        match &self.location {
            Location::All => true,
            Location::Region(region) => {
                let of_region = |tenant: &String| catalogue.region_of(tenant) == Some(*region);
                in_region(*region) && (tenants.is_empty() || tenants.iter().any(of_region))
            }
            Location::Tenant { tenant, region } => {
                in_region(*region) && (tenants.is_empty() || tenants.contains(tenant))
            }
        }
    }

    /// Returns the names that a template stands for at this site.
    #[must_use]
    pub fn fill(&self, catalogue: &Catalogue, template: &Template) -> Vec<Pattern> {
        let all =
            |values: &[String]| values.iter().filter_map(|value| template.fill(value)).collect();
        match template.variable() {
            Variable::Domain => all(&self.domains),
            Variable::Country => all(&self.countries),
            // A tenant location that the edition does not know has no name made of it.
            Variable::Tenant => catalogue
                .tenants()
                .filter(|(tenant, region)| match &self.location {
                    Location::All => true,
                    Location::Region(of) => of == region,
                    Location::Tenant { tenant: of, .. } => of == tenant,
                })
                .filter_map(|(tenant, _)| template.fill(tenant))
                .collect(),
        }
    }
}

/// Destinations of a rule, each once.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Destinations {
    /// Name patterns.
    pub fqdns: Vec<Pattern>,
    /// Prefixes.
    pub cidrs: Vec<IpNet>,
}

impl Destinations {
    /// Returns the destinations of a service's data.
    fn of(catalogue: &Catalogue, service: &str, data: &[Datum], selector: &Selector) -> Self {
        let mut destinations = Self::default();
        let (mut fqdns, mut cidrs) = (HashSet::new(), HashSet::new());
        for datum in data.iter().filter(|datum| selector.takes(catalogue, service, datum)) {
            // What several data have stands once, since regions and tenants share destinations.
            let mut add = |pattern: &Pattern| {
                if fqdns.insert(pattern.clone()) {
                    destinations.fqdns.push(pattern.clone());
                }
            };
            match &datum.address {
                Address::Fqdn(pattern) => add(pattern),
                Address::Template(template) => {
                    selector.fill(catalogue, template).iter().for_each(add);
                }
                Address::Cidr(cidr) => {
                    if cidrs.insert(*cidr) {
                        destinations.cidrs.push(*cidr);
                    }
                }
            }
        }
        destinations
    }
}

impl Catalogue {
    /// Returns what a service opens beyond its purpose: in its own words, and of the data that a
    /// site takes.
    #[must_use]
    pub fn risk(&self, service: &Service, selector: &Selector) -> Option<String> {
        let data = service.rules.iter().flat_map(|rule| &rule.to);
        let taken = data.filter(|datum| selector.takes(self, &service.id, datum));
        let risks: BTreeSet<Risk> = taken.filter_map(|datum| datum.risk).collect();
        let texts = risks.into_iter().map(|risk| risk.text().to_owned());
        let texts: Vec<String> = service.risk.iter().cloned().chain(texts).collect();
        (!texts.is_empty()).then(|| texts.join("; "))
    }

    /// Returns the destinations of a service's rule for a site; none if the site has to name them.
    #[must_use]
    pub fn destinations(
        &self,
        service: &Service,
        rule: &Rule,
        selector: &Selector,
    ) -> Destinations {
        let target = rule.destinations_of.as_ref().and_then(|id| self.rule(id));
        let (service, rule) = target.unwrap_or((service, rule));
        Destinations::of(self, &service.id, &rule.to, selector)
    }
}
