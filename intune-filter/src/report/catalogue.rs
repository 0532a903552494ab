//! Defines the JSON of `endpoints list` and `match`.

use std::{collections::BTreeSet, fmt, time::SystemTime};

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

use crate::{
    catalogue::{Address, Catalogue, Date, Need, Risk, Role, Status, When},
    pattern::Pattern,
    policy::EditionDifference,
    ports::{PerProtocol, PortRange, Ports},
};

/// Service with the destinations and ports of all its rules: an element of `endpoints list`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Endpoints {
    /// Name patterns of all rules, each once.
    pub fqdns: BTreeSet<Pattern>,
    /// Prefixes of all rules, each once.
    pub cidrs: BTreeSet<IpNet>,
    /// Ports of all rules.
    #[serde(flatten)]
    pub ports: PerProtocol<BTreeSet<PortRange>>,
    /// The service.
    #[serde(flatten)]
    pub service: CatalogueService,
    /// Edition of the catalogue.
    pub edition: String,
    /// Sets that hold the service.
    pub sets: Vec<String>,
    /// Data of the catalogue, with their sources.
    pub data: Vec<DatumReport>,
}

/// Datum of the catalogue: a name, template or prefix of a rule.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct DatumReport {
    /// Id of the rule with its service, `SERVICE/RULE`.
    pub rule: String,
    /// Name, pattern, template or prefix.
    pub address: Address,
    /// Whether the site takes it.
    pub taken: bool,
    /// Whether the documents still have it.
    pub status: Status,
    /// Whether devices depend on it.
    pub need: Need,
    /// Part beside the rule's names.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub role: Option<Role>,
    /// Place in the documents, `SOURCE#SECTION`.
    pub from: String,
    /// The same for people: title, section and date.
    pub source: String,
    /// Day of the first document that has it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub since: Option<Date>,
    /// Day of the first document that no longer has it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub until: Option<Date>,
    /// What the documents have in its place.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub replaced_by: Option<String>,
    /// Traffic that it opens beyond its purpose.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub risk: Option<Risk>,
    /// Sites that it is for.
    #[serde(skip_serializing_if = "When::is_always")]
    pub when: When,
}

/// Edition in force with its age.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CatalogueStatus {
    /// Name of the edition.
    pub edition: String,
    /// Date of its newest source.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub date: Option<String>,
    /// Days since that date.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub age_days: Option<u64>,
}

/// Days after which an edition is called old.
const OLD: u64 = 180;

impl CatalogueStatus {
    /// Returns the edition of a catalogue with its age at a time.
    #[must_use]
    pub fn of(catalogue: &Catalogue, now: SystemTime) -> Self {
        let edition = catalogue.edition();
        Self {
            edition: edition.name.clone(),
            date: edition.date().map(ToString::to_string),
            age_days: edition.date().map(|date| date.age_days(now)),
        }
    }

    /// Returns the line of `status` for people.
    #[must_use]
    pub fn line(&self) -> String {
        format!("catalogue: {self}\n\n")
    }

    /// Returns a warning if the edition is old.
    #[must_use]
    pub fn warning(&self) -> Option<String> {
        let days = self.age_days.filter(|days| *days >= OLD)?;
        Some(format!(
            "edition {} of the catalogue is {days} days old: devices may need names that it lacks; a \
             new version of this program may have a newer one",
            self.edition
        ))
    }
}

/// Formats the edition with its date and age.
impl fmt::Display for CatalogueStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "edition {}", self.edition)?;
        match (&self.date, self.age_days) {
            (Some(date), Some(days)) => write!(f, " (documents up to {date}, {days} days old)"),
            _ => Ok(()),
        }
    }
}

/// Result of `endpoints diff`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct EditionsCompared {
    /// Number of the contract, [`super::SCHEMA`].
    pub schema: u32,
    /// Difference.
    #[serde(flatten)]
    pub difference: EditionDifference,
}

/// Service of the catalogue or of the site.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct CatalogueService {
    /// Id of the service.
    pub id: String,
    /// Title for people.
    pub title: String,
    /// Source of the catalogue's entry, or `this site`.
    pub source: String,
    /// Whether a group may use the service; without a configuration, whether it is in the set
    /// `default`.
    pub enabled: bool,
    /// Region whose destinations are listed, or `all`.
    pub region: &'static str,
    /// Traffic that the service opens beyond its purpose.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub risk: Option<String>,
    /// Remarks of the source about the service.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub notes: Vec<String>,
    /// Rules of the service.
    pub rules: Vec<CatalogueRule>,
}

/// One set of destinations and one set of ports.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct CatalogueRule {
    /// Id of the rule with its service, `SERVICE/RULE`.
    pub id: String,
    /// Name patterns.
    pub fqdns: Vec<Pattern>,
    /// Prefixes.
    pub cidrs: Vec<IpNet>,
    /// Ports.
    #[serde(flatten)]
    pub ports: Ports,
}

/// Result of `match`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Matches {
    /// Number of the contract, [`super::SCHEMA`].
    pub schema: u32,
    /// Name that was asked for.
    pub name: String,
    /// Policy whose services these are.
    pub judged: super::Judged,
    /// Edition of the catalogue.
    pub edition: String,
    /// Matching patterns, by service.
    pub services: Vec<Match>,
}

/// Pattern of a service, with the ports of those rules alone that have the pattern.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Match {
    /// Id of the service.
    pub id: String,
    /// Pattern that matches.
    pub pattern: Pattern,
    /// Ports.
    #[serde(flatten)]
    pub ports: PerProtocol<BTreeSet<PortRange>>,
    /// The rules' full ids.
    pub rules: Vec<String>,
    /// Sources of the pattern: places in documents, or `this site`.
    pub sources: Vec<String>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_edition_of_half_a_year_ago_is_called_old() {
        let status = |age_days| CatalogueStatus {
            edition: "2026-08".into(),
            date: Some("2026-08-21".into()),
            age_days,
        };
        assert_eq!(status(Some(OLD - 1)).warning(), None);
        assert_eq!(status(None).warning(), None);
        let warning = status(Some(OLD)).warning().unwrap();
        assert!(warning.contains("edition 2026-08 of the catalogue is 180 days old"), "{warning}");
        let told = status(Some(7)).to_string();
        assert_eq!(told, "edition 2026-08 (documents up to 2026-08-21, 7 days old)");
    }
}
