//! Defines the treatment of frames with a VLAN tag that no zone has, and says which of the gateway's
//! devices it concerns.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::choice::choice;

choice! {
    /// Treatment of frames with a VLAN tag that no zone has.
    pub enum OtherVlans {
        /// Passed unjudged: routed, if the gateway has a VLAN device of that id.
        #[default]
        Pass = "pass",
        /// Denied.
        Deny = "deny",
    }
}

/// VLAN device of the gateway above a filtered interface, whose id is in no zone.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct OtherVlan {
    /// Name of the filtered interface.
    pub interface: String,
    /// VLAN id.
    pub vlan: u16,
    /// Name of the VLAN device.
    pub device: String,
}

impl fmt::Display for OtherVlan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "VLAN {} on {} (device {})", self.vlan, self.interface, self.device)
    }
}

impl OtherVlans {
    /// Says what becomes of a VLAN that is in no zone.
    #[must_use]
    pub fn fate_of(self, other: &OtherVlan) -> String {
        match self {
            Self::Pass => format!("{other} is in no zone: its frames pass unjudged"),
            Self::Deny => format!(
                "{other} is in no zone: its frames are denied, those of who manages the gateway by \
                 it too"
            ),
        }
    }
}

/// Says why a filtered interface may be no VLAN device of another if other VLANs are denied.
pub(super) fn refused(interface: &str, vlan: u16) -> String {
    format!(
        "deny would keep VLAN {vlan}'s frames on {interface} from the interface that is to judge them, \
         expected {vlan} in the vlans of {interface} in its place"
    )
}
