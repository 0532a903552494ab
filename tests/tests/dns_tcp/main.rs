//! DNS over TCP under attack: what the filter reads of a client's stream is what the resolver reads.
//!
//! A client speaks TCP by hand, through a gateway with the filter on it, to sockets of the kernel's.
//! `INTUNE_CASES` sets how many random streams there are, `INTUNE_SEED` repeats those of an earlier
//! run, and `INTUNE_STREAM` runs one of them alone.

mod coverage;
mod failures;
mod field;
mod hostile;
mod judge;
mod messages;
mod ordinary;
mod random;
#[expect(unsafe_code, reason = "an option of sockets that no library has")]
mod reader;
mod resolvers;
mod run;
mod script;
mod segment;
mod stream;
mod urgent;
