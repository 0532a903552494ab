//! Finds BPF filters of clsact at a given place: kernels before 6.6 attach by them, and they go with
//! their qdisc, as when the interface leaves for another namespace.

use aya::util::KernelVersion;
use futures_util::TryStreamExt as _;
use rtnetlink::{
    Handle, TrafficFilterGetRequest,
    packet_route::tc::{TcAttribute, TcFilterBpfOption, TcHandle, TcMessage, TcOption},
};

/// First kernel with TCX, whose links can be pinned: nothing is attached by filters there.
pub(crate) const TCX: KernelVersion = KernelVersion::new(6, 6, 0);

/// Priority of the filters, before that of any usual one.
pub(crate) const PRIORITY: u16 = 1;
/// Handle of the filters, below their priority.
pub(crate) const HANDLE: u16 = 1;

/// Direction of the packets that a filter is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// Received packets.
    Ingress,
    /// Sent packets.
    Egress,
}

impl Direction {
    /// Both directions.
    pub const ALL: [Self; 2] = [Self::Ingress, Self::Egress];
}

/// Filters of an interface at [`PRIORITY`] and [`HANDLE`], by the ids of their programs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Filters {
    /// That of received packets.
    pub ingress: Option<u32>,
    /// That of sent packets.
    pub egress: Option<u32>,
}

impl Filters {
    /// Returns the id of a direction's program; 0 for a filter without a program.
    #[must_use]
    pub const fn of(self, direction: Direction) -> Option<u32> {
        match direction {
            Direction::Ingress => self.ingress,
            Direction::Egress => self.egress,
        }
    }
}

/// Returns the filters of an interface; `None` where nothing is attached by filters, or the kernel does
/// not answer.
pub(super) async fn filters(handle: &Handle, index: u32) -> Option<Filters> {
    if KernelVersion::current().is_ok_and(|version| version >= TCX) {
        return None;
    }
    let index = i32::try_from(index).ok()?;
    Some(Filters {
        ingress: at_our_place(handle.traffic_filter(index).get().ingress()).await?,
        egress: at_our_place(handle.traffic_filter(index).get().egress()).await?,
    })
}

/// Returns the id of the program at the place of ours, if there is one.
async fn at_our_place(request: TrafficFilterGetRequest) -> Option<Option<u32>> {
    let wanted = TcHandle { major: 0, minor: HANDLE };
    let mut found = None;
    let mut filters = Box::pin(request.execute());
    while let Some(filter) = filters.try_next().await.ok()? {
        let header = &filter.header;
        if header.info >> 16 == u32::from(PRIORITY) && header.handle == wanted {
            found = Some(program(&filter));
        }
    }
    Some(found)
}

/// Returns the id of a filter's program; 0, which none has, if it is a filter of another kind.
fn program(filter: &TcMessage) -> u32 {
    let options = filter.attributes.iter().filter_map(|attribute| match attribute {
        TcAttribute::Options(options) => Some(options),
        _ => None,
    });
    let mut ids = options.flatten().filter_map(|option| match option {
        TcOption::Bpf(TcFilterBpfOption::ProgId(id)) => Some(*id),
        _ => None,
    });
    ids.next().unwrap_or(0)
}
