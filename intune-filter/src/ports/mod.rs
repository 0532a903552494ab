//! Ports of rules: ranges of them, and one value for each transport protocol.

mod per_protocol;
mod range;

pub use per_protocol::{PerProtocol, protocols};
pub use range::{PortError, PortRange};

/// The ports of a rule.
pub type Ports = PerProtocol<Vec<PortRange>>;
