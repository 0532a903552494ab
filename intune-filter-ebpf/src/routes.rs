//! Lookups of routes: those that are considered, and what they lead to.

use crate::result_word::{register_word, result_word};

/// Routes that a lookup considers.
#[repr(u32)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Routes {
    /// All routes, as for a packet without a mark: no flag.
    All = 0,
    /// Routes of the table main: `BPF_FIB_LOOKUP_DIRECT`.
    Main = 1,
    /// Routes out of the interface, as for a packet that the gateway sends:
    /// `BPF_FIB_LOOKUP_OUTPUT`.
    Out = 2,
    /// Routes of the table local: `BPF_FIB_LOOKUP_DIRECT` and `BPF_FIB_LOOKUP_TBID`. The table has
    /// unicast routes only where it is one with the table main.
    Local = 1 | 8,
}

result_word! {
    /// Result of a route lookup: the index of a device, or none.
    pub Route {
        /// The kernel forwards nothing there: the address is the gateway's, or no route leads
        /// there.
        NOT_FORWARDED = 0,
        /// A route rejects the packet: blackhole, unreachable, prohibit.
        REJECTED = u64::MAX - 1,
        /// The kernel tells no route: it does not forward for that interface.
        UNTOLD = u64::MAX,
    }
}

impl Route {
    /// Returns the route out of the device with this index.
    #[inline(always)]
    #[must_use]
    pub const fn to(device: u32) -> Self {
        Self(device as u64)
    }

    /// Whether the route leads to a device.
    #[inline(always)]
    #[must_use]
    pub const fn leads(self) -> bool {
        self.0 != Self::NOT_FORWARDED.0 && self.0 < Self::REJECTED.0
    }
}

register_word!(Route);
