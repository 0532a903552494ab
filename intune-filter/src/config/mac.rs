//! Reads and writes hardware addresses of senders.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

use crate::yaml::{Findings, Place, Read, word};

/// Hardware address of one sender: neither zero nor a group's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct MacAddress([u8; 6]);

impl MacAddress {
    /// Returns the six octets.
    #[must_use]
    pub const fn octets(self) -> [u8; 6] {
        self.0
    }
}

/// Text that is no [`MacAddress`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MacError;

impl fmt::Display for MacError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(EXPECTED)
    }
}

impl std::error::Error for MacError {}

const EXPECTED: &str = "a sender's MAC address such as \"02:00:5e:00:53:10\"";

impl FromStr for MacAddress {
    type Err = MacError;

    fn from_str(text: &str) -> Result<Self, MacError> {
        let separator = if text.contains('-') { '-' } else { ':' };
        let mut octets = Vec::new();
        for part in text.split(separator) {
            if part.len() != 2 || !part.bytes().all(|digit| digit.is_ascii_hexdigit()) {
                return Err(MacError);
            }
            octets.push(u8::from_str_radix(part, 16).map_err(|_| MacError)?);
        }
        let octets: [u8; 6] = octets.try_into().map_err(|_| MacError)?;
        let [first, ..] = octets;
        if first & 1 != 0 || octets == [0; 6] { Err(MacError) } else { Ok(Self(octets)) }
    }
}

impl fmt::Display for MacAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b, c, d, e, g] = self.0;
        write!(f, "{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{g:02x}")
    }
}

impl From<MacAddress> for String {
    fn from(address: MacAddress) -> Self {
        address.to_string()
    }
}

impl TryFrom<String> for MacAddress {
    type Error = MacError;

    fn try_from(text: String) -> Result<Self, MacError> {
        text.parse()
    }
}

impl Read for MacAddress {
    fn read(place: Place<'_>, findings: &mut Findings) -> Option<Self> {
        match word(place).map(str::parse) {
            Some(Ok(address)) => Some(address),
            _ => findings.expected(place, EXPECTED),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_notations_are_read_and_one_is_written() {
        for text in ["02:00:5e:00:53:aF", "02-00-5E-00-53-AF"] {
            assert_eq!(text.parse::<MacAddress>().unwrap().to_string(), "02:00:5e:00:53:af");
        }
    }

    #[test]
    fn what_no_sender_has_is_refused() {
        for text in [
            "",
            "02:00:5e:00:53",
            "02:00:5e:00:53:10:11",
            "02:00:5e:00:53:1",
            "02:00:5e:00:53:g0",
            "02:00-5e:00:53:10",
            "+2:00:5e:00:53:10",
            "00:00:00:00:00:00",
            "ff:ff:ff:ff:ff:ff",
            "01:00:5e:00:00:01",
        ] {
            assert_eq!(text.parse::<MacAddress>(), Err(MacError), "{text}");
        }
    }
}
