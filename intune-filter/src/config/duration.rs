//! Reads and prints durations in the configuration's notation: `60s`, `90m`, `12h`, `1d`.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use crate::yaml::{Findings, Place, Read, parsed};

/// Duration in whole seconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Seconds(pub u32);

/// Suffix of each unit and its length in seconds, longest first.
const UNITS: [(char, u32); 4] = [('d', 86_400), ('h', 3600), ('m', 60), ('s', 1)];

impl From<Seconds> for std::time::Duration {
    fn from(seconds: Seconds) -> Self {
        Self::from_secs(seconds.0.into())
    }
}

impl FromStr for Seconds {
    type Err = DurationError;

    fn from_str(text: &str) -> Result<Self, DurationError> {
        let error = || DurationError(text.to_owned());
        let unit = text.chars().next_back().ok_or_else(error)?;
        let number = &text[..text.len() - unit.len_utf8()];
        let (_, length) = UNITS.iter().find(|(suffix, _)| *suffix == unit).ok_or_else(error)?;
        // `u32::from_str` would accept a leading plus sign.
        if !number.bytes().all(|octet| octet.is_ascii_digit()) {
            return Err(error());
        }
        let number: u32 = number.parse().map_err(|_| error())?;
        number.checked_mul(*length).map(Self).ok_or_else(error)
    }
}

impl fmt::Display for Seconds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let whole = |length: &u32| self.0 != 0 && self.0.is_multiple_of(*length);
        match UNITS.iter().find(|(_, length)| whole(length)) {
            Some((suffix, length)) => write!(f, "{}{suffix}", self.0 / length),
            None => write!(f, "{}s", self.0),
        }
    }
}

impl Serialize for Seconds {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Seconds {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(de::Error::custom)
    }
}

impl Read for Seconds {
    fn read(place: Place<'_>, findings: &mut Findings) -> Option<Self> {
        parsed(place, findings, "a duration such as 60s or 1d")
    }
}

/// Error for text that is no duration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DurationError(String);

impl fmt::Display for DurationError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "bad duration {:?}, expected a number and s, m, h or d, such as 60s or 1d",
            self.0
        )
    }
}

impl std::error::Error for DurationError {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_units() {
        for (text, seconds) in
            [("0s", 0), ("60s", 60), ("90m", 5400), ("12h", 43_200), ("1d", 86_400), ("007s", 7)]
        {
            assert_eq!(text.parse(), Ok(Seconds(seconds)), "{text}");
        }
    }

    #[test]
    fn prints_what_it_reads() {
        for (seconds, text) in
            [(0, "0s"), (61, "61s"), (60, "1m"), (5400, "90m"), (3600, "1h"), (172_800, "2d")]
        {
            assert_eq!(Seconds(seconds).to_string(), text);
            assert_eq!(text.parse(), Ok(Seconds(seconds)));
        }
    }

    #[test]
    fn refuses_the_rest() {
        for text in
            ["", "s", "60", "1 d", "+1s", "-1s", "1.5h", "1h30m", "1w", "1D", "99999999d", "\u{e9}"]
        {
            assert_eq!(text.parse::<Seconds>(), Err(DurationError(text.to_owned())), "{text}");
        }
    }
}
