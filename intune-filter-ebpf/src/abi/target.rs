//! Keys of targets: names that service records of a policy's name lead to, among the learned IPv6
//! addresses.

use super::V6;

/// First two octets of a key: multicast of a reserved scope (RFC 4291 section 2.7), which no answer
/// teaches and no packet carries.
const PREFIX: u16 = 0xff00;

impl V6 {
    /// Returns the key of the name with this hash, of which 112 bits count.
    #[inline(always)]
    #[must_use]
    pub const fn of_target([low, high]: [u64; 2]) -> Self {
        let first = PREFIX.to_be() as u32 | (high as u32) << 16;
        Self([first, (high >> 16) as u32, low as u32, (low >> 32) as u32])
    }

    /// Whether this is the key of a target, and no address.
    #[inline(always)]
    #[must_use]
    pub const fn is_target(self) -> bool {
        u32::from_be(self.0[0]) >> 16 == PREFIX as u32
    }
}

#[cfg(test)]
mod tests {
    use core::net::Ipv6Addr;

    use super::*;

    #[test]
    fn a_key_has_its_prefix_and_every_other_bit_of_the_hash() {
        let key = V6::of_target([u64::MAX, u64::MAX]);
        let expected: Ipv6Addr = "ff00:ffff:ffff:ffff:ffff:ffff:ffff:ffff".parse().unwrap();
        assert_eq!(Ipv6Addr::from(key), expected);
        let bits = (0..64).map(|bit| [1 << bit, 0]).chain((0..48).map(|bit| [0, 1 << bit]));
        let keys: std::collections::BTreeSet<_> = bits.map(V6::of_target).collect();
        assert_eq!(keys.len(), 112);
        assert!(keys.iter().all(|key| key.is_target() && *key != V6::of_target([0, 0])));
    }

    #[test]
    fn no_address_that_hosts_have_is_a_key() {
        for address in ["ff02::1", "ff05::2", "fe80::1", "2001:db8::1", "::ffff:255.0.0.1", "::"] {
            assert!(!V6::from(address.parse::<Ipv6Addr>().unwrap()).is_target(), "{address}");
        }
    }
}
