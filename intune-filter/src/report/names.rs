//! Defines the JSON of `names`: an element for each learned address and name.

use std::{collections::BTreeSet, net::IpAddr};

use serde::Serialize;

/// Learned address under one of its names.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct LearnedAddress {
    /// Name; `None` if the daemon did not see the answer.
    pub name: Option<String>,
    /// Learned address.
    pub address: IpAddr,
    /// Services whose rules the address has.
    pub services: BTreeSet<String>,
    /// Seconds until the address is forgotten.
    pub expires_in_s: u64,
}
