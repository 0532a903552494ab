//! Defines and reads the treatment of packets to the gateway itself: a word, or ports.

use intune_filter_ebpf::abi::TransportProtocol;
use serde::{Deserialize, Serialize};

use crate::{
    ports::Ports,
    yaml::{Fields, Findings, Place, Read, word},
};

/// Treatment of packets to the gateway's addresses on the client's own network.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ToGateway {
    /// Passed: left to the host's firewall.
    #[default]
    Pass,
    /// Judged like any other packet.
    Policy,
    /// Passed to these ports, and judged like any other packet to all others.
    #[serde(untagged)]
    Ports(Ports),
}

impl ToGateway {
    /// Whether packets to a port pass unjudged.
    #[must_use]
    pub fn lets_in(&self, protocol: TransportProtocol, port: u16) -> bool {
        match self {
            Self::Pass => true,
            Self::Policy => false,
            Self::Ports(ports) => ports[protocol].iter().any(|range| range.contains(port)),
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
        let ports = fields.ports();
        fields.close();
        Some(Self::Ports(ports.map(|ports| ports.clone().unwrap_or_default())))
    }
}
