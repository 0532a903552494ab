//! Reads the edition file of format 2.

use std::collections::BTreeMap;

use super::document::Format;
use crate::{
    catalogue::{Catalogue, Date, Excused, LATEST_WORD, Region, Source, SourceCopy},
    yaml::{Fields, Findings, Named, Place, Read},
};

/// Edition file.
pub(super) struct File {
    /// Name of the edition.
    pub name: String,
    /// Built-in edition that this one adds to.
    pub extends: Option<String>,
    /// Documents by their id.
    pub sources: BTreeMap<String, Source>,
    /// Region of each tenant location.
    pub tenants: BTreeMap<String, Region>,
    /// Services and sets of each set.
    pub sets: BTreeMap<String, Vec<String>>,
    /// What the edition leaves out.
    pub excused: Vec<Excused>,
}

impl Read for File {
    fn read(place: Place<'_>, findings: &mut Findings) -> Option<Self> {
        let mut fields = Fields::open(place, findings)?;
        let format = fields.required::<Format>("format", "2");
        let name = fields.required("edition", "the edition's name, such as 2026-08");
        let extends: Option<Base> = fields.optional("extends");
        let sources = fields.or("sources", Named::default());
        let tenants = fields.or("tenants", Named::default());
        let sets = fields.or("sets", Named::default());
        let excused = fields.or("excused", Vec::new());
        fields.close();
        format?;
        Some(Self {
            name: name?,
            extends: extends.map(|Base(name)| name),
            sources: sources.0,
            tenants: tenants.0,
            sets: sets.0,
            excused,
        })
    }
}

/// Name of a built-in edition, or `latest`.
struct Base(String);

impl Read for Base {
    fn read(place: Place<'_>, findings: &mut Findings) -> Option<Self> {
        match crate::yaml::word(place) {
            Some(name) if Catalogue::edition_named(name).is_some() => Some(Self(name.to_owned())),
            _ => {
                let known: Vec<&str> = Catalogue::editions().collect();
                findings.expected(place, &format!("{LATEST_WORD}, or one of {}", known.join(", ")))
            }
        }
    }
}

impl Read for Source {
    fn read(place: Place<'_>, findings: &mut Findings) -> Option<Self> {
        let mut fields = Fields::open(place, findings)?;
        let title = fields.required("title", "the document's title");
        let date: Option<Date> = fields.optional("date");
        let (url, read) = (fields.optional("url"), fields.optional("read"));
        fields.close();
        Some(Self { title: title?, date, url, read })
    }
}

impl Read for SourceCopy {
    fn read(place: Place<'_>, findings: &mut Findings) -> Option<Self> {
        let mut fields = Fields::open(place, findings)?;
        let (repo, commit) = (fields.optional("repo"), fields.optional("commit"));
        let (path, file) = (fields.optional("path"), fields.optional("file"));
        let sha256 = fields.optional("sha256");
        if !fields.has("repo") && !fields.has("file") {
            fields.findings.report(place, "neither repo nor file, expected one of them");
        }
        fields.close();
        Some(Self { repo, commit, path, file, sha256 })
    }
}

impl Read for Excused {
    fn read(place: Place<'_>, findings: &mut Findings) -> Option<Self> {
        let mut fields = Fields::open(place, findings)?;
        let source = fields.required("source", "the id of a source");
        // A number of a table needs no quotes.
        let id: Option<Section> = fields.optional("id");
        let address: Option<String> = fields.optional("address");
        let addresses: Vec<String> = fields.or("addresses", Vec::new());
        let reason = fields.required("reason", "why the edition leaves it out");
        fields.close();
        Some(Self {
            source: source?,
            id: id.map(|Section(id)| id),
            addresses: address.into_iter().chain(addresses).collect(),
            reason: reason?,
        })
    }
}

/// Section of a source, which may be a number.
struct Section(String);

impl Read for Section {
    fn read(place: Place<'_>, findings: &mut Findings) -> Option<Self> {
        match crate::yaml::word(place) {
            Some(text) if !text.is_empty() => Some(Self(text.to_owned())),
            _ => findings.expected(place, "a section of the source"),
        }
    }
}
