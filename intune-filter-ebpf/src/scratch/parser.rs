//! State of the DNS parser.

use crate::memory::{IndexTable, VolatileU64};

/// State of the loops over the message's names and records.
#[repr(C)]
#[derive(Debug)]
pub struct Parser {
    /// Octets of the message.
    pub length: VolatileU64,
    /// Index of the policy's maps.
    pub set: VolatileU64,
    /// Keys the hashes of names.
    pub seed: VolatileU64,
    /// Offsets of the question's labels, from left to right.
    pub labels: IndexTable,
    /// How many there are.
    pub label_count: VolatileU64,
    /// Where the walk over the question stands; behind it, where the answers begin.
    pub position: VolatileU64,
    /// 1 if the walk came to a proper end.
    pub complete: VolatileU64,
    /// State of a hash.
    pub hash: VolatileU64,
    /// State of the walk over a name: before which offset a pointer must point. State of the hash
    /// of a question: where it ends.
    pub pointer_limit: VolatileU64,
    /// State of the walk over a name: before which offset its labels must begin.
    pub name_bound: VolatileU64,
    /// State of the walk over a name: octets of its labels.
    pub name_length: VolatileU64,
    /// Steps that the loops over the answer may still take.
    pub steps_left: VolatileU64,
    /// Where the name ends in its place, 0 before that is known.
    pub name_end: VolatileU64,
    /// The owner that was read last.
    pub recent_owner: Recent,
    /// The target of a CNAME that was read last.
    pub recent_target: Recent,
    /// State of the walk over records: where the next begins.
    pub record: VolatileU64,
    /// State of the walk over records: records left.
    pub records_left: VolatileU64,
    /// Behind the name of a query's OPT record; 0 if it has none.
    pub opt: VolatileU64,
    /// CNAMEs found, as [`crate::dns`] packs them.
    pub aliases: IndexTable,
    /// How many there are.
    pub alias_count: VolatileU64,
    /// State of the walk along CNAMEs: the next to be looked at.
    pub alias_next: VolatileU64,
    /// State of the walk along CNAMEs: how many may still be followed.
    pub chain_left: VolatileU64,
    /// Hash of the name that they lead to: of the owner that addresses must have.
    pub owner: VolatileU64,
    /// Service records found, as [`crate::dns`] packs them.
    pub svcb_records: IndexTable,
    /// How many there are.
    pub svcb_count: VolatileU64,
    /// State of the walk over services: the next to be looked at.
    pub svcb_next: VolatileU64,
    /// State of the walk over a service's parameters: where the next begins; 0 before the first.
    pub parameter: VolatileU64,
    /// State of the walk over a service's parameters: where they end.
    pub parameters_end: VolatileU64,
    /// State of the walk over a service's parameters: the least key that the next may have.
    pub parameter_key: VolatileU64,
    /// State of the walk over a hint: where its next address begins.
    pub hint: VolatileU64,
    /// State of the walk over a hint: where it ends.
    pub hint_end: VolatileU64,
    /// State of the walk over a hint: the type of its addresses.
    pub hint_kind: VolatileU64,
    /// Address records found, as [`crate::dns`] packs them.
    pub addresses: IndexTable,
    /// How many there are.
    pub address_count: VolatileU64,
    /// Addresses looked at so far.
    pub address_next: VolatileU64,
    /// How many of them at most.
    pub address_most: VolatileU64,
    /// Addresses learned.
    pub learned: VolatileU64,
    /// Addresses refused.
    pub refused: VolatileU64,
    /// Addresses that found no room.
    pub full: VolatileU64,
    /// Addresses that could not be written to at this moment.
    pub busy: VolatileU64,
    /// Time at which the answer passed.
    pub now: VolatileU64,
    /// Least and most time to live and the grace, seconds.
    pub ttl_min: VolatileU64,
    /// See `ttl_min`.
    pub ttl_max: VolatileU64,
    /// See `ttl_min`.
    pub ttl_grace: VolatileU64,
}

impl Parser {
    /// Takes one of the steps that a message is read with; false if none is left.
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
    /// Where its labels begin, or the second pointer of a name that begins with two.
    pub offset: VolatileU64,
    /// Its hash.
    pub hash: VolatileU64,
}
