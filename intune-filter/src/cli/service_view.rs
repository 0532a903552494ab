//! Collects the services that commands show: the site's, or without a configuration the whole
//! catalogue's of all regions.

use super::error::Failure;
use crate::{
    catalogue::{Address, Catalogue, DEFAULT_SET, Selector},
    config::Config,
    policy::Services,
    report::{CatalogueRule, CatalogueService},
};

/// Source of what the site has written itself.
const THIS_SITE: &str = "this site";

/// Returns the services of a configuration, or without one of the catalogue.
pub(super) fn services(
    config: Option<&Config>,
    catalogue: &Catalogue,
) -> Result<Vec<CatalogueService>, Failure> {
    match config {
        Some(config) => of_site(config, catalogue),
        None => Ok(of_catalogue(catalogue)),
    }
}

/// Returns the services of a catalogue, with the destinations of every site.
pub(crate) fn of_catalogue(catalogue: &Catalogue) -> Vec<CatalogueService> {
    catalogue
        .services()
        .iter()
        .map(|service| CatalogueService {
            id: service.id.clone(),
            title: service.title.clone(),
            source: catalogue.cite(service),
            enabled: catalogue.sets_of(service).contains(&DEFAULT_SET),
            region: "all",
            risk: service.risk.clone(),
            notes: service.notes.clone(),
            rules: service
                .rules
                .iter()
                .map(|rule| {
                    let destinations = catalogue.destinations(service, rule, &Selector::default());
                    CatalogueRule {
                        id: service.rule_id(rule).to_string(),
                        fqdns: destinations.fqdns,
                        cidrs: destinations.cidrs,
                        ports: rule.ports.clone(),
                    }
                })
                .collect(),
        })
        .collect()
}

fn of_site(config: &Config, catalogue: &Catalogue) -> Result<Vec<CatalogueService>, Failure> {
    let (services, errors) = Services::of(config, catalogue);
    if !errors.is_empty() {
        return Err(config.errors(errors).into());
    }
    let enabled = services.enabled(&config.clients);
    let region = config
        .tenant
        .as_deref()
        .and_then(|tenant| catalogue.tenant(tenant))
        .and_then(|selector| selector.region())
        .map(crate::catalogue::Region::as_str)
        .or_else(|| config.region.map(crate::config::Region::as_str))
        .unwrap_or("all");
    let listed = services.all().iter().map(|service| {
        let origin = catalogue.service(&service.id);
        CatalogueService {
            id: service.id.clone(),
            title: service.title.clone(),
            source: origin.map_or(THIS_SITE.to_owned(), |origin| catalogue.cite(origin)),
            enabled: enabled.contains(service.id.as_str()),
            region,
            risk: service.risk.clone(),
            notes: origin.map(|origin| origin.notes.clone()).unwrap_or_default(),
            rules: service
                .rules
                .iter()
                .map(|rule| CatalogueRule {
                    id: rule.id.to_string(),
                    fqdns: rule.fqdns.clone(),
                    cidrs: rule.cidrs.clone(),
                    ports: rule.ports.clone(),
                })
                .collect(),
        }
    });
    Ok(listed.collect())
}

/// Returns the sources of a rule's destination, or of all that the rule has: places in the documents,
/// or `this site`.
#[must_use]
pub(super) fn sources(catalogue: &Catalogue, rule: &str, destination: Option<&str>) -> Vec<String> {
    let rule = rule.parse().ok().and_then(|id| catalogue.rule(&id));
    let Some((_, rule)) = rule else { return vec![THIS_SITE.to_owned()] };
    let is_meant = |address: &Address| {
        destination.is_none_or(|destination| match address {
            Address::Fqdn(pattern) => {
                pattern.as_str() == destination || pattern.matches(destination)
            }
            Address::Template(template) => template.may_be(destination),
            Address::Cidr(cidr) => cidr.to_string() == destination,
        })
    };
    let data = catalogue.data(rule).iter().filter(|datum| is_meant(&datum.address));
    let mut sources: Vec<String> = Vec::new();
    for source in data.map(|datum| catalogue.edition().cite(&datum.from)) {
        if !sources.contains(&source) {
            sources.push(source);
        }
    }
    if sources.is_empty() { vec![THIS_SITE.to_owned()] } else { sources }
}
