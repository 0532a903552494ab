//! DNS: which names queries ask for, and which addresses answers give them.
//!
//! Messages are walked where they lie, by loops whose state is in the scratch memory: the
//! verifier then proves one iteration instead of all of them.

mod access;
mod answer;
mod matcher;
mod name;
mod question;
mod refusal;
mod scratch;
mod service;
mod walk;

pub use answer::{Lesson, affordable, learn, learn_addresses, read_answer};
pub use matcher::{is_over_https, match_name, walk_patterns};
pub use question::{Question, is_answer, is_bare_error, is_query, is_response, read_question};
pub use refusal::refuse;
pub use scratch::{COPY_WORDS, Facts, Message, Refusal, Reply, Scratch, Segment, Word};
use walk::take_step;
pub use walk::{Step, walk};

/// Octets of a header (RFC 1035 section 4.1.1).
pub const HEADER_LENGTH: u64 = 12;
