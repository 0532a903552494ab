//! Defines the keys that choose among the catalogue's data, and their form.

use serde::{Deserialize, Serialize};

use crate::{
    catalogue::{Cloud, LATEST_WORD},
    pattern::Pattern,
    yaml::{Fields, Findings, Place, Read},
};

/// What the site says of its tenant and takes of the catalogue.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Choice {
    /// Edition of the catalogue.
    pub edition: String,
    /// Cloud of the tenant.
    pub cloud: Cloud,
    /// Domains of the site's own, for its enrolment aliases.
    pub domains: Vec<String>,
    /// Countries of the site's devices, as in names: `de`, `co.uk`.
    pub country: Vec<String>,
    /// Whether the tenant is in GCC.
    pub gcc: bool,
    /// Data that are off by default.
    pub catalogue: OffByDefault,
}

impl Default for Choice {
    fn default() -> Self {
        Self {
            edition: LATEST_WORD.to_owned(),
            cloud: Cloud::default(),
            domains: Vec::new(),
            country: Vec::new(),
            gcc: false,
            catalogue: OffByDefault::default(),
        }
    }
}

/// Data of the catalogue that are off by default.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct OffByDefault {
    /// Whether what the documents no longer have is on.
    pub legacy: bool,
    /// Services whose observed data are on.
    pub observed: Vec<String>,
}

impl Choice {
    /// Reads the keys, which stand at the top of the configuration.
    pub(super) fn read(fields: &mut Fields<'_, '_>) -> Self {
        let default = Self::default();
        let names = |names: Vec<Suffix>| names.into_iter().map(|Suffix(name)| name).collect();
        Self {
            edition: fields.or("edition", default.edition),
            cloud: fields.or("cloud", default.cloud),
            domains: names(fields.or("domains", Vec::new())),
            country: names(fields.or("country", Vec::new())),
            gcc: fields.or("gcc", default.gcc),
            catalogue: fields.or("catalogue", default.catalogue),
        }
    }
}

impl Read for OffByDefault {
    fn read(place: Place<'_>, findings: &mut Findings) -> Option<Self> {
        let mut fields = Fields::open(place, findings)?;
        let (legacy, observed) = (fields.or("legacy", false), fields.or("observed", Vec::new()));
        fields.close();
        Some(Self { legacy, observed })
    }
}

/// End of a name, in lower case and without wildcards.
struct Suffix(String);

impl Read for Suffix {
    fn read(place: Place<'_>, findings: &mut Findings) -> Option<Self> {
        let pattern = Pattern::read(place, findings)?;
        if pattern.as_str().contains(['*', '#']) {
            return findings.expected(place, "a name without * and #");
        }
        Some(Self(pattern.as_str().to_owned()))
    }
}
