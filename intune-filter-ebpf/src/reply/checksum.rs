//! Internet checksum (RFC 1071).

/// Returns the sum of a header's 16-bit words from `from` to `to`, in memory order.
#[inline(always)]
#[expect(clippy::indexing_slicing, reason = "callers name constants inside the header")]
pub fn sum<const N: usize>(octets: &[u8; N], from: usize, to: usize) -> u64 {
    let mut total = 0;
    let mut at = from;
    while at < to {
        total += u64::from(u16::from_ne_bytes([octets[at], octets[at + 1]]));
        at += 2;
    }
    total
}

/// Folds a sum into a checksum.
#[inline(always)]
pub fn checksum(mut sum: u64) -> u16 {
    for _ in 0..4 {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    !(sum as u16)
}

/// Folds the sum of a UDP datagram into its checksum. Zero stands for "none", so that a checksum of
/// zero is sent in its other form, all ones (RFC 768).
#[inline(always)]
pub fn udp_checksum(sum: u64) -> u16 {
    match checksum(sum) {
        0 => u16::MAX,
        own => own,
    }
}
