//! Finds veth devices whose peer receives nothing that native XDP sends back.
//!
//! A veth device hands frames of XDP to its peer only if that polls for them, as it does while it has an
//! XDP program in its driver (`veth_xdp_xmit` in the kernel's `drivers/net/veth.c`). The peer is another
//! namespace's as a rule, such as a container's, and says nothing when that changes.

use std::collections::BTreeSet;

use futures_util::TryStreamExt as _;
use rtnetlink::{
    Handle,
    packet_core::DefaultNla,
    packet_route::link::{InfoKind, LinkAttribute, LinkInfo, LinkMessage},
};

use super::{Mode, xdp};

/// Attribute `IFLA_TARGET_NETNSID`: the namespace that is asked.
const TARGET: u16 = 46;

/// Returns the indices of the veth devices among these whose peer has no XDP program in its driver, or
/// cannot be asked.
pub(super) async fn deaf(handle: &Handle, links: &[LinkMessage]) -> BTreeSet<u32> {
    let mut deaf = BTreeSet::new();
    for link in links.iter().filter(|link| is_veth(link)) {
        if !hears(handle, links, link).await.unwrap_or(false) {
            deaf.insert(link.header.index);
        }
    }
    deaf
}

/// Whether the peer has an XDP program in its driver; `None` if it cannot be told.
async fn hears(handle: &Handle, links: &[LinkMessage], link: &LinkMessage) -> Option<bool> {
    let attributes = || link.attributes.iter();
    let peer = attributes().find_map(|attribute| match attribute {
        LinkAttribute::Link(peer) => Some(*peer),
        _ => None,
    })?;
    let namespace = attributes().find_map(|attribute| match attribute {
        LinkAttribute::LinkNetNsId(id) => Some(*id),
        _ => None,
    });
    let Some(namespace) = namespace else {
        return links.iter().find(|other| other.header.index == peer).map(is_native);
    };
    let mut request = handle.link().get().match_index(peer);
    let target = DefaultNla::new(TARGET, namespace.to_ne_bytes().to_vec());
    request.message_mut().attributes.push(LinkAttribute::Other(target));
    let answer = request.execute().try_next().await.ok()?;
    answer.as_ref().map(is_native)
}

fn is_veth(link: &LinkMessage) -> bool {
    link.attributes.iter().any(|attribute| match attribute {
        LinkAttribute::LinkInfo(infos) => {
            infos.iter().any(|info| matches!(info, LinkInfo::Kind(InfoKind::Veth)))
        }
        _ => false,
    })
}

fn is_native(link: &LinkMessage) -> bool {
    xdp::attached(link).is_some_and(|(_, mode)| mode == Mode::Native)
}
