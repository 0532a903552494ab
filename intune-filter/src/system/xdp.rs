//! Reads from netlink's messages which XDP program an interface has.

use rtnetlink::packet_route::link::{LinkAttribute, LinkMessage, LinkXdp, XdpAttached};

use super::Mode;

/// Returns the id and mode of an XDP program; of several programs, those of the one in the driver.
pub(super) fn attached(message: &LinkMessage) -> Option<(u32, Mode)> {
    let xdp = message.attributes.iter().find_map(|attribute| match attribute {
        LinkAttribute::Xdp(xdp) => Some(xdp),
        _ => None,
    })?;
    let mode = xdp.iter().find_map(|attribute| match attribute {
        LinkXdp::Attached(XdpAttached::None) => None,
        LinkXdp::Attached(XdpAttached::SocketBuffer) => Some(Mode::Generic),
        LinkXdp::Attached(_) => Some(Mode::Native),
        _ => None,
    })?;
    let id = xdp.iter().find_map(|attribute| match attribute {
        LinkXdp::ProgId(id) | LinkXdp::DrvProgId(id) | LinkXdp::SkbProgId(id) => Some(*id),
        _ => None,
    })?;
    Some((id, mode))
}
