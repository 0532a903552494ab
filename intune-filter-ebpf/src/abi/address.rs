//! Addresses as the maps hold them: their octets in network byte order, read as native words.

use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::layout;

/// IPv4 address: the four octets, as one native word.
#[repr(transparent)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct V4(pub u32);
layout!(V4, 4, u32);

/// IPv6 address: the sixteen octets, as four native words. In maps that serve both families, the
/// type also holds IPv4 addresses, mapped as in RFC 4291 section 2.5.5.2.
#[repr(transparent)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct V6(pub [u32; 4]);
layout!(V6, 16, [u32; 4]);

impl From<Ipv4Addr> for V4 {
    fn from(address: Ipv4Addr) -> Self {
        Self(u32::from_ne_bytes(address.octets()))
    }
}

impl From<V4> for Ipv4Addr {
    fn from(address: V4) -> Self {
        Self::from(address.0.to_ne_bytes())
    }
}

impl From<Ipv6Addr> for V6 {
    fn from(address: Ipv6Addr) -> Self {
        let o = address.octets();
        Self([
            u32::from_ne_bytes([o[0], o[1], o[2], o[3]]),
            u32::from_ne_bytes([o[4], o[5], o[6], o[7]]),
            u32::from_ne_bytes([o[8], o[9], o[10], o[11]]),
            u32::from_ne_bytes([o[12], o[13], o[14], o[15]]),
        ])
    }
}

impl From<V6> for Ipv6Addr {
    fn from(address: V6) -> Self {
        let mut octets = [0; 16];
        for (four, word) in octets.chunks_exact_mut(4).zip(address.0) {
            four.copy_from_slice(&word.to_ne_bytes());
        }
        Self::from(octets)
    }
}

impl V6 {
    /// Whether the address, of either family, is link-local (169.254.0.0/16 or fe80::/10).
    #[inline(always)]
    #[must_use]
    pub const fn is_of_link(self) -> bool {
        let Self([a, b, c, d]) = self;
        let v4 = a | b == 0 && c == 0xffff_u32.to_be() && u32::from_be(d) >> 16 == 0xa9fe;
        v4 || u32::from_be(a) >> 22 == 0xfe80 >> 6
    }
}

impl From<IpAddr> for V6 {
    fn from(address: IpAddr) -> Self {
        match address {
            IpAddr::V4(v4) => V4::from(v4).mapped(),
            IpAddr::V6(v6) => v6.into(),
        }
    }
}

impl From<V6> for IpAddr {
    fn from(address: V6) -> Self {
        Ipv6Addr::from(address).to_canonical()
    }
}

impl V4 {
    /// Returns the IPv4-mapped IPv6 address `::ffff:a.b.c.d`.
    #[inline(always)]
    #[must_use]
    pub const fn mapped(self) -> V6 {
        V6([0, 0, 0xffff_u32.to_be(), self.0])
    }
}

/// Address of either family, as the logic needs it.
pub trait Address: Copy + PartialEq {
    /// Length of the address in bits.
    const BITS: u32;
    /// Returns the address as maps for both families use it in keys: as IPv6, IPv4 mapped.
    fn wide(self) -> V6;
    /// Whether the address is multicast or, for IPv4, the limited broadcast address.
    fn is_multicast(self) -> bool;
    /// Whether the address is in 169.254.0.0/16 (RFC 3927) or fe80::/10 (RFC 4291).
    fn is_link_local(self) -> bool;
    /// Whether no packet of a client may carry the address as its source: multicast, reserved,
    /// loopback.
    fn is_invalid_source(self) -> bool;
    /// Whether the address is the unspecified address.
    fn is_unspecified(self) -> bool;
    /// Whether the address is an IPv6 address that stands for one of IPv4 (RFC 4291 section
    /// 2.5.5.2), which has no place on the wire.
    fn is_mapped(self) -> bool;
}

impl Address for V4 {
    const BITS: u32 = 32;

    #[inline(always)]
    fn wide(self) -> V6 {
        self.mapped()
    }

    #[inline(always)]
    fn is_multicast(self) -> bool {
        let host = u32::from_be(self.0);
        host >> 28 == 0xe || host == u32::MAX
    }

    #[inline(always)]
    fn is_link_local(self) -> bool {
        u32::from_be(self.0) >> 16 == 0xa9fe
    }

    #[inline(always)]
    fn is_invalid_source(self) -> bool {
        let first = u32::from_be(self.0) >> 24;
        first >= 224 || first == 127
    }

    #[inline(always)]
    fn is_unspecified(self) -> bool {
        self.0 == 0
    }

    #[inline(always)]
    fn is_mapped(self) -> bool {
        false
    }
}

impl Address for V6 {
    const BITS: u32 = 128;

    #[inline(always)]
    fn wide(self) -> V6 {
        self
    }

    #[inline(always)]
    fn is_multicast(self) -> bool {
        u32::from_be(self.0[0]) >> 24 == 0xff
    }

    #[inline(always)]
    fn is_link_local(self) -> bool {
        u32::from_be(self.0[0]) >> 22 == 0xfe80 >> 6
    }

    #[inline(always)]
    fn is_invalid_source(self) -> bool {
        let [a, b, c, d] = self.0;
        let loopback = a | b | c == 0 && d == 1_u32.to_be();
        // A mapped source on the wire is forged: RFC 4942 section 2.2.
        self.is_multicast() || loopback || self.is_mapped()
    }

    #[inline(always)]
    fn is_unspecified(self) -> bool {
        self.0 == [0; 4]
    }

    #[inline(always)]
    fn is_mapped(self) -> bool {
        let [a, b, c, _] = self.0;
        a | b == 0 && c == 0xffff_u32.to_be()
    }
}
