//! Holds a configuration with all that is needed to put it into force again.

use std::{borrow::Cow, sync::Arc};

use crate::{
    catalogue::{Catalogue, CatalogueFiles},
    config::Config,
    daemon::config_source::config_override::Document,
    policy::{self, Loaded, Policy},
    report::Origin,
};

/// Configuration that is or was in force, with all that is needed to return to it.
#[derive(Clone)]
pub(super) struct ActiveConfig {
    pub(super) document: Document,
    pub(super) config: Config,
    pub(super) catalogue: Cow<'static, Catalogue>,
    pub(super) files: Option<Arc<CatalogueFiles>>,
    /// Digest of the configuration.
    pub(super) digest: String,
    pub(super) origin: Origin,
    /// Whether the kernel may have another policy, since a change has failed half-way.
    pub(super) in_doubt: bool,
}

impl ActiveConfig {
    /// Returns a loaded configuration, with its policy.
    pub(super) fn new(document: Document, origin: Origin, loaded: Loaded) -> (Self, Policy) {
        let Loaded { config, catalogue, files, policy } = loaded;
        let digest = policy::digest(&config, &policy);
        (Self { document, config, catalogue, files, digest, origin, in_doubt: false }, policy)
    }

    /// Whether another configuration is equivalent to this one.
    pub(super) fn is_same(&self, other: &Self) -> bool {
        !self.in_doubt && self.digest == other.digest
    }
}
