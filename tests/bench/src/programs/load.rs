//! Size of the maps while programs are measured, and constants that packets and policy share.

/// The port of every rule.
pub const PORT: u16 = 443;
/// Last octet of the address of the client that is told of denials.
pub const REJECTED: u8 = 200;
/// Number of elements in the maps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Load {
    /// Networks of the policy, of each family.
    pub nets: u32,
    /// Learned addresses of each family.
    pub hosts: u32,
    /// Known flows of each family.
    pub flows: u32,
}

impl Load {
    /// Elements of a usual site.
    pub const BASE: Self = Self { nets: 500, hosts: 1_000, flows: 1_000 };
    /// The most known flows.
    pub const MOST_FLOWS: u32 = 1_000_000;
}
