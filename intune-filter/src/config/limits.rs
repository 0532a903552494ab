//! What one client may begin in a time.

use serde::{Deserialize, Serialize};

use crate::yaml::{Fields, Findings, Place, Read, word};

/// What one source address may begin in a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Limits {
    /// DNS queries that are passed on; and, counted apart, TCP connections to resolvers.
    pub queries: Limit,
    /// New flows; and, counted apart, datagrams in fragments.
    pub flows: Limit,
    /// What a zone's link-local sources may begin together, and those for whom no bucket is free.
    pub zone: ZoneLimits,
}

/// What the sources of a zone may begin together that are nobody in particular.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ZoneLimits {
    /// As [`Limits::queries`], and by default as much.
    pub queries: Limit,
    /// As [`Limits::flows`], and by default as much.
    pub flows: Limit,
}

/// A rate, and how much of it may come at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Limit {
    /// There is no limit.
    Off,
    /// At most as much.
    #[serde(untagged)]
    At {
        /// So many in a second.
        rate: u32,
        /// So many at once, after a rest.
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
    /// A zone has what one address has.
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

/// What the file says of a zone's limits.
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
