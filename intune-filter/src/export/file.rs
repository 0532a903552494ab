//! Defines an exported file.

use super::header::Loss;

/// Exported file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct File {
    /// Name, without a directory.
    pub name: String,
    /// Content.
    pub text: String,
    /// What the form cannot say of this service.
    pub losses: Vec<Loss>,
}
