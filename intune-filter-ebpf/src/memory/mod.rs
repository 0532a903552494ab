//! Memory whose content the verifier forgets: words, tables and messages that loops work on.
//!
//! Access is volatile or in assembly, so that every iteration of a loop looks alike to the
//! verifier, and the compiler keeps no content in registers.

mod message;
mod rules;
mod table;
mod word;

pub use message::Message;
pub use rules::RuleCell;
pub use table::IndexTable;
pub use word::VolatileU64;
