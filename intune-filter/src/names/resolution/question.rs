//! Questions to resolvers, and what comes of them.

use std::{sync::Arc, time::Duration};

/// What is asked for; in this order where there is a choice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// IPv4 addresses.
    A,
    /// IPv6 addresses.
    Aaaa,
    /// Address hints (RFC 9460), which clients use without asking for the addresses.
    Https,
}

/// A question to a resolver.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Question {
    /// What is asked for.
    pub kind: Kind,
    /// The name, in lower case and without a trailing dot.
    pub name: Arc<str>,
}

/// What came of a question.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Addresses, the first of which is forgotten after this time.
    Addresses(Duration),
    /// There is no such name, or it has nothing of the kind that could be learned.
    Nothing,
    /// The resolver could not tell, or what it said made no sense.
    Refused(String),
    /// No answer came.
    Silence(String),
}
