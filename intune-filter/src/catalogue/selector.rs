//! Selects the destinations that differ by region or tenant location.

use ipnet::IpNet;

use super::{Region, Rule, Selected};
use crate::pattern::Pattern;

/// Location of a site's tenant.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Selector {
    /// Unknown location: every region and tenant location.
    #[default]
    All,
    /// Region, without a tenant location.
    Region(Region),
    /// Tenant location, known to [`super::Catalogue::tenant`].
    Tenant {
        /// Name of the location, such as `AMSUB0502`.
        tenant: String,
        /// Region of the location.
        region: Region,
    },
}

impl Selector {
    /// Returns the region, if there is a single one.
    #[must_use]
    pub const fn region(&self) -> Option<Region> {
        match self {
            Self::All => None,
            Self::Region(region) | Self::Tenant { region, .. } => Some(*region),
        }
    }

    /// Whether the selector includes these destinations.
    #[must_use]
    pub fn takes(&self, selected: &Selected) -> bool {
        match self {
            Self::All => true,
            Self::Region(region) => selected.region == *region,
            Self::Tenant { tenant, region } => {
                selected.region == *region
                    && (selected.tenants.is_empty() || selected.tenants.contains(tenant))
            }
        }
    }
}

/// Destinations of a rule, each once.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Destinations<'a> {
    /// Name patterns.
    pub fqdns: Vec<&'a Pattern>,
    /// Prefixes.
    pub cidrs: Vec<&'a IpNet>,
}

impl<'a> Destinations<'a> {
    /// Returns the destinations that `rule` itself lists.
    pub(super) fn of(rule: &'a Rule, selector: &Selector) -> Self {
        let mut destinations = Self::default();
        destinations.add(&rule.fqdns, &rule.cidrs);
        for selected in rule.selected.iter().filter(|selected| selector.takes(selected)) {
            destinations.add(&selected.fqdns, &selected.cidrs);
        }
        destinations
    }

    fn add(&mut self, fqdns: &'a [Pattern], cidrs: &'a [IpNet]) {
        add_new(&mut self.fqdns, fqdns);
        add_new(&mut self.cidrs, cidrs);
    }
}

/// Adds items without repetition, since tenant locations of a region may share destinations.
fn add_new<'a, T: PartialEq>(all: &mut Vec<&'a T>, more: &'a [T]) {
    for item in more {
        if !all.contains(&item) {
            all.push(item);
        }
    }
}
