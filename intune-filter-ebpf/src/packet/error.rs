//! Errors of headers.

/// Reason for which a header is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HeaderError {
    /// It is not whole, or contradicts itself.
    Malformed,
    /// It is a first fragment that does not hold the transport header, or a fragment whose data
    /// cannot be where it says.
    Fragment,
    /// It carries a source route (RFC 791) or a routing header (RFC 8200 section 4.4).
    SourceRoute,
}
