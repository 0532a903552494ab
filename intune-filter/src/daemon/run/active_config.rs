//! A configuration with all that it takes to put it into force again.

use std::{borrow::Cow, sync::Arc};

use crate::{
    catalogue::{Catalogue, CatalogueFiles},
    config::Config,
    daemon::config_source::config_override::Document,
    policy::{self, Loaded, Policy},
    report::Origin,
};

/// A configuration that is in force, or was, with all that it takes to put it back.
#[derive(Clone)]
pub(super) struct ActiveConfig {
    pub(super) document: Document,
    pub(super) config: Config,
    pub(super) catalogue: Cow<'static, Catalogue>,
    pub(super) files: Option<Arc<CatalogueFiles>>,
    /// Of what it comes to.
    pub(super) digest: String,
    pub(super) origin: Origin,
    /// Whether the kernel may have something else, since a change has failed half-way.
    pub(super) in_doubt: bool,
}

impl ActiveConfig {
    /// A configuration and the policy that it comes to.
    pub(super) fn new(document: Document, origin: Origin, loaded: Loaded) -> (Self, Policy) {
        let Loaded { config, catalogue, files, policy } = loaded;
        let digest = policy::digest(&config, &policy);
        (Self { document, config, catalogue, files, digest, origin, in_doubt: false }, policy)
    }

    /// Whether another comes to what is in force as this.
    pub(super) fn is_same(&self, other: &Self) -> bool {
        !self.in_doubt && self.digest == other.digest
    }
}
