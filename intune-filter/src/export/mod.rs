//! Writes the catalogue for other programs: firewalls, resolvers, spreadsheets.
//!
//! One file for each service and set of ports. What a form cannot say stands in the file's header; a
//! pattern that a form could only hold by letting far more pass is left out, and named there.

mod comma;
mod dnsmasq;
mod file;
mod header;
mod ipset;
mod list;
mod name;
mod nftables;
mod rpz;
#[cfg(test)]
mod tests;
mod unbound;
mod unit;

use std::fmt;

pub use self::{
    file::File,
    header::Loss,
    unit::{Unit, units},
};

/// Form of exported files.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Form {
    /// Sets of addresses for nftables, and sets that dnsmasq fills
    Nftables,
    /// Lines for dnsmasq that fill the sets of `nftables` by name
    Dnsmasq,
    /// Input of `ipset restore`
    Ipset,
    /// Zones that unbound answers, for a server that refuses all others
    Unbound,
    /// Response policy zone that passes these names, before one that stops all others
    Rpz,
    /// Every destination with its ports and source
    Csv,
    /// Names in one file, prefixes in another, one per line
    List,
}

impl Form {
    /// Every form.
    pub const ALL: [Self; 7] = [
        Self::Nftables,
        Self::Dnsmasq,
        Self::Ipset,
        Self::Unbound,
        Self::Rpz,
        Self::Csv,
        Self::List,
    ];

    /// Returns the word on the command line.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Nftables => "nftables",
            Self::Dnsmasq => "dnsmasq",
            Self::Ipset => "ipset",
            Self::Unbound => "unbound",
            Self::Rpz => "rpz",
            Self::Csv => "csv",
            Self::List => "list",
        }
    }
}

impl Form {
    /// Returns the endings of the form's files.
    #[must_use]
    pub const fn endings(self) -> &'static [&'static str] {
        match self {
            Self::Nftables => &[".nft"],
            Self::Dnsmasq => &[".dnsmasq.conf"],
            Self::Ipset => &[".ipset"],
            Self::Unbound => &[".unbound.conf"],
            Self::Rpz => &[".rpz"],
            Self::Csv => &[".csv"],
            Self::List => &[".names.txt", ".networks.txt"],
        }
    }
}

/// Whether a file's content is that of an export.
#[must_use]
pub fn is_ours(content: &[u8]) -> bool {
    content.starts_with(comma::HEADER.as_bytes()) || header::is_header(content)
}

impl fmt::Display for Form {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Writes a service's destinations of one set of ports. No file if the form can hold none of them.
#[must_use]
pub fn export(form: Form, unit: &Unit, edition: &str) -> Vec<File> {
    match form {
        Form::Nftables => vec![nftables::export(unit, edition)],
        Form::Dnsmasq => dnsmasq::export(unit, edition).into_iter().collect(),
        Form::Ipset => ipset::export(unit, edition).into_iter().collect(),
        Form::Unbound => unbound::export(unit, edition).into_iter().collect(),
        Form::Rpz => rpz::export(unit, edition).into_iter().collect(),
        Form::Csv => vec![comma::export(unit)],
        Form::List => list::export(unit, edition),
    }
}
