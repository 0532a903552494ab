//! A scenario: the way of one device, step by step.

use std::collections::BTreeMap;

use super::{
    site::{Cloud, Region, Site},
    step::Step,
};

/// One way of a device, from its first packet to its end.
#[derive(Clone, Debug)]
pub struct Scenario {
    /// Path of its file below `tests/scenarios`, without the extension.
    pub id: String,
    /// Title for people.
    pub title: String,
    /// Cloud of the tenant.
    pub cloud: Cloud,
    /// Whether the tenant is one of GCC.
    pub gcc: bool,
    /// Steps in the order of the device.
    pub steps: Vec<Step>,
}

impl Scenario {
    /// Whether what the device connects to depends on the tenant's scale unit.
    #[must_use]
    pub fn depends_on_tenant(&self) -> bool {
        self.steps.iter().any(Step::depends_on_tenant)
    }

    /// Steps of a device of this site: placeholders have their values.
    #[must_use]
    pub fn steps_at(&self, site: &Site, tenants: &BTreeMap<String, Region>) -> Vec<Step> {
        self.steps.iter().flat_map(|step| step.at(site, tenants)).collect()
    }
}
