//! Which packets to the gateway itself pass: a word, or ports.

use serde::{Deserialize, Serialize};

use crate::{
    ports::PortRange,
    yaml::{Fields, Findings, Place, Read, word},
};

/// What becomes of packets to the gateway's addresses on the client's own network.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ToGateway {
    /// They pass: the host firewall's business.
    #[default]
    Pass,
    /// They are judged like any other.
    Policy,
    /// Those to these ports pass, and the others are judged like any other.
    #[serde(untagged)]
    Ports {
        /// TCP ports.
        tcp: Vec<PortRange>,
        /// UDP ports.
        udp: Vec<PortRange>,
    },
}

impl ToGateway {
    /// Whether what is for a port passes unjudged.
    #[must_use]
    pub fn lets_in(&self, udp: bool, port: u16) -> bool {
        match self {
            Self::Pass => true,
            Self::Policy => false,
            Self::Ports { tcp, udp: over_udp } => {
                let ranges = if udp { over_udp } else { tcp };
                ranges.iter().flat_map(|range| range.ports()).any(|one| one == port)
            }
        }
    }
}

impl Read for ToGateway {
    fn read(place: Place<'_>, findings: &mut Findings) -> Option<Self> {
        match word(place) {
            Some("pass") => return Some(Self::Pass),
            Some("policy") => return Some(Self::Policy),
            Some(_) => {
                return findings.expected(place, "pass or policy, or ports: {tcp: [22], udp: []}");
            }
            None => {}
        }
        let mut fields = Fields::open(place, findings)?;
        let (tcp, udp) = (fields.or("tcp", Vec::new()), fields.or("udp", Vec::new()));
        fields.close();
        Some(Self::Ports { tcp, udp })
    }
}
