//! Describes network interfaces, and the mode in which their packets are judged.

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
    /// Name of the interface.
    pub name: String,
    /// Index of the interface.
    pub index: u32,
    /// Whether the interface is up.
    pub up: bool,
    /// Id and mode of the attached XDP program.
    pub xdp: Option<(u32, Mode)>,
}

#[cfg(test)]
impl Interface {
    /// Returns an interface that is up, without a program.
    pub(crate) fn bare(name: &str, index: u32) -> Self {
        Self { name: name.into(), index, up: true, xdp: None }
    }
}
