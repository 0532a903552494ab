//! Errors in headers.

/// Reason to refuse a header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HeaderError {
    /// Headers that are not whole, or contradict themselves.
    Malformed,
    /// First fragment that does not hold the transport header, or fragment whose data
    /// cannot be where it says.
    Fragment,
    /// Source route (RFC 791) or routing header (RFC 8200 section 4.4).
    SourceRoute,
}
