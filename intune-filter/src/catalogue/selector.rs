//! Which of the destinations that differ by region or tenant location are in force.

use ipnet::IpNet;

use super::{Region, Rule, Selected};
use crate::pattern::Pattern;

/// Where a site's tenant lives.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Selector {
    /// Not said: every region and tenant location.
    #[default]
    All,
    /// Somewhere in a region.
    Region(Region),
    /// A tenant location, as [`super::Catalogue::tenant`] knows it.
    Tenant {
        /// Its name, such as `AMSUB0502`.
        tenant: String,
        /// Its region.
        region: Region,
    },
}

impl Selector {
    /// The region, if there is only one.
    #[must_use]
    pub const fn region(&self) -> Option<Region> {
        match self {
            Self::All => None,
            Self::Region(region) | Self::Tenant { region, .. } => Some(*region),
        }
    }

    /// Whether it takes these destinations.
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

/// The destinations of a rule, each once.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Destinations<'a> {
    /// Names.
    pub fqdns: Vec<&'a Pattern>,
    /// Networks.
    pub cidrs: Vec<&'a IpNet>,
}

impl<'a> Destinations<'a> {
    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.fqdns.is_empty() && self.cidrs.is_empty()
    }

    /// Those that stand in `rule` itself.
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

/// Tenant locations of a region may share destinations.
fn add_new<'a, T: PartialEq>(all: &mut Vec<&'a T>, more: &'a [T]) {
    for item in more {
        if !all.contains(&item) {
            all.push(item);
        }
    }
}
