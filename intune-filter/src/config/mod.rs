//! Reads and checks the configuration file; errors name file, line and key.
//!
//! [`Config::load`] reads a file and checks its keys against each other. [`crate::policy`] checks
//! the keys that need the catalogue (services, the tenant's location, the number of rules), and
//! [`check_environment`] those that need the machine.

use std::{io, path::Path};

mod check;
mod check_choice;
mod choice;
mod duration;
mod edition;
mod environment;
mod inbound;
mod limits;
mod link_layer;
mod mac;
mod metrics;
mod model;
mod network;
mod on_link;
mod other_vlans;
mod ownership;
mod read;
mod resolver;
mod source;
#[cfg(test)]
mod tests;
mod to_gateway;
mod zones;

pub use duration::{DurationError, Seconds};
pub use edition::{Choice, OffByDefault};
pub use environment::{Environment, Finding, FlowTable, Reached, Severity, check_environment};
pub use inbound::{Inbound, InboundRule};
pub use limits::{Limit, Limits, ZoneLimits};
pub(crate) use link_layer::{refused_at_layer3, refused_on_bond};
pub use mac::MacAddress;
pub use metrics::Metrics;
pub use model::{
    Boot, ClientGroup, Config, Dns, DnsUnlisted, GroupMode, Interface, MapSizes, Mode, OnDeny,
    Parts, Paths, Region, SiteRule, SiteService, SourceCheck, Ttl, UnlistedClients,
};
pub use network::Network;
pub use on_link::{OnLink, on_link_resolvers};
pub use other_vlans::{OtherVlan, OtherVlans};
pub use ownership::writable_by_others;
pub use resolver::Resolver;
pub use source::KeyLines;
pub use to_gateway::ToGateway;
pub use zones::Zone;

use crate::{
    system::regular_file,
    yaml::{self, FileError, FileErrors, Reading},
};

impl Config {
    /// Returns a configuration with interfaces and nothing else, which passes no check.
    pub(crate) fn bare(interfaces: Vec<Interface>) -> Self {
        Self { interfaces, ..Self::default() }
    }

    /// Reads and checks a file.
    ///
    /// # Errors
    /// Every fault that can be found without the catalogue.
    pub fn load(path: &Path) -> Result<Self, FileErrors> {
        match Self::load_part(path) {
            (Some(config), errors) if errors.is_empty() => Ok(config),
            (_, errors) => Err(FileErrors::new(path.display().to_string(), errors)),
        }
    }

    /// Reads as much of a file as possible, and returns every error found.
    pub(crate) fn load_part(path: &Path) -> (Option<Self>, Vec<FileError>) {
        match read(path) {
            Ok(text) => Self::parse_part(&path.display().to_string(), &text),
            Err(error) => (None, vec![error]),
        }
    }

    /// Reads a file's text.
    ///
    /// # Errors
    /// The file cannot be read in time, or is not UTF-8.
    pub fn read_text(path: &Path) -> Result<String, FileErrors> {
        read(path).map_err(|error| FileErrors::new(path.display().to_string(), vec![error]))
    }

    /// Reads a file's text on the calling thread, which waits as long as the file system takes.
    pub(crate) fn read_text_here(path: &Path) -> Result<String, FileErrors> {
        text_of(regular_file::read(path))
            .map_err(|error| FileErrors::new(path.display().to_string(), vec![error]))
    }

    /// Parses and checks a file's text; `file` is the name in error messages.
    ///
    /// # Errors
    /// Every fault that can be found without the catalogue.
    pub fn parse(file: &str, text: &str) -> Result<Self, FileErrors> {
        match Self::parse_part(file, text) {
            (Some(config), errors) if errors.is_empty() => Ok(config),
            (_, errors) => Err(FileErrors::new(file, errors)),
        }
    }

    /// Parses as much of a file's text as possible, and returns every error found.
    pub(crate) fn parse_part(file: &str, text: &str) -> (Option<Self>, Vec<FileError>) {
        let reading: Reading<Self> = yaml::read(text, "a configuration");
        let Some(mut config) = reading.value else { return (None, reading.errors) };
        config.source = KeyLines { file: file.to_owned(), lines: reading.lines };
        let mut errors = reading.errors;
        FileError::add(&mut errors, check::check(&config));
        (Some(config), errors)
    }

    /// Returns an error at `key`, such as `clients[0].services[1]`, with the key's line.
    #[must_use]
    pub fn error(&self, key: impl Into<String>, message: impl Into<String>) -> FileError {
        let key = key.into();
        FileError::new(self.source.lines.line(&key), key, message)
    }

    /// Collects errors under the file's name.
    #[must_use]
    pub fn errors(&self, errors: Vec<FileError>) -> FileErrors {
        FileErrors::new(&self.source.file, errors)
    }
}

fn read(path: &Path) -> Result<String, FileError> {
    let file = path.to_owned();
    let read = regular_file::within(regular_file::READ_TIMEOUT, move || regular_file::read(&file));
    text_of(read.and_then(|octets| octets))
}

fn text_of(octets: io::Result<Vec<u8>>) -> Result<String, FileError> {
    let text = octets.map_err(|error| format!("cannot read: {error}"));
    let text = text.and_then(|octets| {
        String::from_utf8(octets).map_err(|error| format!("not UTF-8 text: {error}"))
    });
    text.map_err(|message| FileError::new(None, "", message))
}
