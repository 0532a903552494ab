//! Wraps the operating system's services: netlink, clocks, nftables, files, memory and logging.
//! Nothing here knows of policies or packets.

pub(crate) mod atomic_file;
pub mod clock;
pub(crate) mod clsact;
#[expect(unsafe_code, reason = "a function of the C library's")]
pub(crate) mod heap;
mod interface;
mod link_layer;
pub(crate) mod logging;
pub mod netlink;
pub(crate) mod nft;
#[expect(unsafe_code, reason = "a descriptor is registered with the runtime")]
pub(crate) mod readiness;
pub(crate) mod regular_file;
pub(crate) mod route;
mod veth;
mod xdp;

pub use interface::{Interface, Mode};
pub use link_layer::{LinkLayer, Unjudged};
