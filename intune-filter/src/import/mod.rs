//! Reads lists of endpoints that others publish, for a site's own catalogue.
//!
//! Four forms are read: the JSON of the Microsoft 365 web service, the JSON of Azure's service tags,
//! tables as CSV (the web service's own and those of documents), and plain lists. Whatever is in a
//! file becomes a destination, is counted as left out, or is an error with its position: nothing is
//! lost in silence, and a destination without ports is refused, never opened on all of them.

mod address;
mod decode;
mod gather;
mod list;
mod m365;
mod ports;
mod service_tags;
mod table;
#[cfg(test)]
mod tests;
mod write;

use std::fmt;

pub use self::{
    address::Destination,
    gather::{Gathered, Group, Left, slug},
    write::{Source, Written, is_ours, write},
};
use crate::ports::Ports;

/// Largest file that is read, in octets: the largest of Azure's is below 8 MiB.
pub const FILE_MAX: usize = 16 << 20;

/// Faults that are told of one file at most.
const TOLD_MAX: usize = 100;

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

/// Fault at a position of a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// Line, set or tag, such as `line 7` or `set 56, urls[2]`; empty for the file as a whole.
    pub at: String,
    /// Fault and expected value.
    pub message: String,
}

/// Faults of one file, displayed one per line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ImportError {
    /// Name of the file.
    pub file: String,
    /// Faults, in the order of the file.
    pub faults: Vec<Fault>,
}

impl fmt::Display for ImportError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, Fault { at, message }) in self.faults.iter().take(TOLD_MAX).enumerate() {
            let (end, colon) =
                (if index == 0 { "" } else { "\n" }, if at.is_empty() { "" } else { ": " });
            write!(f, "{end}{}: {at}{colon}{message}", self.file)?;
        }
        match self.faults.len().saturating_sub(TOLD_MAX) {
            0 => Ok(()),
            more => write!(f, "\n{}: {more} more faults", self.file),
        }
    }
}

impl std::error::Error for ImportError {}

/// Reads a file of published endpoints.
///
/// # Errors
/// The file is too large, no text, of none of the forms, or has entries that cannot be taken as they
/// are; each is told with its position.
pub fn read(file: &str, octets: &[u8], options: &Options) -> Result<Gathered, ImportError> {
    let whole = |message| ImportError {
        file: file.to_owned(),
        faults: vec![Fault { at: String::new(), message }],
    };
    if octets.len() > FILE_MAX {
        return Err(whole(format!("larger than {FILE_MAX} octets")));
    }
    let text = decode::decode(octets).map_err(whole)?;
    let form = options.form.unwrap_or_else(|| form_of(&text));
    let mut gathered = Gathered::new(form, options);
    match form {
        Form::M365 => m365::read(&text, &mut gathered),
        Form::ServiceTags => service_tags::read(&text, &mut gathered),
        Form::Table => table::read(&text, &mut gathered),
        Form::List => list::read(&text, &mut gathered),
    }
    gathered.finish().map_err(|faults| ImportError { file: file.to_owned(), faults })
}

/// Finds the form of a text by how it begins.
fn form_of(text: &str) -> Form {
    match text.trim_start().chars().next() {
        Some('[') => Form::M365,
        Some('{') => Form::ServiceTags,
        _ if table::is_table(text) => Form::Table,
        _ => Form::List,
    }
}
