//! Parses one file of a catalogue, and keeps the lines of its services.

use super::{
    CatalogueError, Date, Provenance, Region, Rule, RuleId, Selected, Service, error::Place as At,
};
use crate::yaml::{self, Fields, FileErrors, Findings, Lines, Place, Read, parsed};

/// File of a catalogue.
struct File {
    services: Vec<Service>,
}

/// Parsed file with the lines of its values.
pub(super) struct Document {
    /// Name of the file.
    pub name: String,
    /// Lines of the values.
    pub lines: Lines,
    /// Services of the file.
    pub services: Vec<Service>,
}

impl Document {
    /// Parses a file's text.
    pub(super) fn parse(name: &str, text: &str) -> Result<Self, CatalogueError> {
        let reading = yaml::read(text, "a catalogue");
        match reading.value {
            Some(File { services }) if reading.errors.is_empty() => {
                Ok(Self { name: name.to_owned(), lines: reading.lines, services })
            }
            _ => Err(CatalogueError::Invalid(FileErrors::new(name, reading.errors))),
        }
    }

    /// Returns the file and line of a value.
    pub(super) fn place(&self, path: &str) -> At {
        At { file: self.name.clone(), line: self.lines.line(path) }
    }
}

impl Read for File {
    fn read(place: Place<'_>, findings: &mut Findings) -> Option<Self> {
        let mut fields = Fields::open(place, findings)?;
        let services = fields.required("services", "a list of services");
        fields.close();
        Some(Self { services: services? })
    }
}

impl Read for Service {
    fn read(place: Place<'_>, findings: &mut Findings) -> Option<Self> {
        let mut fields = Fields::open(place, findings)?;
        let id = fields.required("id", "the service's id");
        let title = fields.required("title", "a name for people");
        let source = fields.required("source", "where the service comes from");
        let default = fields.required("default", "true or false");
        let (sets, aliases) = (fields.or("sets", Vec::new()), fields.or("aliases", Vec::new()));
        let (risk, notes) = (fields.optional("risk"), fields.or("notes", Vec::new()));
        let rules = fields.required("rules", "a list of rules");
        fields.close();
        Some(Self {
            id: id?,
            title: title?,
            source: source?,
            default: default?,
            sets,
            aliases,
            risk,
            notes,
            rules: rules?,
        })
    }
}

impl Read for Rule {
    fn read(place: Place<'_>, findings: &mut Findings) -> Option<Self> {
        let mut fields = Fields::open(place, findings)?;
        let id = fields.required("id", "the rule's id");
        let mut rule = Self {
            id: String::new(),
            source: fields.optional("source"),
            fqdns: fields.or("fqdns", Vec::new()),
            cidrs: fields.or("cidrs", Vec::new()),
            selected: fields.or("selected", Vec::new()),
            destinations_of: fields.optional("destinations_of"),
            site_networks: fields.or("site_networks", false),
            ports: fields.ports().map(|ports| ports.clone().unwrap_or_default()),
        };
        fields.close();
        rule.id = id?;
        Some(rule)
    }
}

impl Read for Selected {
    fn read(place: Place<'_>, findings: &mut Findings) -> Option<Self> {
        let mut fields = Fields::open(place, findings)?;
        let region = fields.required("region", "the region of these destinations");
        let tenants = fields.or("tenants", Vec::new());
        let (fqdns, cidrs) = (fields.or("fqdns", Vec::new()), fields.or("cidrs", Vec::new()));
        fields.close();
        Some(Self { region: region?, tenants, fqdns, cidrs })
    }
}

impl Read for Provenance {
    fn read(place: Place<'_>, findings: &mut Findings) -> Option<Self> {
        let mut fields = Fields::open(place, findings)?;
        let document = fields.required("document", "the document's title");
        let section = fields.required("section", "its table, list or heading");
        let date = fields.optional("date");
        fields.close();
        Some(Self { document: document?, section: section?, date })
    }
}

impl Read for RuleId {
    fn read(place: Place<'_>, findings: &mut Findings) -> Option<Self> {
        parsed(place, findings, "SERVICE/RULE")
    }
}

impl Read for Date {
    fn read(place: Place<'_>, findings: &mut Findings) -> Option<Self> {
        parsed(place, findings, "a day such as 2023-09-19")
    }
}

impl Read for Region {
    fn read(place: Place<'_>, findings: &mut Findings) -> Option<Self> {
        parsed(place, findings, "a region such as europe")
    }
}
