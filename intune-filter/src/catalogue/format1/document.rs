//! Parses one file of format 1, and keeps the lines of its services.

use ipnet::IpNet;

use crate::{
    catalogue::{CatalogueError, Date, Region, RuleId, error::Place as At},
    pattern::Pattern,
    ports::Ports,
    yaml::{self, Fields, FileErrors, Findings, Lines, Place, Read, Text},
};

/// Service of a file.
pub(super) struct Service {
    /// Id in configurations.
    pub id: String,
    /// Title for people.
    pub title: String,
    /// Source of the rules that have none of their own.
    pub source: Source,
    /// Whether the service is in the set `default`.
    pub default: bool,
    /// Further sets of the service.
    pub sets: Vec<String>,
    /// Other names of the service.
    pub aliases: Vec<String>,
    /// Traffic that the service opens beyond its purpose.
    pub risk: Option<String>,
    /// Remarks.
    pub notes: Vec<String>,
    /// Rules of the service.
    pub rules: Vec<Rule>,
}

/// Rule of a service.
pub(super) struct Rule {
    /// Id of the rule within its service.
    pub id: String,
    /// Source of the rule, if it differs from the service's.
    pub source: Option<Source>,
    /// Name patterns of the destinations in every region.
    pub fqdns: Vec<Pattern>,
    /// Prefixes of the destinations in every region.
    pub cidrs: Vec<IpNet>,
    /// Destinations of single regions or tenant locations.
    pub selected: Vec<Selected>,
    /// Rule whose destinations this rule has, instead of its own.
    pub destinations_of: Option<RuleId>,
    /// Whether the destinations are the site's own networks.
    pub site_networks: bool,
    /// Ports.
    pub ports: Ports,
}

/// Destinations of one region or of some of its tenant locations.
pub(super) struct Selected {
    /// Region of the destinations.
    pub region: Region,
    /// Tenant locations; empty for the whole region.
    pub tenants: Vec<String>,
    /// Name patterns.
    pub fqdns: Vec<Pattern>,
    /// Prefixes.
    pub cidrs: Vec<IpNet>,
}

/// Place in a document.
pub(super) struct Source {
    /// Title of the document.
    pub document: String,
    /// Table, list or heading in the document.
    pub section: String,
    /// Date of the document, if it has one.
    pub date: Option<Date>,
}

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
    pub(super) fn parse(name: &str, text: Text<'_>) -> Result<Self, CatalogueError> {
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

impl Read for Source {
    fn read(place: Place<'_>, findings: &mut Findings) -> Option<Self> {
        let mut fields = Fields::open(place, findings)?;
        let document = fields.required("document", "the document's title");
        let section = fields.required("section", "its table, list or heading");
        let date = fields.optional("date");
        fields.close();
        Some(Self { document: document?, section: section?, date })
    }
}
