//! Defines a datum: one name, pattern or prefix of a rule, with its provenance and its life.

use std::{fmt, str::FromStr};

use ipnet::IpNet;
use serde::{Serialize, Serializer};

use super::{Cloud, Date, Provenance, Region, words::words};
use crate::pattern::Pattern;

/// Name, pattern or prefix of a rule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Datum {
    /// Name, pattern or prefix.
    pub address: Address,
    /// Place in the documents.
    pub from: Provenance,
    /// Whether the documents still have it.
    pub status: Status,
    /// Whether devices depend on it.
    pub need: Need,
    /// Part that it has beside the names of its rule.
    pub role: Option<Role>,
    /// Day of the first document that has it.
    pub since: Option<Date>,
    /// Day of the first document that no longer has it.
    pub until: Option<Date>,
    /// What the documents have in its place.
    pub replaced_by: Option<String>,
    /// Traffic that it opens beyond its purpose.
    pub risk: Option<Risk>,
    /// Sites that it is for.
    pub when: When,
}

words! {
    /// Whether the documents still have a datum.
    #[derive(Default)]
    pub enum Status: "status" {
        /// They have it.
        #[default]
        Current = "current",
        /// They had it.
        Legacy = "legacy",
        /// Devices use it, and no document has it.
        Observed = "observed",
    }
}

words! {
    /// Whether devices depend on a datum.
    #[derive(Default)]
    pub enum Need: "need" {
        /// A task of its service fails without it.
        #[default]
        Required = "required",
        /// Devices do without it.
        Optional = "optional",
    }
}

words! {
    /// Part that a datum has beside the names of its rule.
    pub enum Role: "role" {
        /// For what is not learned by name.
        Fallback = "fallback",
    }
}

words! {
    /// Traffic that a datum opens beyond its purpose.
    pub enum Risk: "risk" {
        /// Storage on which anyone can have a name.
        SharedStorage = "shared-storage",
        /// Addresses of a CDN that serves strangers too.
        SharedCdn = "shared-cdn",
        /// Wildcard below which there is more than the service.
        OverBroad = "over-broad",
        /// Telemetry of other products too.
        Telemetry = "telemetry",
        /// Tenants that are not the site's.
        OtherTenants = "other-tenants",
        /// Retired name that a stranger could claim.
        Unclaimed = "unclaimed",
    }
}

impl Risk {
    /// Returns what the risk is, for people.
    #[must_use]
    pub const fn text(self) -> &'static str {
        match self {
            Self::SharedStorage => "names on shared storage, where anyone can have one",
            Self::SharedCdn => "addresses of a shared CDN, which serves strangers too",
            Self::OverBroad => "over-broad wildcards, below which there is more than the service",
            Self::Telemetry => "telemetry of other products too",
            Self::OtherTenants => "hosts of every tenant, not of the site's alone",
            Self::Unclaimed => "retired names, which a stranger could claim",
        }
    }
}

words! {
    /// Whether a flow to a rule's names has to say its server's name.
    #[derive(Default)]
    pub enum Sni: "sni" {
        /// It has to.
        #[default]
        Required = "required",
        /// It need not.
        Optional = "optional",
    }
}

/// Destination as the catalogue writes it.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Address {
    /// Name or pattern.
    Fqdn(Pattern),
    /// Name with a variable of the site.
    Template(Template),
    /// Prefix.
    Cidr(IpNet),
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Fqdn(pattern) => pattern.fmt(f),
            Self::Template(template) => template.fmt(f),
            Self::Cidr(cidr) => cidr.fmt(f),
        }
    }
}

impl Serialize for Address {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// Variable of a site that stands in a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Variable {
    /// Domain of the site's own.
    Domain,
    /// Country.
    Country,
    /// Tenant location, in lower case.
    Tenant,
}

impl Variable {
    const ALL: [Self; 3] = [Self::Domain, Self::Country, Self::Tenant];

    const fn as_str(self) -> &'static str {
        match self {
            Self::Domain => "{domain}",
            Self::Country => "{country}",
            Self::Tenant => "{tenant}",
        }
    }
}

/// Name with one variable of the site.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Template {
    text: String,
    variable: Variable,
}

impl Template {
    /// Returns the variable.
    #[must_use]
    pub const fn variable(&self) -> Variable {
        self.variable
    }

    /// Whether a name is the template with some value in the variable's place.
    #[must_use]
    pub fn may_be(&self, name: &str) -> bool {
        let name = name.to_ascii_lowercase();
        self.text.split_once(self.variable.as_str()).is_some_and(|(before, after)| {
            name.strip_prefix(before).and_then(|rest| rest.strip_suffix(after)).is_some()
        })
    }

    /// Returns the pattern with a value in the variable's place; `None` if the result is none.
    #[must_use]
    pub fn fill(&self, value: &str) -> Option<Pattern> {
        self.text.replace(self.variable.as_str(), &value.to_ascii_lowercase()).parse().ok()
    }
}

impl FromStr for Template {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let written = text.to_ascii_lowercase();
        let mut found =
            Variable::ALL.into_iter().filter(|variable| written.contains(variable.as_str()));
        let (Some(variable), None) = (found.next(), found.next()) else {
            return Err(format!(
                "bad template {text:?}, expected one of {{domain}}, {{country}} or {{tenant}}"
            ));
        };
        let template = Self { text: written, variable };
        let filled: Result<Pattern, _> = template.text.replace(variable.as_str(), "x").parse();
        filled.map_err(|error| error.to_string())?;
        Ok(template)
    }
}

impl fmt::Display for Template {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// Sites that a datum is for; an empty list is all of them.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize)]
pub struct When {
    /// Tenant locations.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub tenant: Vec<String>,
    /// Regions.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub region: Vec<Region>,
    /// Clouds.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub cloud: Vec<Cloud>,
    /// Countries, as in names: `de`, `co.uk`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub country: Vec<String>,
    /// Whether it is for tenants in GCC alone.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub gcc: bool,
}

impl When {
    /// Whether it is for every site.
    #[must_use]
    pub fn is_always(&self) -> bool {
        *self == Self::default()
    }
}
