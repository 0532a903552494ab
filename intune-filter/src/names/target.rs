//! Keys of targets: where the kernel has them among its addresses.

use std::net::IpAddr;

use intune_filter_ebpf::{abi::V6, dns::target_key};

/// Octets of a name on the wire at most (RFC 1035 section 2.3.4).
const NAME_MAX: usize = 255;

/// Whether an address is the key of a target.
#[must_use]
pub fn is_target(address: IpAddr) -> bool {
    V6::from(address).is_target()
}

/// Returns the key of a target under the kernel's seed; `None` if its text is not that of one name.
#[must_use]
pub fn key_of_target(name: &str, seed: u64) -> Option<IpAddr> {
    Some(V6(target_key(seed, &wire(name)?).0).into())
}

/// Returns the octets of a name on the wire.
fn wire(name: &str) -> Option<Vec<u8>> {
    let mut octets = Vec::new();
    for label in name.split('.') {
        octets.push(u8::try_from(label.len()).ok().filter(|length| (1..=63).contains(length))?);
        octets.extend(label.as_bytes());
    }
    octets.push(0);
    (octets.len() <= NAME_MAX).then_some(octets)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_texts_cannot_tell_have_no_key() {
        let long = [&"l".repeat(63)[..]; 4].join(".");
        for name in ["", "a..b", ".a", "a.", &"a".repeat(64), &long] {
            assert_eq!(key_of_target(name, 7), None, "{name}");
        }
        assert_eq!(wire("www.test").unwrap(), b"\x03www\x04test\0");
        let key = |seed| key_of_target("t.none", seed).unwrap();
        assert_ne!(key(7), key(8));
        assert!(is_target(key(7)) && !is_target([192, 0, 2, 1].into()));
    }
}
