//! Holds edition 2026-08 against what the documents print, and against what a site needs of it.
//!
//! `rows` and the tables beside it are facts of the documents: their first line names the document
//! and its date.

mod documents;
mod fixtures;
mod judge;
mod promises;

use intune_filter::catalogue::{Catalogue, Cloud, Datum, Location, Selector, Service};

use crate::judge::{COUNTRY, DOMAIN};

const CLOUDS: [Cloud; 3] = [Cloud::Worldwide, Cloud::UsGovernment, Cloud::China];

fn edition() -> &'static Catalogue {
    Catalogue::edition_named("2026-08").unwrap()
}

fn old() -> &'static Catalogue {
    Catalogue::edition_named("2023-09").unwrap()
}

/// Site that names its domain and country.
fn site(cloud: Cloud, location: Location) -> Selector {
    Selector {
        cloud,
        location,
        domains: vec![DOMAIN.to_owned()],
        countries: vec![COUNTRY.to_owned()],
        ..Selector::default()
    }
}

/// Site that takes whatever the edition has for a cloud.
fn everything(catalogue: &Catalogue, cloud: Cloud) -> Selector {
    let observed = catalogue.services().iter().map(|service| service.id.clone()).collect();
    Selector { gcc: true, legacy: true, observed, ..site(cloud, Location::All) }
}

fn data(service: &Service) -> impl Iterator<Item = &Datum> {
    service.rules.iter().flat_map(|rule| &rule.to)
}
