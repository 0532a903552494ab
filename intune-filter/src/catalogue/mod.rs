//! Provides the endpoint catalogue: services with their rules, and a source for every datum.
//!
//! The editions in `config/catalogue` are built into the binary, and a directory can replace them.
//! Every [`Catalogue`] has passed the checks of its format.

mod contents;
mod datum;
mod edition;
mod editions;
mod error;
mod files;
mod format1;
mod format2;
mod ids;
mod parse;
mod place;
mod read;
mod selector;
mod service;
#[cfg(test)]
mod tests;
mod words;

pub use self::{
    contents::Catalogue,
    datum::{Address, Datum, Need, Risk, Role, Sni, Status, Template, Variable, When},
    edition::{Date, Edition, Excused, Provenance, Source, SourceCopy},
    editions::{LATEST, LATEST_WORD},
    error::CatalogueError,
    files::CatalogueFiles,
    place::{Cloud, Region},
    selector::{Destinations, Location, Selector},
    service::{ALL_SET, DEFAULT_SET, Rule, RuleId, Service},
};
