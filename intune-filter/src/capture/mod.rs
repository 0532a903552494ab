//! Follows the packets of a capture through the kernel's logic on the host: who would reach what.
//!
//! Captures are strangers' octets. They are read and judged by a process of its own that has dropped
//! every privilege.

mod bounds;
#[expect(unsafe_code, reason = "fork(2)")]
mod confined;
mod error;
mod follow;
mod frame;
mod names;
mod reader;
mod rows;
mod sides;
#[cfg(test)]
mod tests;

pub(crate) use confined::in_confinement;
pub(crate) use error::{CaptureError, too_large};
pub(crate) use follow::{Follower, follow};
