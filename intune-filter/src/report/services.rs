//! Defines the JSON of `services`, an array.

use serde::Serialize;

/// Traffic of one service, summed over its rules.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct ServiceTraffic {
    /// Id of the service.
    pub id: String,
    /// Packets that passed.
    pub packets: u64,
    /// Octets of the packets that passed.
    pub bytes: u64,
    /// Flows that were opened.
    pub flows: u64,
    /// Packets that were denied.
    pub denied: u64,
    /// Packets that passed only since their group is audited or the warm-up lasts.
    pub audited: u64,
}
