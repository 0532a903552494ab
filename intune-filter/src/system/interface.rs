//! Describes network interfaces, and the mode in which their packets are judged.

use super::{LinkLayer, clsact::Filters};

/// Mode in which packets from clients are judged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// Native XDP, in the driver.
    Native,
    /// Generic XDP, in the network stack.
    Generic,
    /// TC ingress, without XDP.
    Tc,
}

impl Mode {
    /// Returns the word of the configuration.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Native => "native",
            Self::Generic => "generic",
            Self::Tc => "tc",
        }
    }
}

/// Network interface at one moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Interface {
    /// Name of the interface. Where it was renamed under the programs, that by which it is judged.
    pub name: String,
    /// Present name of the interface, if that is another.
    pub renamed: Option<String>,
    /// Index of the interface.
    pub index: u32,
    /// Whether the interface is up.
    pub up: bool,
    /// Id and mode of the attached XDP program.
    pub xdp: Option<(u32, Mode)>,
    /// Filters of clsact at the programs' place; `None` where the kernel has TCX, or does not tell.
    pub filters: Option<Filters>,
    /// Form of its packets.
    pub link: LinkLayer,
}

impl Interface {
    /// Returns the name by which the kernel knows the interface.
    #[must_use]
    pub fn present_name(&self) -> &str {
        self.renamed.as_ref().unwrap_or(&self.name)
    }

    /// Returns an interface that is up, without a program.
    #[cfg(test)]
    pub(crate) fn bare(name: &str, index: u32) -> Self {
        let link = LinkLayer::Ethernet;
        Self { name: name.into(), renamed: None, index, up: true, xdp: None, filters: None, link }
    }
}
