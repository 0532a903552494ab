//! Reads what a site says of itself, as far as it needs the catalogue.

use crate::{
    catalogue::{Catalogue, LATEST_WORD, Location, Selector},
    config::{Choice, Config, Region},
    nearest::nearest,
    yaml::FileError,
};

/// Returns the site's variables, with faults and warnings of their keys.
pub(super) fn selector(
    config: &Config,
    catalogue: &Catalogue,
) -> (Selector, Vec<FileError>, Vec<FileError>) {
    let mut reader = Reader { config, catalogue, errors: Vec::new(), warnings: Vec::new() };
    let location = reader.location();
    let Choice { edition, cloud, domains, country, gcc, catalogue: off } = &config.choice;
    if config.paths.catalogue.is_some() && edition != LATEST_WORD {
        let message = "has no effect: paths.catalogue is in place of every edition";
        reader.warnings.push(config.error("edition", message));
    }
    let mut selector = Selector {
        cloud: *cloud,
        location,
        domains: domains.clone(),
        countries: country.clone(),
        gcc: *gcc,
        legacy: off.legacy,
        ..Selector::default()
    };
    for (at, name) in off.observed.iter().enumerate() {
        let named = catalogue.named(name);
        if named.is_empty() {
            let ids = catalogue.services().iter().map(|service| service.id.as_str());
            let message = format!("unknown service {name:?}, expected the id of one");
            let error = config.error(format!("catalogue.observed[{at}]"), message);
            reader.errors.push(error.meaning(nearest(name, ids)));
        }
        selector.observed.extend(named.into_iter().map(|service| service.id.clone()));
    }
    (selector, reader.errors, reader.warnings)
}

struct Reader<'a> {
    config: &'a Config,
    catalogue: &'a Catalogue,
    errors: Vec<FileError>,
    warnings: Vec<FileError>,
}

impl Reader<'_> {
    fn location(&mut self) -> Location {
        let config = self.config;
        let region = match config.region {
            None | Some(Region::All) => None,
            Some(Region::NorthAmerica) => Some(crate::catalogue::Region::NorthAmerica),
            Some(Region::Europe) => Some(crate::catalogue::Region::Europe),
            Some(Region::AsiaPacific) => Some(crate::catalogue::Region::AsiaPacific),
        };
        let Some(tenant) = &config.tenant else {
            return region.map_or(Location::All, Location::Region);
        };
        let tenant = tenant.to_ascii_uppercase();
        let Some((of_tenant, edition)) = self.catalogue.find_tenant(&tenant) else {
            let every = self.catalogue.every_tenant();
            let near = nearest(&tenant, every.iter().map(String::as_str));
            let listed = every.iter().map(String::as_str).collect::<Vec<_>>().join(", ");
            let message = format!(
                "unknown tenant location {tenant:?} (portal: Tenant administration, Tenant status), \
                 expected the key region instead, or one of {listed}"
            );
            self.errors.push(config.error("tenant", message).meaning(near));
            return Location::All;
        };
        let now = &self.catalogue.edition().name;
        if edition != now {
            let message = format!(
                "{tenant} is known to edition {edition} and not to {now}: its region {of_tenant} \
                 counts, and nothing is known that is the tenant's alone"
            );
            self.warnings.push(config.error("tenant", message));
        }
        if config.region.is_some() && region != Some(of_tenant) {
            let message = format!(
                "contradicts tenant {tenant}, which is in {of_tenant}; expected one of them"
            );
            self.errors.push(config.error("region", message));
        }
        Location::Tenant { tenant, region: of_tenant }
    }
}
