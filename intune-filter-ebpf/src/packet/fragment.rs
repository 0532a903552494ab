//! Fragments of datagrams.

/// Part of its datagram that a packet is.
#[repr(u8)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fragment {
    /// All of it. So is an IPv6 atomic fragment (RFC 6946).
    Whole = 0,
    /// The first one, with the transport header.
    First = 1,
    /// One without.
    Later = 2,
}

impl Fragment {
    /// By the offset, and whether more fragments follow.
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
