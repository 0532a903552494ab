//! `names`: an element for each learned address under each of its names.

use std::{collections::BTreeSet, net::IpAddr};

use serde::Serialize;

/// A learned address under one of its names.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct LearnedAddress {
    /// The name; `None` if the daemon did not see the answer.
    pub name: Option<String>,
    /// The address.
    pub address: IpAddr,
    /// The services whose rules the address has.
    pub services: BTreeSet<String>,
    /// Seconds until the address is forgotten.
    pub expires_in_s: u64,
}
