//! Defines what is taken from a list, and in which form.

use std::fmt;

use crate::ports::Ports;

/// Form of a published list.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Form {
    /// JSON of the Microsoft 365 web service
    M365,
    /// JSON of Azure's service tags
    ServiceTags,
    /// CSV with a header: the web service's, or a document's table
    Table,
    /// One name, address or prefix per line
    List,
}

impl fmt::Display for Form {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::M365 => "m365",
            Self::ServiceTags => "service-tags",
            Self::Table => "table",
            Self::List => "list",
        })
    }
}

/// What is taken from a file, and what is added to it.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// Form of the file; found by its content if `None`.
    pub form: Option<Form>,
    /// Ports of destinations that come without; none if empty.
    pub ports: Ports,
    /// Service areas or service tags to take, in any case; all if empty.
    pub groups: Vec<String>,
    /// Whether what the source calls optional is left out.
    pub required_only: bool,
}
