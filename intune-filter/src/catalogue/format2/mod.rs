//! Reads catalogues of format 2: an edition file, and files of services with a source for every
//! datum.

mod check;
mod document;
mod edition;
mod parsed;
#[cfg(test)]
mod site_tests;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use self::{check::check, parsed::Parsed};
use super::{Catalogue, CatalogueError, Edition};
use crate::yaml::{FileError, FileErrors, Text};

/// Name of the edition file.
pub(super) const EDITION: &str = "edition.yaml";

/// Whether a file is the edition file, by its name.
pub(super) fn is_edition(name: &str) -> bool {
    name.rsplit('/').next() == Some(EDITION)
}

/// Parses and checks the files as one catalogue; one of them is the edition file.
pub(super) fn parse<'a>(
    edition: (&str, Text<'_>),
    files: impl IntoIterator<Item = (&'a str, Text<'a>)>,
) -> Result<Catalogue, CatalogueError> {
    let edition: Parsed<edition::File> = Parsed::parse(edition.0, edition.1, "an edition")?;
    let files = files
        .into_iter()
        .map(|(name, text)| Parsed::parse(name, text, "a catalogue"))
        .collect::<Result<Vec<Parsed<document::File>>, _>>()?;
    let base = edition.value.extends.as_deref().and_then(Catalogue::edition_named);
    let mut faults: BTreeMap<usize, Vec<FileError>> = BTreeMap::new();
    for (file, fault) in check(&files, &edition, base) {
        faults.entry(file).or_default().push(fault);
    }
    // One file's faults at once, as of a configuration; those of the edition file, on which the
    // others depend, before all.
    let first = faults.remove_entry(&files.len()).or_else(|| faults.pop_first());
    if let Some((file, faults)) = first {
        let name = files.get(file).map_or(&edition.name, |file| &file.name);
        return Err(CatalogueError::Invalid(FileErrors::new(name, faults)));
    }
    let edition::File { name, sources, tenants, sets, excused, .. } = edition.value;
    let mut catalogue = Catalogue {
        edition: Edition { name, sources, added: BTreeMap::new(), excused },
        services: Vec::new(),
        sets,
        tenants,
    };
    for document::File { sources, services } in files.into_iter().map(|file| file.value) {
        catalogue.edition.sources.extend(sources);
        catalogue.services.extend(services);
    }
    Ok(match base {
        Some(base) => added(base, catalogue),
        None => catalogue,
    })
}

/// Adds a site's catalogue, which has been checked, to an edition.
fn added(base: &Catalogue, site: Catalogue) -> Catalogue {
    let mut catalogue = base.clone();
    let edition = &mut catalogue.edition;
    edition.name = format!("{}+{}", edition.name, site.edition.name);
    edition.added.extend(site.edition.sources);
    edition.excused.extend(site.edition.excused);
    catalogue.services.extend(site.services);
    catalogue.sets.extend(site.sets);
    catalogue.tenants.extend(site.tenants);
    catalogue
}
