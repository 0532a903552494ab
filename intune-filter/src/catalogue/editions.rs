//! Holds the editions that are built into the binary; only those that are asked for are parsed.

use std::{collections::BTreeSet, sync::OnceLock};

use super::{Catalogue, Location, Region};
use crate::yaml::Text;

include!(concat!(env!("OUT_DIR"), "/editions.rs"));

/// Name of the newest edition.
pub const LATEST: &str = "2026-08";

/// Word for the newest edition in configurations.
pub const LATEST_WORD: &str = "latest";

/// Edition as it is built in: its name, and the name and prepared text of each file.
type Builtin = (&'static str, &'static [(&'static str, &'static str)]);

impl Catalogue {
    /// Returns the newest built-in edition.
    ///
    /// # Panics
    /// Never: the files are constants, and a test parses them.
    #[must_use]
    #[expect(clippy::panic, reason = "the files are constants, and a test parses them")]
    pub fn builtin() -> &'static Self {
        Self::edition_named(LATEST).unwrap_or_else(|| panic!("no edition {LATEST}"))
    }

    /// Returns the built-in edition with a name, or the newest for `latest`.
    ///
    /// # Panics
    /// Never: the files are constants, and a test parses them.
    #[must_use]
    #[expect(clippy::panic, reason = "the files are constants, and a test parses them")]
    pub fn edition_named(name: &str) -> Option<&'static Self> {
        static PARSED: [OnceLock<Catalogue>; EDITIONS.len()] =
            [const { OnceLock::new() }; EDITIONS.len()];
        let name = if name == LATEST_WORD { LATEST } else { name };
        let mut editions = EDITIONS.iter().zip(&PARSED);
        let ((name, files), parsed) = editions.find(|((known, _), _)| *known == name)?;
        Some(parsed.get_or_init(|| {
            let files = files.iter().map(|(name, text)| (*name, Text::Prepared(text)));
            let mut catalogue = Self::parse_texts(files)
                .unwrap_or_else(|error| panic!("built-in edition {name}: {error}"));
            (*name).clone_into(&mut catalogue.edition.name);
            catalogue
        }))
    }

    /// Returns the names of the built-in editions, from the oldest.
    pub fn editions() -> impl DoubleEndedIterator<Item = &'static str> {
        EDITIONS.iter().map(|(name, _)| *name)
    }

    /// Returns the region of a tenant location, in any case, that this catalogue or another edition
    /// knows, with the name of the edition.
    #[must_use]
    pub fn find_tenant(&self, tenant: &str) -> Option<(Region, &str)> {
        let tenant = tenant.to_ascii_uppercase();
        if let Some(region) = self.region_of(&tenant) {
            return Some((region, &self.edition.name));
        }
        // The other editions are parsed for what is not in this one alone.
        let others = Self::editions().rev().filter(|name| *name != self.edition.name);
        others
            .filter_map(Self::edition_named)
            .find_map(|other| Some((other.region_of(&tenant)?, other.edition.name.as_str())))
    }

    /// Returns the tenant location with a name such as `AMSUB0502`, in any case; `None` if no
    /// edition has it.
    #[must_use]
    pub fn tenant(&self, tenant: &str) -> Option<Location> {
        let (region, _) = self.find_tenant(tenant)?;
        Some(Location::Tenant { tenant: tenant.to_ascii_uppercase(), region })
    }

    /// Returns every tenant location of this catalogue and the built-in editions, in alphabetical
    /// order.
    #[must_use]
    pub fn every_tenant(&self) -> BTreeSet<String> {
        let others = Self::editions().filter_map(Self::edition_named);
        let others = others.flat_map(|other| other.tenants.keys());
        others.chain(self.tenants.keys()).cloned().collect()
    }
}
