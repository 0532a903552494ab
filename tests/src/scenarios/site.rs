//! Variables of a site: its cloud, tenant, domains and countries.

use std::fmt;

use serde::Deserialize;

/// Cloud of a tenant.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Cloud {
    /// The commercial one.
    Worldwide,
    /// GCC High and DoD.
    UsGovernment,
    /// Operated by 21Vianet.
    China,
}

impl Cloud {
    /// All.
    pub const ALL: [Self; 3] = [Self::Worldwide, Self::UsGovernment, Self::China];

    /// Word of the configuration.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Worldwide => "worldwide",
            Self::UsGovernment => "us-government",
            Self::China => "china",
        }
    }
}

/// Region of a tenant's scale unit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Region {
    /// Americas.
    NorthAmerica,
    /// Europe and Switzerland.
    Europe,
    /// Asia, Australia and India.
    AsiaPacific,
}

/// Variables of a site, as its configuration names them.
#[derive(Clone, Debug)]
pub struct Site {
    /// Its cloud.
    pub cloud: Cloud,
    /// Its scale unit; without one the site takes every unit and region.
    pub tenant: Option<String>,
    /// Whether it is a tenant of GCC.
    pub gcc: bool,
    /// Own domains.
    pub domains: Vec<String>,
    /// Country domains, such as `co.uk`.
    pub country: Vec<String>,
}

impl Site {
    /// Keys of the site's configuration.
    #[must_use]
    pub fn keys(&self) -> String {
        let mut text = format!("cloud: {}\n", self.cloud.as_str());
        if let Some(tenant) = &self.tenant {
            text.push_str(&format!("tenant: {tenant}\n"));
        }
        if self.gcc {
            text.push_str("gcc: true\n");
        }
        text.push_str(&format!("domains: [{}]\n", self.domains.join(", ")));
        text.push_str(&format!("country: [{}]\n", self.country.join(", ")));
        text
    }
}

impl fmt::Display for Site {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let tenant = self.tenant.as_deref().unwrap_or("every tenant");
        let gcc = if self.gcc { ", GCC" } else { "" };
        write!(f, "{}, {tenant}{gcc}", self.cloud.as_str())
    }
}
