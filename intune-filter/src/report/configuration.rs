//! Defines the JSON of `config show` and `check`.

use serde::{Deserialize, Serialize};

use super::{CatalogueStatus, OnLinkPrefix};
use crate::{
    attacks::OpenAttacks,
    config::Config,
    policy::{Grant, Summary, Taken},
};

/// Origin of the configuration in force.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Origin {
    /// Contents of the configuration file.
    File,
    /// Last good configuration, since the file cannot be used.
    LastGood,
    /// Configuration that was applied, and that differs from the file.
    Applied,
}

impl Origin {
    /// Returns the word in JSON and commands.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::File => "file",
            Self::LastGood => "last-good",
            Self::Applied => "applied",
        }
    }
}

/// Result of `config show`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ConfigInForce {
    /// Number of the contract, [`super::SCHEMA`].
    pub schema: u32,
    /// File that the configuration was read from.
    pub file: String,
    /// Origin relative to the configuration file.
    pub origin: Origin,
    /// Digest of the configuration.
    pub digest: String,
    /// Generation of the policy in force.
    pub generation: u32,
    /// Configuration with every default written out.
    pub configuration: Config,
    /// Text of the configuration as its author wrote it.
    pub text: String,
}

/// Edition of the catalogue, and what a configuration takes of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct CatalogueChecked {
    /// Edition and age.
    #[serde(flatten)]
    pub status: CatalogueStatus,
    /// What the site's variables leave out, and what stays broad.
    #[serde(flatten)]
    pub taken: Taken,
    /// What the default edition opens and closes against an earlier one, if the configuration chooses
    /// none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub change: Option<EditionChange>,
}

/// What an edition opens and closes for a configuration.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct EditionChange {
    /// Earlier edition.
    pub against: String,
    /// Traffic that passes with the later edition alone.
    pub opens: Vec<Grant>,
    /// Traffic that passes with the earlier edition alone.
    pub closes: Vec<Grant>,
}

/// Result of `check`.
#[derive(Clone, Debug, Serialize)]
pub struct Checked {
    /// Number of the contract, [`super::SCHEMA`].
    pub schema: u32,
    /// Summary of the policy.
    #[serde(flatten)]
    pub summary: Summary,
    /// Edition of the catalogue, and what the configuration takes of it.
    pub catalogue: CatalogueChecked,
    /// What is on-link behind the interfaces that exist.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub on_link: Vec<OnLinkPrefix>,
    /// Attacks of the threat model that remain open.
    pub open_attacks: OpenAttacks,
}
