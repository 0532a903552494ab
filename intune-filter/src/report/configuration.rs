//! `config show` and `check`.

use serde::{Deserialize, Serialize};

use crate::{config::Config, policy::Summary};

/// Origin of the configuration in force.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Origin {
    /// It is what the configuration file says.
    File,
    /// The file cannot be used: it is what was last in force for good.
    LastGood,
    /// It was applied, and the file says otherwise.
    Applied,
}

impl Origin {
    /// The word that JSON and commands use.
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
    /// [`super::SCHEMA`].
    pub schema: u32,
    /// The file that it was read from.
    pub file: String,
    /// Whether that is the configuration file.
    pub origin: Origin,
    /// Digest of what it comes to.
    pub digest: String,
    /// Generation of the policy in force.
    pub generation: u32,
    /// The configuration with every default.
    pub configuration: Config,
    /// The configuration as its author wrote it.
    pub text: String,
}

/// Result of `check`.
#[derive(Clone, Debug, Serialize)]
pub struct Checked {
    /// [`super::SCHEMA`].
    pub schema: u32,
    /// What the configuration comes to.
    #[serde(flatten)]
    pub summary: Summary,
}
