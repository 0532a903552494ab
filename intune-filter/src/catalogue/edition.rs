//! Defines an edition: a dated state of the documents, with its sources.

use std::{
    collections::BTreeMap,
    fmt,
    str::FromStr,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

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
pub struct Date(String);

impl Date {
    /// Returns the whole days from this day to a time; 0 if the time is before.
    #[must_use]
    pub fn age_days(&self, now: SystemTime) -> u64 {
        let now = now.duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO).as_secs() / DAY;
        now.saturating_sub(self.days())
    }

    /// Returns the seconds from the epoch to the beginning of the day, in UTC.
    #[must_use]
    pub fn unix_seconds(&self) -> u64 {
        self.days() * DAY
    }

    /// Returns the days since 1970-01-01; 0 for a day before.
    fn days(&self) -> u64 {
        let mut parts = self.0.split('-').map(|part| part.parse::<u64>().unwrap_or(0));
        let mut next = || parts.next().unwrap_or(0);
        let (year, month, day) = (next(), next(), next());
        // Years that begin in March, so that the day of a leap year is the last one.
        let (year, month) =
            if month > 2 { (year, month - 3) } else { (year.saturating_sub(1), month + 9) };
        let of_years = 365 * year + year / 4 - year / 100 + year / 400;
        let of_months = (153 * month + 2) / 5;
        // 1970-01-01 is day 719,469 of this count.
        (of_years + of_months + day).saturating_sub(719_469)
    }
}

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
