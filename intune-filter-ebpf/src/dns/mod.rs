//! DNS messages: the names that queries ask for, and the addresses that answers give to them.
//!
//! Messages are read in place, by loops whose state is in the working memory: the verifier then
//! checks one iteration instead of all of them.

#[expect(unsafe_code, reason = "the working memory is behind pointers")]
mod answer;
#[expect(unsafe_code, reason = "a value of a map is behind a pointer")]
mod matcher;
#[cfg_attr(target_arch = "bpf", expect(unsafe_code, reason = "instructions by hand"))]
mod name;
mod question;
mod record;
mod refusal;
mod svcb;
#[expect(unsafe_code, reason = "the working memory is behind pointers")]
mod target;

pub use answer::{LearnStats, affordable, is_cut, learn, learn_addresses, read_answer};
pub use matcher::{
    is_at_or_above_listed, is_over_https, match_name, may_ask, may_teach, walk_patterns,
};
pub use question::{
    Question, digest, is_answer, is_bare_error, is_query, is_response, read_question,
};
pub use refusal::{Refusal, choose_refusal, refuse};
#[cfg(not(target_arch = "bpf"))]
pub use target::{target_key, targets};

/// Octets of a header (RFC 1035 section 4.1.1).
pub const HEADER_LENGTH: u64 = 12;
