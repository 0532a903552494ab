//! State of the DNS parser.

use crate::memory::{IndexTable, VolatileU64};

/// State of the loops over the message's names and records.
#[repr(C)]
#[derive(Debug)]
pub struct Parser {
    /// Octets of the message.
    pub length: VolatileU64,
    /// Slot of the policy's maps.
    pub set: VolatileU64,
    /// Seed of the hashes of names.
    pub seed: VolatileU64,
    /// Offsets of the question's labels, from left to right.
    pub labels: IndexTable,
    /// Number of labels.
    pub label_count: VolatileU64,
    /// Offset that the walk over a name or the question has reached.
    pub position: VolatileU64,
    /// 1 if the walk came to a proper end.
    pub complete: VolatileU64,
    /// State of a hash.
    pub hash: VolatileU64,
    /// Walk over a name: offset before which a pointer must point. Hash of a question: offset of
    /// its end.
    pub pointer_limit: VolatileU64,
    /// Walk over a name: offset before which its labels must begin.
    pub name_bound: VolatileU64,
    /// Walk over a name: octets of its labels.
    pub name_length: VolatileU64,
    /// Steps that the loops over the answer may still take.
    pub steps_left: VolatileU64,
    /// Offset at which the name ends in its own place; 0 before that is known.
    pub name_end: VolatileU64,
    /// Owner that was read last.
    pub recent_owner: Recent,
    /// Target that was read last, of a CNAME or a service record.
    pub recent_target: Recent,
    /// Walk over records: offset of the next one.
    pub record: VolatileU64,
    /// Walk over records: number of records left.
    pub records_left: VolatileU64,
    /// Not 0 if the section has records or addresses that are not read.
    pub unread: VolatileU64,
    /// Offset behind the name of a query's OPT record; 0 if the query has none.
    pub opt: VolatileU64,
    /// CNAMEs found, as [`crate::dns`] packs them.
    pub aliases: IndexTable,
    /// Number of CNAMEs found.
    pub alias_count: VolatileU64,
    /// Walk along CNAMEs: index of the next one to look at.
    pub alias_next: VolatileU64,
    /// Walk along CNAMEs: number that may still be followed.
    pub chain_left: VolatileU64,
    /// Hash of the owner that addresses must have: the name that the CNAMEs lead to.
    pub owner: VolatileU64,
    /// Service records found, as [`crate::dns`] packs them.
    pub svcb_records: IndexTable,
    /// Number of service records found.
    pub svcb_count: VolatileU64,
    /// Walk over service records: index of the next one to look at.
    pub svcb_next: VolatileU64,
    /// Walk over a service record's parameters: offset of the next one; 0 before the first.
    pub parameter: VolatileU64,
    /// Walk over a service record's parameters: offset at which they end.
    pub parameters_end: VolatileU64,
    /// Walk over a service record's parameters: least key that the next one may have.
    pub parameter_key: VolatileU64,
    /// Walk over a hint: offset of its next address.
    pub hint: VolatileU64,
    /// Walk over a hint: offset at which it ends.
    pub hint_end: VolatileU64,
    /// Walk over a hint: record type of its addresses.
    pub hint_kind: VolatileU64,
    /// Address records found, as [`crate::dns`] packs them.
    pub addresses: IndexTable,
    /// Number of address records found.
    pub address_count: VolatileU64,
    /// Number of addresses processed so far.
    pub address_next: VolatileU64,
    /// Maximum number of addresses to process.
    pub address_most: VolatileU64,
    /// Number of addresses learned.
    pub learned: VolatileU64,
    /// Number of addresses refused.
    pub refused: VolatileU64,
    /// Number of addresses that found no room.
    pub full: VolatileU64,
    /// Number of addresses that found no room since their owner has its share.
    pub over_share: VolatileU64,
    /// Owner of the addresses, as [`crate::abi::host_owner`] makes it.
    pub host_owner: VolatileU64,
    /// Number of addresses that could not be written to at this moment.
    pub busy: VolatileU64,
    /// Time at which the answer passed: CLOCK_BOOTTIME, nanoseconds.
    pub now: VolatileU64,
    /// Lower bound of the time to live, in seconds.
    pub ttl_min: VolatileU64,
    /// Upper bound of the time to live, in seconds.
    pub ttl_max: VolatileU64,
    /// Time added to the time to live, in seconds.
    pub ttl_grace: VolatileU64,
}

impl Parser {
    /// Takes one of the steps that a message may be read in; false if none is left.
    #[inline(always)]
    pub fn take_step(&self) -> bool {
        let left = self.steps_left.get();
        if left == 0 {
            return false;
        }
        self.steps_left.set(left - 1);
        true
    }
}

/// Name that was read.
#[repr(C)]
#[derive(Debug)]
pub struct Recent {
    /// Offset of the name's labels, or of the second pointer of a name that begins with two.
    pub offset: VolatileU64,
    /// Hash of the name.
    pub hash: VolatileU64,
}
