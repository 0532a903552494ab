//! Network interfaces, and the place on them where packets are judged.

/// Where packets from clients are judged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// In the driver.
    Native,
    /// In the network stack.
    Generic,
    /// At TC, without XDP.
    Tc,
}

impl Mode {
    /// The word that the configuration uses.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Native => "native",
            Self::Generic => "generic",
            Self::Tc => "tc",
        }
    }
}

/// A network interface as it is now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Interface {
    /// Its name.
    pub name: String,
    /// Its index.
    pub index: u32,
    /// Whether it is up.
    pub up: bool,
    /// The XDP program on it, and where that runs.
    pub xdp: Option<(u32, Mode)>,
}
