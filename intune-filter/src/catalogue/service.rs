//! Defines the contents of a catalogue: services, rules, sources and regions.

use std::{fmt, str::FromStr};

use ipnet::IpNet;
use serde::Serialize;

use crate::{pattern::Pattern, ports::Ports};

/// Name of the set of services that are on by default.
pub const DEFAULT_SET: &str = "default";

/// Name of the set of all services.
pub const ALL_SET: &str = "all";

/// Service that a site may let its clients reach.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Service {
    /// Id in configurations: lower-case letters, digits and hyphens.
    pub id: String,
    /// Title for people.
    pub title: String,
    /// Provenance of the rules that have none of their own.
    pub source: Provenance,
    /// Whether the service is in the set `default`.
    pub default: bool,
    /// Further sets of the service.
    pub sets: Vec<String>,
    /// Other names of the service in configurations.
    pub aliases: Vec<String>,
    /// Traffic that the service opens beyond its purpose: shared addresses, over-broad wildcards.
    pub risk: Option<String>,
    /// Remarks of the source, or of this catalogue.
    pub notes: Vec<String>,
    /// Rules of the service.
    pub rules: Vec<Rule>,
}

/// One set of destinations and one set of ports, with a bit of its own in the kernel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rule {
    /// Id of the rule within its service.
    pub id: String,
    /// Provenance of the rule, if it differs from the service's.
    pub source: Option<Provenance>,
    /// Name patterns of the destinations in every region.
    pub fqdns: Vec<Pattern>,
    /// Prefixes of the destinations in every region.
    pub cidrs: Vec<IpNet>,
    /// Destinations of single regions or tenant locations.
    pub selected: Vec<Selected>,
    /// Rule whose destinations this rule has, instead of its own.
    pub destinations_of: Option<RuleId>,
    /// Whether the destinations are the site's own networks, which only the site can name.
    pub site_networks: bool,
    /// Ports.
    pub ports: Ports,
}

/// Destinations of one region or of some of its tenant locations.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Selected {
    /// Region of the destinations.
    pub region: Region,
    /// Tenant locations; empty for the whole region.
    pub tenants: Vec<String>,
    /// Name patterns.
    pub fqdns: Vec<Pattern>,
    /// Prefixes.
    pub cidrs: Vec<IpNet>,
}

impl Service {
    /// Returns the rule with an id within the service.
    #[must_use]
    pub fn rule(&self, id: &str) -> Option<&Rule> {
        self.rules.iter().find(|rule| rule.id == id)
    }

    /// Returns the id of one of the service's rules, with the service.
    #[must_use]
    pub fn rule_id(&self, rule: &Rule) -> RuleId {
        RuleId { service: self.id.clone(), rule: rule.id.clone() }
    }

    /// Whether the service belongs to a set.
    #[must_use]
    pub fn is_in(&self, set: &str) -> bool {
        match set {
            ALL_SET => true,
            DEFAULT_SET => self.default,
            _ => self.sets.iter().any(|name| name == set),
        }
    }
}

/// Id of a rule with its service, `SERVICE/RULE`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RuleId {
    /// Id of the service.
    pub service: String,
    /// Id of the rule within the service.
    pub rule: String,
}

impl FromStr for RuleId {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.split_once('/') {
            Some((service, rule)) if !service.is_empty() && !rule.is_empty() => {
                Ok(Self { service: service.to_owned(), rule: rule.to_owned() })
            }
            _ => Err(format!("bad rule {text:?}, expected SERVICE/RULE")),
        }
    }
}

impl fmt::Display for RuleId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.service, self.rule)
    }
}

/// Provenance of an entry.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize)]
pub struct Provenance {
    /// Title of the document.
    pub document: String,
    /// Table, list or heading in the document.
    pub section: String,
    /// Date of the document, if it has one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub date: Option<Date>,
}

impl fmt::Display for Provenance {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}, {}", self.document, self.section)?;
        if let Some(date) = &self.date {
            write!(f, " ({date})")?;
        }
        Ok(())
    }
}

/// Day in the form `2023-09-19`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
pub struct Date(String);

impl FromStr for Date {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let number = |part: &str, length| {
            let digits = part.len() == length && part.bytes().all(|octet| octet.is_ascii_digit());
            part.parse::<u16>().ok().filter(|_| digits)
        };
        let parts: Vec<&str> = text.split('-').collect();
        let legal = if let [year, month, day] = parts[..] {
            number(year, 4).is_some()
                && number(month, 2).is_some_and(|month| (1..=12).contains(&month))
                && number(day, 2).is_some_and(|day| (1..=31).contains(&day))
        } else {
            false
        };
        if legal {
            Ok(Self(text.to_owned()))
        } else {
            Err(format!("bad date {text:?}, expected YEAR-MONTH-DAY such as 2023-09-19"))
        }
    }
}

impl fmt::Display for Date {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Region of the world in which Intune tenants are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Region {
    /// North America.
    NorthAmerica,
    /// Europe.
    Europe,
    /// Asia Pacific.
    AsiaPacific,
}

impl Region {
    /// Every region.
    pub const ALL: [Self; 3] = [Self::NorthAmerica, Self::Europe, Self::AsiaPacific];

    /// Returns the name in configurations.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::NorthAmerica => "north-america",
            Self::Europe => "europe",
            Self::AsiaPacific => "asia-pacific",
        }
    }
}

impl fmt::Display for Region {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Region {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        Self::ALL.into_iter().find(|region| region.as_str() == text).ok_or_else(|| {
            format!("bad region {text:?}, expected north-america, europe or asia-pacific")
        })
    }
}
