//! What a catalogue consists of: services, rules, sources and regions.

use std::{fmt, str::FromStr};

use ipnet::IpNet;
use serde::Serialize;

use crate::{pattern::Pattern, ports::Ports};

/// The set of the services that are on unless a site says otherwise.
pub const DEFAULT_SET: &str = "default";

/// The set of all services.
pub const ALL_SET: &str = "all";

/// Something that a site may let its clients reach.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Service {
    /// Its name in configurations: lower-case letters, digits and hyphens.
    pub id: String,
    /// Its name for people.
    pub title: String,
    /// Where it comes from, where a rule does not say otherwise.
    pub source: Source,
    /// Whether it belongs to the set `default`.
    pub default: bool,
    /// Further sets that it belongs to.
    pub sets: Vec<String>,
    /// Other names for it in configurations.
    pub aliases: Vec<String>,
    /// What it opens beyond its purpose: shared addresses, over-broad wildcards.
    pub risk: Option<String>,
    /// What its source or this catalogue has to say about it.
    pub notes: Vec<String>,
    /// What it consists of.
    pub rules: Vec<Rule>,
}

/// One set of destinations and one set of ports: what has a bit of its own in the kernel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rule {
    /// Its name within its service.
    pub id: String,
    /// Where it comes from, if not from where its service does.
    pub source: Option<Source>,
    /// Names that are its destinations everywhere.
    pub fqdns: Vec<Pattern>,
    /// Networks that are its destinations everywhere.
    pub cidrs: Vec<IpNet>,
    /// Destinations of one region or of some tenant locations.
    pub selected: Vec<Selected>,
    /// The rule whose destinations it has instead of its own.
    pub destinations_of: Option<RuleId>,
    /// Whether its destinations are the site's own networks, which only the site can name.
    pub site_networks: bool,
    /// Ports.
    pub ports: Ports,
}

/// Destinations of one region or of some tenant locations.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Selected {
    /// The region.
    pub region: Region,
    /// The tenant locations; empty if it is for all of the region.
    pub tenants: Vec<String>,
    /// Names.
    pub fqdns: Vec<Pattern>,
    /// Networks.
    pub cidrs: Vec<IpNet>,
}

impl Service {
    /// The rule of this name.
    #[must_use]
    pub fn rule(&self, id: &str) -> Option<&Rule> {
        self.rules.iter().find(|rule| rule.id == id)
    }

    /// The full id of one of its rules.
    #[must_use]
    pub fn rule_id(&self, rule: &Rule) -> RuleId {
        RuleId { service: self.id.clone(), rule: rule.id.clone() }
    }

    /// Where one of its rules comes from.
    #[must_use]
    pub fn source_of<'a>(&'a self, rule: &'a Rule) -> &'a Source {
        rule.source.as_ref().unwrap_or(&self.source)
    }

    /// Whether it belongs to a set.
    #[must_use]
    pub fn is_in(&self, set: &str) -> bool {
        match set {
            ALL_SET => true,
            DEFAULT_SET => self.default,
            _ => self.sets.iter().any(|name| name == set),
        }
    }
}

/// A rule's full id, `SERVICE/RULE`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RuleId {
    /// The service's id.
    pub service: String,
    /// The rule's id within the service.
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

/// Where an entry comes from.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize)]
pub struct Source {
    /// The document's title.
    pub document: String,
    /// The table, list or heading.
    pub section: String,
    /// The document's date, if it has one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub date: Option<Date>,
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}, {}", self.document, self.section)?;
        if let Some(date) = &self.date {
            write!(f, " ({date})")?;
        }
        Ok(())
    }
}

/// A day, as `2023-09-19`.
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

/// A part of the world that Intune tenants live in.
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

    /// Its name in configurations.
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
