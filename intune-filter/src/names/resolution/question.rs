//! Describes questions to resolvers and their outcomes.

use std::{sync::Arc, time::Duration};

/// Record type of a question, in the order in which questions due together are sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Kind {
    /// IPv4 addresses.
    A,
    /// IPv6 addresses.
    Aaaa,
    /// Address hints (RFC 9460), which clients use without asking for the addresses.
    Https,
}

/// A question to a resolver.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Question {
    /// Record type.
    pub kind: Kind,
    /// Name, in lower case and without a trailing dot.
    pub name: Arc<str>,
}

/// Outcome of a question.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum QueryOutcome {
    /// Addresses; the first is forgotten after this time.
    Addresses(Duration),
    /// No such name, or no record of the type that could be learned.
    Nothing,
    /// Error of the resolver, or an answer that makes no sense.
    Refused(String),
    /// No answer.
    Silence(String),
}
