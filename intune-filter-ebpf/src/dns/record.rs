//! Resource records: their number, their cost, their tables.

/// Records of an answer section that are read at most.
pub(super) const RECORDS: u32 = 64;
/// Steps that a message is read with at most, and learned from: what a packet may wait for. Each
/// label, pointer and root of a name is one, and so is each record, parameter and hint, and each
/// look for the next CNAME. A pointer to a name that was read just before costs nothing. This is
/// enough for a chain of 16 CNAMEs in whatever order, with names of five labels in full; messages
/// that are dearer to read, no server sends.
pub(super) const STEPS_OF_MESSAGE: u64 = 300;
/// Index at which the hashes of owners and targets begin in tables of records.
pub(super) const HASH_HALF: u64 = RECORDS as u64;

/// Type of an IPv4 address.
pub(super) const TYPE_A: u64 = 1;
/// Type of an alias.
pub(super) const TYPE_CNAME: u64 = 5;
/// Type of an IPv6 address.
pub(super) const TYPE_AAAA: u64 = 28;
/// Type of a general service record (RFC 9460).
pub(super) const TYPE_SVCB: u64 = 64;
/// Type of a service record for HTTPS (RFC 9460).
pub(super) const TYPE_HTTPS: u64 = 65;

/// One word for an address: where it is, where the fixed part of its record begins, and its type.
#[inline(always)]
pub(super) const fn pack(data: u64, fixed: u64, kind: u64) -> u64 {
    data << 32 | fixed << 8 | kind
}
