//! Names the regions and clouds in which Intune tenants are.

use super::words::words;

words! {
    /// Region of the world in which Intune tenants are.
    pub enum Region: "region" {
        /// North America.
        NorthAmerica = "north-america",
        /// Europe.
        Europe = "europe",
        /// Asia Pacific.
        AsiaPacific = "asia-pacific",
    }
}

words! {
    /// Cloud in which a tenant is.
    #[derive(Default)]
    pub enum Cloud: "cloud" {
        /// The public cloud, GCC included.
        #[default]
        Worldwide = "worldwide",
        /// GCC High and DoD together.
        UsGovernment = "us-government",
        /// The cloud that 21Vianet operates in China.
        China = "china",
    }
}
