//! Defines an edition: a dated state of the documents, with its sources.

use std::{
    collections::BTreeMap,
    fmt,
    str::FromStr,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use jiff::{civil, tz::TimeZone};
use serde::Serialize;

/// Name of the edition of a site's catalogue that names none.
pub(super) const SITE: &str = "site";

/// Seconds of a day.
const DAY: u64 = 86_400;

/// Dated state of the documents.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Edition {
    /// Name, such as `2026-08`.
    pub name: String,
    /// Documents by their id.
    pub sources: BTreeMap<String, Source>,
    /// Documents that a site has added, by their id: they say nothing about the edition's age.
    pub added: BTreeMap<String, Source>,
    /// What the documents print and the edition leaves out.
    pub excused: Vec<Excused>,
}

impl Edition {
    /// Returns the date of the newest source, if any has one.
    #[must_use]
    pub fn date(&self) -> Option<&Date> {
        self.sources.values().filter_map(|source| source.date.as_ref()).max()
    }

    /// Returns the document with an id, the edition's or the site's.
    #[must_use]
    pub fn source(&self, id: &str) -> Option<&Source> {
        self.sources.get(id).or_else(|| self.added.get(id))
    }

    /// Returns a place within a source as text for people: title, section and date.
    #[must_use]
    pub fn cite(&self, provenance: &Provenance) -> String {
        let source = self.source(&provenance.source);
        let title = source.map_or(provenance.source.as_str(), |source| source.title.as_str());
        let section =
            provenance.section.as_ref().map_or(String::new(), |section| format!(", {section}"));
        let date = source.and_then(|source| source.date.as_ref());
        let date = date.map_or(String::new(), |date| format!(" ({date})"));
        format!("{title}{section}{date}")
    }
}

/// Document of which an edition was made.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Source {
    /// Title of the document.
    pub title: String,
    /// Date of the document, if it has one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub date: Option<Date>,
    /// Address of the document.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub url: Option<String>,
    /// Copy of the document that was read.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub read: Option<SourceCopy>,
}

/// Copy of a document: in a public repository, or a file that was imported.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct SourceCopy {
    /// Repository.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub repo: Option<String>,
    /// Commit.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub commit: Option<String>,
    /// Path in the repository.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
    /// Name of the imported file.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub file: Option<String>,
    /// SHA-256 of the imported file, in hexadecimal.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sha256: Option<String>,
}

/// What a source prints and the edition leaves out, with the reason.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Excused {
    /// Id of the source.
    pub source: String,
    /// Section of the source.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    /// Names or prefixes as printed; empty for the whole section.
    pub addresses: Vec<String>,
    /// Reason for people.
    pub reason: String,
}

/// Place within a source, `SOURCE#SECTION`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Provenance {
    /// Id of the source.
    pub source: String,
    /// Table, list or heading in the document.
    pub section: Option<String>,
}

impl FromStr for Provenance {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (source, section) = match text.split_once('#') {
            Some((source, section)) => (source, Some(section)),
            None => (text, None),
        };
        if source.is_empty() || section.is_some_and(str::is_empty) {
            return Err(format!("bad source {text:?}, expected SOURCE or SOURCE#SECTION"));
        }
        Ok(Self { source: source.to_owned(), section: section.map(ToOwned::to_owned) })
    }
}

impl fmt::Display for Provenance {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.source)?;
        self.section.as_ref().map_or(Ok(()), |section| write!(f, "#{section}"))
    }
}

/// Day in the form `2023-09-19`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
pub struct Date(civil::Date);

impl Date {
    /// Returns the whole days from this day to a time; 0 if the time is before.
    #[must_use]
    pub fn age_days(&self, now: SystemTime) -> u64 {
        let now = now.duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO).as_secs();
        now.saturating_sub(self.unix_seconds()) / DAY
    }

    /// Returns the seconds from the epoch to the beginning of the day, in UTC; 0 for a day before.
    #[must_use]
    pub fn unix_seconds(&self) -> u64 {
        let begins = TimeZone::UTC.to_timestamp(self.0.at(0, 0, 0, 0));
        begins.ok().and_then(|begins| u64::try_from(begins.as_second()).ok()).unwrap_or(0)
    }
}

impl FromStr for Date {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        // Other forms that the parser knows, such as one with a time, are none of a document's date.
        let day = text.parse::<civil::Date>().ok().filter(|day| day.to_string() == text);
        let error = || format!("bad date {text:?}, expected YEAR-MONTH-DAY such as 2023-09-19");
        day.map(Self).ok_or_else(error)
    }
}

impl fmt::Display for Date {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ages_are_whole_days_of_the_calendar() {
        for (date, seconds) in [
            ("1970-01-01", 0),
            ("1970-03-01", 59 * DAY),
            ("2000-02-29", 951_782_400),
            ("2024-12-31", 1_735_603_200),
            ("2026-08-21", 1_787_270_400),
        ] {
            let date: Date = date.parse().unwrap();
            assert_eq!(date.unix_seconds(), seconds, "{date}");
            let at = |seconds| UNIX_EPOCH + Duration::from_secs(seconds);
            assert_eq!(date.age_days(at(seconds + 180 * DAY - 1)), 179, "{date}");
            assert_eq!(date.age_days(at(seconds + 180 * DAY)), 180, "{date}");
            assert_eq!(date.age_days(UNIX_EPOCH), 0, "{date}");
        }
    }
}
