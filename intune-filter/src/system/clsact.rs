//! Finds BPF filters of clsact at a given place: kernels before 6.6 attach by them, and they go with
//! their qdisc, as when the interface leaves for another namespace.

use aya::util::KernelVersion;
use futures_util::TryStreamExt as _;
use rtnetlink::{Handle, packet_route::tc::TcHandle};

/// First kernel with TCX, whose links can be pinned: nothing is attached by filters there.
pub(crate) const TCX: KernelVersion = KernelVersion::new(6, 6, 0);

/// Priority of the filters, before that of any usual one.
pub(crate) const PRIORITY: u16 = 1;
/// Handle of the filters, below their priority.
pub(crate) const HANDLE: u16 = 1;

/// Directions of an interface that have a filter at [`PRIORITY`] and [`HANDLE`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Filters {
    /// Whether there is one for received packets.
    pub ingress: bool,
    /// Whether there is one for sent packets.
    pub egress: bool,
}

/// Returns the filters of an interface; `None` where nothing is attached by filters, or the kernel does
/// not answer.
pub(super) async fn filters(handle: &Handle, index: u32) -> Option<Filters> {
    if KernelVersion::current().is_ok_and(|version| version >= TCX) {
        return None;
    }
    let index = i32::try_from(index).ok()?;
    Some(Filters {
        ingress: has_ours(handle.traffic_filter(index).get().ingress()).await?,
        egress: has_ours(handle.traffic_filter(index).get().egress()).await?,
    })
}

async fn has_ours(request: rtnetlink::TrafficFilterGetRequest) -> Option<bool> {
    let wanted = TcHandle { major: 0, minor: HANDLE };
    let mut found = false;
    let mut filters = Box::pin(request.execute());
    while let Some(filter) = filters.try_next().await.ok()? {
        let header = &filter.header;
        found |= header.info >> 16 == u32::from(PRIORITY) && header.handle == wanted;
    }
    Some(found)
}
