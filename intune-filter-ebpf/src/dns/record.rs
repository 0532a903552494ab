//! Resource records: limits, types, and the packing of addresses.

/// Maximum number of records of an answer section that are read.
pub(super) const RECORDS: u32 = 64;
/// Maximum number of steps to read a message and to learn from it, which bounds how long a packet
/// waits.
///
/// Each label, pointer and root of a name is a step, and so is each record, parameter and hint, and
/// each look for the next CNAME. A pointer to a name that was read just before is free. The steps
/// suffice for a chain of 16 CNAMEs in any order, with names of five labels in full; no server
/// sends messages that take more.
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

/// Packs an address into a word: its offset, the offset of the fixed part of its record, and its
/// type.
#[inline(always)]
pub(super) const fn pack(data: u64, fixed: u64, kind: u64) -> u64 {
    data << 32 | fixed << 8 | kind
}

/// Packs a target into a word, as an address of type [`TYPE_SVCB`], with the octets of its name.
#[inline(always)]
pub(super) const fn pack_target(name: u64, length: u64, fixed: u64) -> u64 {
    length << 48 | pack(name, fixed, TYPE_SVCB)
}

/// Returns the offset and the octets of a packed target's name.
#[inline(always)]
pub(super) const fn target_name(packed: u64) -> (u64, u64) {
    (packed >> 32 & 0xffff, packed >> 48)
}
