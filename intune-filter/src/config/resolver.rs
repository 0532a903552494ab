//! Defines and reads a trusted resolver: its address, and the interfaces by which its answers come.

use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use crate::yaml::{Fields, Findings, Place, Read, word};

/// Resolver that clients may ask, and whose answers are learned from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "Written", into = "Written")]
pub struct Resolver {
    /// Address that clients send to.
    pub address: IpAddr,
    /// Names of the only interfaces by which its answers may come in; if empty, those that routes to
    /// it lead out of.
    pub via: Vec<String>,
}

/// Resolver as a file has it.
#[derive(Clone, Serialize, Deserialize)]
#[serde(untagged)]
enum Written {
    Address(IpAddr),
    Via { address: IpAddr, via: Vec<String> },
}

impl From<Written> for Resolver {
    fn from(written: Written) -> Self {
        match written {
            Written::Address(address) => Self { address, via: Vec::new() },
            Written::Via { address, via } => Self { address, via },
        }
    }
}

impl From<Resolver> for Written {
    fn from(Resolver { address, via }: Resolver) -> Self {
        if via.is_empty() { Self::Address(address) } else { Self::Via { address, via } }
    }
}

impl Read for Resolver {
    fn read(place: Place<'_>, findings: &mut Findings) -> Option<Self> {
        if word(place).is_some() {
            return Some(Self { address: IpAddr::read(place, findings)?, via: Vec::new() });
        }
        let mut fields = Fields::open(place, findings)?;
        let address = fields.required("address", "the resolver's address");
        let via = fields.required("via", "a list of interfaces, or the address alone");
        fields.close();
        Some(Self { address: address?, via: via.unwrap_or_default() })
    }
}
