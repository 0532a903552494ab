//! Values of `ANSWER_ACL4` and `ANSWER_ACL6`, and the IPv4 addresses within those of NAT64 (RFC 6052).

use super::{V4, V6};

/// Bit of a value: a DNS answer may teach the address.
pub const ANSWER_ACCEPTED: u32 = 1;

/// Value of addresses that are accepted, below a NAT64 prefix of this length in bits.
#[must_use]
pub const fn answer_in_nat64(length: u8) -> u32 {
    ANSWER_ACCEPTED | (length as u32) << 8
}

/// Length of the NAT64 prefix that a value's addresses have; 0 for none.
#[inline(always)]
#[must_use]
pub const fn nat64_length(answer: u32) -> u32 {
    answer >> 8
}

impl V6 {
    /// Returns the IPv4 address that this is the form of below a NAT64 prefix of `length` bits (RFC
    /// 6052 section 2.2). `None` for other addresses there: what the standard leaves zero is not.
    #[inline(always)]
    #[must_use]
    pub const fn within_nat64(self, length: u32) -> Option<V4> {
        let Self([a, b, c, d]) = self;
        if length == 96 {
            return Some(V4(d));
        }
        let head = (u32::from_be(a) as u64) << 32 | u32::from_be(b) as u64;
        let tail = (u32::from_be(c) as u64) << 32 | u32::from_be(d) as u64;
        // Bits 64 to 71 are none of the IPv4 address.
        let behind = tail << 8;
        let from = length.wrapping_sub(32);
        if from > 32 || tail >> 56 != 0 || behind << from != 0 {
            return None;
        }
        let address = head << from & 0xffff_ffff | behind >> 32 >> (32 - from);
        Some(V4((address as u32).to_be()))
    }
}

#[cfg(test)]
mod tests {
    use core::net::{Ipv4Addr, Ipv6Addr};

    use super::*;

    fn within(address: &str, length: u8) -> Option<Ipv4Addr> {
        let address: Ipv6Addr = address.parse().unwrap();
        let length = nat64_length(answer_in_nat64(length));
        V6::from(address).within_nat64(length).map(Ipv4Addr::from)
    }

    /// Tests the examples of RFC 6052 section 2.4, with another last octet in each place that is zero.
    #[test]
    fn reads_the_form_of_each_length_and_no_other() {
        let expected = Some("192.0.2.33".parse().unwrap());
        for (length, form, others) in [
            (32, "2001:db8:c000:221::", &["2001:db8:c000:221:100::", "2001:db8:c000:221::1"]),
            (40, "2001:db8:1c0:2:21::", &["2001:db8:1c0:2:121::", "2001:db8:1c0:2:21::1"]),
            (
                48,
                "2001:db8:122:c000:2:2100::",
                &["2001:db8:122:c000:102:2100::", "2001:db8:122:c000:2:2101::"],
            ),
            (
                56,
                "2001:db8:122:3c0:0:221::",
                &["2001:db8:122:3c0:100:221::", "2001:db8:122:3c0:0:221::1"],
            ),
            (
                64,
                "2001:db8:122:344:c0:2:2100::",
                &["2001:db8:122:344:1c0:2:2100::", "2001:db8:122:344:c0:2:2101::"],
            ),
        ] {
            assert_eq!(within(form, length), expected, "{form}/{length}");
            for other in others {
                assert_eq!(within(other, length), None, "{other}/{length}");
            }
        }
        assert_eq!(within("2001:db8:122:344::192.0.2.33", 96), expected);
        assert_eq!(within("64:ff9b::192.0.2.33", 0), None);
    }

    #[test]
    fn every_bit_of_the_address_has_its_place() {
        for bit in 0..32 {
            let address = 1_u32 << bit;
            for length in [32, 40, 48, 56, 64, 96] {
                let shifted = (u128::from(address) << 96) >> length;
                let below = if length == 96 { 0 } else { shifted & (u128::MAX >> 64) };
                let form = Ipv6Addr::from((shifted & !below) | below >> 8);
                let found = V6::from(form).within_nat64(length);
                assert_eq!(found.map(Ipv4Addr::from), Some(address.into()), "{form}/{length}");
            }
        }
    }
}
