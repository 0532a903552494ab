//! `services`: an element each.

use serde::Serialize;

/// Traffic of one service, the sum of its rules'.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct ServiceTraffic {
    /// The service's id.
    pub id: String,
    /// Packets that passed.
    pub packets: u64,
    /// Their octets.
    pub bytes: u64,
    /// Flows that were opened.
    pub flows: u64,
    /// Packets that were denied.
    pub denied: u64,
}
