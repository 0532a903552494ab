//! Parses ranges of ports in the catalogue's and the configuration's notation: `80` or `5228-5230`.

use std::{fmt, ops::RangeInclusive, str::FromStr};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// Range of one or more ports, never with port 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PortRange {
    first: u16,
    last: u16,
}

impl PortRange {
    /// Returns the range from `first` to `last`, both included.
    ///
    /// # Errors
    /// One of the ports is 0, or `last` is below `first`.
    pub const fn new(first: u16, last: u16) -> Result<Self, PortError> {
        if first == 0 || last == 0 {
            return Err(PortError::Zero);
        }
        if last < first {
            return Err(PortError::Inverted(first, last));
        }
        Ok(Self { first, last })
    }

    /// Returns the lowest port.
    #[must_use]
    pub const fn first(self) -> u16 {
        self.first
    }

    /// Returns the highest port.
    #[must_use]
    pub const fn last(self) -> u16 {
        self.last
    }

    /// Returns every port of the range.
    #[must_use]
    pub const fn ports(self) -> RangeInclusive<u16> {
        self.first..=self.last
    }

    /// Whether the range contains `port`.
    #[must_use]
    pub const fn contains(self, port: u16) -> bool {
        self.first <= port && port <= self.last
    }
}

impl FromStr for PortRange {
    type Err = PortError;

    fn from_str(text: &str) -> Result<Self, PortError> {
        let (first, last) = text.split_once('-').unwrap_or((text, text));
        Self::new(port(first, text)?, port(last, text)?)
    }
}

fn port(digits: &str, text: &str) -> Result<u16, PortError> {
    let error = || PortError::NotAPort(text.to_owned());
    // `u16::from_str` would accept a leading plus sign.
    if digits.is_empty() || !digits.bytes().all(|octet| octet.is_ascii_digit()) {
        return Err(error());
    }
    digits.parse().map_err(|_| error())
}

impl fmt::Display for PortRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.first == self.last {
            write!(f, "{}", self.first)
        } else {
            write!(f, "{}-{}", self.first, self.last)
        }
    }
}

impl Serialize for PortRange {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for PortRange {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;

        impl de::Visitor<'_> for Visitor {
            type Value = PortRange;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a port such as 80, or a range such as \"5228-5230\"")
            }

            fn visit_u64<E: de::Error>(self, number: u64) -> Result<PortRange, E> {
                self.visit_str(&number.to_string())
            }

            fn visit_i64<E: de::Error>(self, number: i64) -> Result<PortRange, E> {
                self.visit_str(&number.to_string())
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<PortRange, E> {
                text.parse().map_err(E::custom)
            }
        }

        deserializer.deserialize_any(Visitor)
    }
}

/// Error for text or a pair of numbers that is no range of ports.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PortError {
    /// Port 0.
    Zero,
    /// The last port is below the first.
    Inverted(u16, u16),
    /// Text that is neither a number from 1 to 65535 nor two of them with a hyphen between.
    NotAPort(String),
}

impl fmt::Display for PortError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Zero => f.write_str("port 0 is no port, expected 1 to 65535"),
            Self::Inverted(first, last) => {
                write!(f, "inverted range {first}-{last}, expected {last}-{first}")
            }
            Self::NotAPort(text) => write!(
                f,
                "bad port {text:?}, expected a number from 1 to 65535 or a range such as 5228-5230"
            ),
        }
    }
}

impl std::error::Error for PortError {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_it_prints() {
        for (text, first, last) in
            [("80", 80, 80), ("5228-5230", 5228, 5230), ("1-65535", 1, 65535), ("7-7", 7, 7)]
        {
            let range: PortRange = text.parse().unwrap();
            assert_eq!((range.first(), range.last()), (first, last), "{text}");
            assert_eq!(range.to_string().parse(), Ok(range));
            assert!(range.contains(first) && range.contains(last));
            assert!(!range.contains(first - 1));
            assert!(last == u16::MAX || !range.contains(last + 1));
            assert_eq!(range.ports().count(), usize::from(last - first) + 1);
        }
    }

    #[test]
    fn refuses_what_is_no_port() {
        for text in ["", "-", "80-", "-80", "+80", " 80", "65536", "a", "1-2-3", "80,443", "-1"] {
            assert_eq!(
                text.parse::<PortRange>(),
                Err(PortError::NotAPort(text.to_owned())),
                "{text}"
            );
        }
        for text in ["0", "0-5", "5-0", "00"] {
            assert_eq!(text.parse::<PortRange>(), Err(PortError::Zero), "{text}");
        }
        assert_eq!("81-80".parse::<PortRange>(), Err(PortError::Inverted(81, 80)));
    }

    #[test]
    fn yaml_takes_numbers_and_text() {
        let ports: Vec<PortRange> = serde_yaml::from_str("[80, '443', 5228-5230]").unwrap();
        assert_eq!(serde_json::to_string(&ports).unwrap(), r#"["80","443","5228-5230"]"#);
        let error = serde_yaml::from_str::<Vec<PortRange>>("[80, 0]").unwrap_err().to_string();
        assert!(error.contains("port 0"), "{error}");
        assert!(serde_yaml::from_str::<Vec<PortRange>>("[true]").is_err());
        assert!(serde_yaml::from_str::<Vec<PortRange>>("[-1]").is_err());
        assert!(serde_yaml::from_str::<Vec<PortRange>>("[1.5]").is_err());
    }
}
