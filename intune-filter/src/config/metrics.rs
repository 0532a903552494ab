//! Defines and reads the endpoint of the metrics.

use std::net::{Ipv4Addr, SocketAddr};

use serde::{Deserialize, Deserializer, Serialize, de};

use crate::yaml::{Fields, Findings, Place, Read, word};

/// Metrics endpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Metrics {
    /// Listening address; `None` if the endpoint is off.
    #[serde(serialize_with = "off_or_address", deserialize_with = "address_or_off")]
    pub listen: Option<SocketAddr>,
}

impl Default for Metrics {
    fn default() -> Self {
        Self { listen: Some(SocketAddr::from((Ipv4Addr::LOCALHOST, 9469))) }
    }
}

#[expect(clippy::ref_option, reason = "serde passes a reference to the field")]
fn off_or_address<S: serde::Serializer>(
    listen: &Option<SocketAddr>,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    match listen {
        Some(address) => serializer.collect_str(address),
        None => serializer.serialize_str("off"),
    }
}

fn address_or_off<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<SocketAddr>, D::Error> {
    match &*String::deserialize(deserializer)? {
        "off" => Ok(None),
        address => address.parse().map(Some).map_err(de::Error::custom),
    }
}

impl Read for Metrics {
    fn read(place: Place<'_>, findings: &mut Findings) -> Option<Self> {
        let mut fields = Fields::open(place, findings)?;
        let listen = fields.or("listen", Listen(Self::default().listen));
        fields.close();
        Some(Self { listen: listen.0 })
    }
}

/// Listening address, or `off`.
struct Listen(Option<SocketAddr>);

impl Read for Listen {
    fn read(place: Place<'_>, findings: &mut Findings) -> Option<Self> {
        match word(place) {
            Some("off") => Some(Self(None)),
            Some(text) if text.parse::<SocketAddr>().is_ok() => Some(Self(text.parse().ok())),
            _ => findings.expected(place, "an address and a port such as 127.0.0.1:9469, or off"),
        }
    }
}
