//! Addresses of the names of the soak's site.

use std::{collections::HashMap, net::IpAddr};

use super::{model::ModelPolicy, site};

/// Records of the resolver, by name.
#[derive(Clone, Debug)]
pub struct Names(HashMap<String, [IpAddr; 2]>);

impl Names {
    /// The site's.
    #[must_use]
    pub fn of_site() -> Self {
        let names = site::names().into_iter().map(|known| (known.name, known.addresses));
        Self(names.collect())
    }

    /// Whether a name without a wildcard of this service leads to an address: the daemon asks for
    /// these itself, when it sees fit.
    pub(super) fn may_be_resolved(
        &self,
        policy: &ModelPolicy,
        service: &str,
        address: IpAddr,
    ) -> bool {
        policy.exact_names().any(|(name, id)| {
            id == service && self.0.get(name).is_some_and(|known| known.contains(&address))
        })
    }
}
