//! Defines the judge of a first packet, which is the loaded program or the policy.

use std::net::IpAddr;

use super::report::Judgement;
use crate::cli::destination::{Protocol, Target};

/// Judge of first packets.
pub(super) trait Judge {
    /// Returns the known addresses of a host, of the client's address family.
    fn addresses(&self, host: &Target) -> anyhow::Result<Vec<IpAddr>>;
    /// Judges a first packet to an address.
    fn judge(&self, address: IpAddr, port: u16, protocol: Protocol) -> anyhow::Result<Judgement>;
    /// Judges a packet to a name that is not resolved yet; `rules` are those of the name's
    /// patterns.
    fn predict(&self, rules: &[String], port: u16, protocol: Protocol)
    -> anyhow::Result<Judgement>;
}
