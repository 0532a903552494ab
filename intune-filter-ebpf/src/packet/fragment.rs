//! Fragments of datagrams.

/// Part of its datagram that a packet is.
#[repr(u8)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fragment {
    /// Whole datagram. So is an IPv6 atomic fragment (RFC 6946).
    Whole = 0,
    /// First fragment, with the transport header.
    First = 1,
    /// Later fragment, without a transport header.
    Later = 2,
}

impl Fragment {
    /// Returns the part for an offset, in octets, and the flag "more fragments".
    #[inline(always)]
    pub(super) const fn of(offset: u32, more: bool) -> Self {
        if offset != 0 {
            Self::Later
        } else if more {
            Self::First
        } else {
            Self::Whole
        }
    }
}
