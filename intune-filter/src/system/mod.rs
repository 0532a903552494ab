//! What the operating system offers, each part behind an interface of its own: netlink, clocks,
//! nftables, files, memory and logging. Nothing here knows of policies or packets.

pub(crate) mod atomic_file;
pub mod clock;
pub(crate) mod heap;
mod interface;
pub(crate) mod logging;
pub mod netlink;
pub(crate) mod nft;
pub(crate) mod readiness;
pub(crate) mod regular_file;

pub use interface::{Interface, Mode};
