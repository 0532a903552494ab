//! Writers of replies, one for each hook.

pub mod mark;
mod message;
pub mod tc;
pub mod xdp;
