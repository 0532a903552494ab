//! Defines and reads the networks of a client group: prefixes, and whatever is on-link.

use std::fmt;

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

use crate::yaml::{Findings, Place, Read, is_list, word};

/// Word for whatever is on-link.
const ON_LINK: &str = "on-link";

/// Network of a group's clients.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Network {
    /// Whatever is on-link behind the group's interface and in no prefix of a group.
    #[serde(rename = "on-link")]
    OnLink,
    /// Prefix of addresses.
    #[serde(untagged)]
    Prefix(IpNet),
}

impl Network {
    /// Returns the prefix; `None` for what is on-link, which only the routes tell.
    #[must_use]
    pub const fn prefix(&self) -> Option<IpNet> {
        match self {
            Self::OnLink => None,
            Self::Prefix(prefix) => Some(*prefix),
        }
    }
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::OnLink => f.write_str(ON_LINK),
            Self::Prefix(prefix) => prefix.fmt(f),
        }
    }
}

impl Read for Network {
    fn read(place: Place<'_>, findings: &mut Findings) -> Option<Self> {
        let text = word(place);
        if text == Some(ON_LINK) {
            return Some(Self::OnLink);
        }
        if text.is_none_or(|text| !text.contains(['.', ':', '/'])) {
            return findings.expected(place, "a prefix such as 10.20.0.0/24, or on-link");
        }
        IpNet::read(place, findings).map(Self::Prefix)
    }
}

/// Networks of a group as the file has them: a list, or the word alone.
pub(super) struct Networks(pub(super) Vec<Network>);

impl Read for Networks {
    fn read(place: Place<'_>, findings: &mut Findings) -> Option<Self> {
        match word(place) {
            None if is_list(place) => Vec::read(place, findings).map(Self),
            Some(ON_LINK) => Some(Self(vec![Network::OnLink])),
            _ => findings.expected(place, "on-link, or a list of prefixes"),
        }
    }
}
