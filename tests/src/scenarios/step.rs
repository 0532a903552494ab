//! Steps of a scenario: one destination each, by a name or without DNS.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
};

use serde::Deserialize;

use super::site::{Region, Site};

/// How much a step is needed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Need {
    /// A document requires it.
    #[default]
    Required,
    /// Reports show it beyond the documents, and the scenario fails without it.
    Observed,
    /// Documented or seen, and the device gets by without it: walked, and told if it is denied.
    Spare,
}

/// Where a step leads.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Destination {
    /// A name, which is asked for.
    Name(String),
    /// An address without DNS.
    Address(IpAddr),
}

impl fmt::Display for Destination {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Name(name) => f.write_str(name),
            Self::Address(address) => address.fmt(f),
        }
    }
}

/// Addresses that a name has to lead to, where the device compares them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Answers {
    /// Of the question for an IPv4 address.
    pub a: Ipv4Addr,
    /// Of the question for an IPv6 address.
    pub aaaa: Ipv6Addr,
}

/// One thing that a device does on the network.
#[derive(Clone, Debug)]
pub struct Step {
    /// What the device does.
    pub act: String,
    /// Where it leads.
    pub destination: Destination,
    /// Pattern or prefix of the source that the destination is an example of.
    pub of: Option<String>,
    /// Aliases that lead from the name to its addresses.
    pub via: Vec<String>,
    /// Addresses that the device expects.
    pub answers: Option<Answers>,
    /// Seconds that the addresses may be kept.
    pub ttl: u32,
    /// TCP ports. With no port at all the question is all that there is.
    pub tcp: BTreeSet<u16>,
    /// UDP ports.
    pub udp: BTreeSet<u16>,
    /// TCP ports that carry plain text: 80 is one of them.
    pub plain: BTreeSet<u16>,
    /// Name whose server has redirected the device here.
    pub redirected_by: Option<String>,
    /// How much it is needed.
    pub need: Need,
    /// Why the device gets by without it.
    pub why: Option<String>,
    /// Sources, each `SOURCE` or `SOURCE#PLACE`.
    pub from: Vec<String>,
    /// Regions of the tenants whose devices do it; none: every one.
    pub regions: BTreeSet<Region>,
}

impl Step {
    /// Name of the step, if it has one.
    #[must_use]
    pub fn name(&self) -> Option<&str> {
        match &self.destination {
            Destination::Name(name) => Some(name),
            Destination::Address(_) => None,
        }
    }

    /// Whether a denial makes the scenario fail.
    #[must_use]
    pub fn is_promised(&self) -> bool {
        self.need != Need::Spare
    }

    /// Whether the step depends on the tenant's scale unit.
    #[must_use]
    pub fn depends_on_tenant(&self) -> bool {
        !self.regions.is_empty() || self.name().is_some_and(|name| name.contains(TENANT))
    }

    /// The step at a site: once for each value of its placeholders, and not at all in other regions.
    pub(super) fn at(&self, site: &Site, tenants: &BTreeMap<String, Region>) -> Vec<Self> {
        let chosen = tenants.iter().filter(|(tenant, _)| {
            site.tenant.as_ref().is_none_or(|chosen| chosen.eq_ignore_ascii_case(tenant))
        });
        let here =
            chosen.filter(|(_, region)| self.regions.is_empty() || self.regions.contains(region));
        let here: Vec<String> = here.map(|(tenant, _)| tenant.to_ascii_lowercase()).collect();
        if self.depends_on_tenant() && here.is_empty() {
            return Vec::new();
        }
        let placeholders = [(TENANT, &here), (DOMAIN, &site.domains), (COUNTRY, &site.country)];
        let used = placeholders
            .into_iter()
            .find(|(placeholder, _)| self.name().is_some_and(|name| name.contains(placeholder)));
        let Some((placeholder, values)) = used else { return vec![self.clone()] };
        values.iter().map(|value| self.with(placeholder, value)).collect()
    }

    fn with(&self, placeholder: &str, value: &str) -> Self {
        let filled = self.name().unwrap_or_default().replace(placeholder, value);
        // Each value leads on by a chain of its own.
        let via = self.via.iter().map(|alias| alias.replace(placeholder, value)).collect();
        Self { destination: Destination::Name(filled), via, ..self.clone() }
    }
}

/// Placeholder of a scale unit.
pub(super) const TENANT: &str = "{tenant}";
/// Placeholder of a domain of the site's own.
pub(super) const DOMAIN: &str = "{domain}";
/// Placeholder of a country domain.
pub(super) const COUNTRY: &str = "{country}";
