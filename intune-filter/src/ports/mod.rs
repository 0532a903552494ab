//! Ports of rules: ranges of them, and one value for each transport protocol.

mod per_protocol;
mod range;

pub use per_protocol::{PerProtocol, protocols};
pub use range::{PortError, PortRange};

/// The ports of a rule.
pub type Ports = PerProtocol<Vec<PortRange>>;

/// Returns ports as a list for people: `tcp 80, 443; udp 123`.
#[must_use]
pub fn text<'p, T>(ports: &'p PerProtocol<T>) -> String
where
    &'p T: IntoIterator<Item = &'p PortRange>,
{
    let texts = |ports: &'p T| ports.into_iter().map(ToString::to_string).collect::<Vec<_>>();
    ports
        .iter()
        .map(|(protocol, ports)| (protocol.as_str(), texts(ports)))
        .filter(|(_, ports)| !ports.is_empty())
        .map(|(protocol, ports)| format!("{protocol} {}", ports.join(", ")))
        .collect::<Vec<_>>()
        .join("; ")
}
