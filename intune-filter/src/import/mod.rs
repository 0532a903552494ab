//! Reads lists of endpoints that others publish, for a site's own catalogue.
//!
//! Four forms are read: the JSON of the Microsoft 365 web service, the JSON of Azure's service tags,
//! tables as CSV (the web service's own and those of documents), and plain lists. Whatever is in a
//! file becomes a destination, is counted as left out, or is an error with its position: nothing is
//! lost in silence, and a destination without ports is refused, never opened on all of them.

mod address;
mod decode;
mod error;
mod gather;
mod list;
mod m365;
mod options;
mod ports;
mod service_tags;
mod table;
#[cfg(test)]
mod tests;
mod write;

pub use self::{
    address::Destination,
    error::{Fault, ImportError},
    gather::{Gathered, Group, Left, slug},
    options::{Form, Options},
    write::{Source, Written, is_ours, write},
};

/// Largest file that is read, in octets: the largest of Azure's is below 8 MiB.
pub const FILE_MAX: usize = 16 << 20;

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
