//! Who judges a first packet: the loaded program, or the policy.

use std::net::IpAddr;

use super::report::Judgement;
use crate::cli::destination::{Host, Protocol};

/// Who judges.
pub trait Judge {
    /// The addresses of a host that are known, of the client's family.
    fn addresses(&self, host: &Host) -> anyhow::Result<Vec<IpAddr>>;
    /// What becomes of a first packet to an address.
    fn judge(&self, address: IpAddr, port: u16, protocol: Protocol) -> anyhow::Result<Judgement>;
    /// What would become of one to a name that was not resolved yet; `rules` are its patterns'.
    fn predict(&self, rules: &[String], port: u16, protocol: Protocol)
    -> anyhow::Result<Judgement>;
}
