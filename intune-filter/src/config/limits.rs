//! Defines and reads the rate limits of clients.

use serde::{Deserialize, Serialize};

use crate::yaml::{Fields, Findings, Place, Read, word};

/// Rate limits of one source address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Limits {
    /// DNS queries passed on; TCP connections to resolvers are counted apart by the same limit.
    pub queries: Limit,
    /// New flows; datagrams in fragments are counted apart by the same limit.
    pub flows: Limit,
    /// Limits that the link-local sources of a zone share with sources for which no bucket is free.
    pub zone: ZoneLimits,
}

/// Limits that sources of a zone share which have no bucket of their own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ZoneLimits {
    /// Limit like [`Limits::queries`], which is its default.
    pub queries: Limit,
    /// Limit like [`Limits::flows`], which is its default.
    pub flows: Limit,
}

/// Rate with a burst.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Limit {
    /// No limit.
    Off,
    /// Token bucket.
    #[serde(untagged)]
    At {
        /// Tokens per second.
        rate: u32,
        /// Tokens of a full bucket.
        burst: u32,
    },
}

impl Default for Limits {
    fn default() -> Self {
        let limit = Limit::At { rate: 100, burst: 1000 };
        Self::both(limit, limit)
    }
}

impl Limits {
    /// Returns limits with the same values for an address and for its zone.
    const fn both(queries: Limit, flows: Limit) -> Self {
        Self { queries, flows, zone: ZoneLimits { queries, flows } }
    }
}

impl Read for Limits {
    fn read(place: Place<'_>, findings: &mut Findings) -> Option<Self> {
        let default = Self::default();
        let mut fields = Fields::open(place, findings)?;
        let queries = fields.or("queries", default.queries);
        let limits = Self::both(queries, fields.or("flows", default.flows));
        let zone: Option<GivenZone> = fields.optional("zone");
        fields.close();
        let GivenZone { queries, flows } = zone.unwrap_or_default();
        let ZoneLimits { queries: same_queries, flows: same_flows } = limits.zone;
        let zone = ZoneLimits {
            queries: queries.unwrap_or(same_queries),
            flows: flows.unwrap_or(same_flows),
        };
        Some(Self { zone, ..limits })
    }
}

/// Limits of a zone as far as the file gives them.
#[derive(Default)]
struct GivenZone {
    queries: Option<Limit>,
    flows: Option<Limit>,
}

impl Read for GivenZone {
    fn read(place: Place<'_>, findings: &mut Findings) -> Option<Self> {
        let mut fields = Fields::open(place, findings)?;
        let zone = Self { queries: fields.optional("queries"), flows: fields.optional("flows") };
        fields.close();
        Some(zone)
    }
}

impl Read for Limit {
    fn read(place: Place<'_>, findings: &mut Findings) -> Option<Self> {
        match word(place) {
            Some("off") => return Some(Self::Off),
            Some(_) => return findings.expected(place, "{rate: ..., burst: ...}, or off"),
            None => {}
        }
        let mut fields = Fields::open(place, findings)?;
        let rate = fields.required("rate", "how many in a second");
        let burst = fields.required("burst", "how many at once");
        fields.close();
        Some(Self::At { rate: rate?, burst: burst? })
    }
}
