//! Reads the kernel's interfaces and addresses by netlink, and reports their changes.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
    pin::Pin,
    time::Duration,
};

use anyhow::{Context as _, Result};
use futures_util::{Stream, StreamExt as _, TryStreamExt as _};
use ipnet::IpNet;
use rtnetlink::{
    Handle, MulticastGroup, new_multicast_connection,
    packet_route::{
        address::AddressAttribute,
        link::{InfoData, InfoKind, InfoVlan, LinkAttribute, LinkFlags, LinkInfo, LinkMessage},
    },
};

use super::{Interface, LinkLayer, clsact, link_layer::kind, veth, xdp};

/// Longest wait for the kernel's answers, which come at once.
const PATIENCE: Duration = Duration::from_secs(10);

/// Greatest nesting: bonds in bridges, and VLAN devices in bridges.
const NESTING: usize = 4;

/// Interfaces and addresses at one moment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Snapshot {
    /// Interfaces of this network namespace.
    pub interfaces: Vec<Interface>,
    /// Addresses of the interfaces, each once.
    pub addresses: Vec<IpAddr>,
    /// Addresses with their prefix lengths, by the interface's index.
    pub networks: Vec<(u32, IpNet)>,
    /// Parent's index and VLAN id, by the VLAN device's index.
    pub vlan_devices: BTreeMap<u32, (u32, u16)>,
    /// Index of the bridge, bond or team, by the index of the member interface: the stack receives
    /// a member's packets from there.
    pub wholes: BTreeMap<u32, u32>,
    /// Index of the device below, by the index of a device with a MAC or IP address of its own on
    /// it (macvlan, ipvlan).
    pub upon: BTreeMap<u32, u32>,
    /// Indices of veth devices whose peer receives nothing that native XDP sends back, for want of an
    /// XDP program of its own.
    pub deaf: BTreeSet<u32>,
}

impl Snapshot {
    /// Returns the interface with a name.
    #[must_use]
    pub fn interface(&self, name: &str) -> Option<&Interface> {
        self.interfaces.iter().find(|interface| interface.name == name)
    }

    /// Returns the interface with an index.
    #[must_use]
    pub fn by_index(&self, index: u32) -> Option<&Interface> {
        self.interfaces.iter().find(|interface| interface.index == index)
    }

    /// Returns the index of the bridge, bond or team that an interface is a member of, then of the one
    /// that this is a member of, and so on.
    pub(crate) fn wholes_of(&self, index: u32) -> impl Iterator<Item = u32> + Clone {
        std::iter::successors(Some(index), |part| self.wholes.get(part).copied())
            .skip(1)
            .take(NESTING)
    }

    /// Whether packets of the interface with an index have no hardware addresses (layer 3).
    #[must_use]
    pub fn is_layer3(&self, index: u32) -> bool {
        self.by_index(index).is_some_and(|interface| interface.link == LinkLayer::Layer3)
    }

    /// Gives an interface back the name by which it is judged, unless another has that name.
    pub(crate) fn keep_name(&mut self, name: &str, index: u32) {
        if self.interface(name).is_some() {
            return;
        }
        let mut interfaces = self.interfaces.iter_mut();
        if let Some(interface) = interfaces.find(|interface| interface.index == index) {
            interface.renamed = Some(std::mem::replace(&mut interface.name, name.to_owned()));
        }
    }
}

/// Subscription to changes, with a handle for reading.
pub struct Netlink {
    handle: Handle,
    changes: Pin<Box<dyn Stream<Item = ()> + Send + Sync>>,
}

impl Netlink {
    /// Subscribes to changes of interfaces and addresses. Needs a runtime.
    ///
    /// # Errors
    /// The kernel gives no socket.
    pub fn new() -> Result<Self> {
        let (connection, handle, messages) = new_multicast_connection(&[
            MulticastGroup::Link,
            MulticastGroup::Ipv4Ifaddr,
            MulticastGroup::Ipv6Ifaddr,
        ])
        .context("cannot open a netlink socket")?;
        tokio::spawn(connection);
        Ok(Self { handle, changes: Box::pin(messages.map(drop)) })
    }

    /// Waits for a change, and consumes further ones that have arrived with it.
    pub async fn changed(&mut self) {
        if self.changes.next().await.is_none() {
            // The connection is gone; periodic reading still finds changes.
            std::future::pending::<()>().await;
        }
        tokio::task::yield_now().await;
        while let Some(Some(())) = futures_util::FutureExt::now_or_never(self.changes.next()) {}
    }

    /// Reads everything.
    ///
    /// # Errors
    /// The kernel does not answer, or an answer was lost: it is when a flood of changes overruns the
    /// socket.
    pub async fn snapshot(&self) -> Result<Snapshot> {
        let read = tokio::time::timeout(PATIENCE, self.read());
        read.await.context("the kernel has not told all interfaces and addresses in time")?
    }

    async fn read(&self) -> Result<Snapshot> {
        let links: Vec<LinkMessage> = self
            .handle
            .link()
            .get()
            .execute()
            .try_collect()
            .await
            .context("cannot read the interfaces")?;
        let mut snapshot = Snapshot {
            interfaces: links.iter().filter_map(interface).collect(),
            vlan_devices: links.iter().filter_map(vlan_device).collect(),
            wholes: wholes(&links),
            upon: links.iter().filter_map(upon).collect(),
            deaf: veth::deaf(&self.handle, &links).await,
            ..Snapshot::default()
        };
        for interface in &mut snapshot.interfaces {
            interface.filters = clsact::filters(&self.handle, interface.index).await;
        }
        let mut addresses = self.handle.address().get().execute();
        while let Some(message) =
            addresses.try_next().await.context("cannot read the interfaces' addresses")?
        {
            // On a point-to-point interface, `Address` is the peer's address.
            let local = message.attributes.iter().find_map(|attribute| match attribute {
                AddressAttribute::Local(address) => Some(*address),
                _ => None,
            });
            let address = message.attributes.iter().find_map(|attribute| match attribute {
                AddressAttribute::Address(address) => Some(*address),
                _ => None,
            });
            let Some(address) = local.or(address) else { continue };
            snapshot.addresses.push(address);
            if let Ok(network) = IpNet::new(address, message.header.prefix_len) {
                snapshot.networks.push((message.header.index, network));
            }
        }
        snapshot.addresses.sort_unstable();
        snapshot.addresses.dedup();
        Ok(snapshot)
    }
}

/// Reads everything once, for commands.
///
/// # Errors
/// The kernel does not answer.
pub fn snapshot() -> Result<Snapshot> {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("cannot start a runtime")?
        .block_on(async { Netlink::new()?.snapshot().await })
}

fn interface(message: &LinkMessage) -> Option<Interface> {
    let name = message.attributes.iter().find_map(|attribute| match attribute {
        LinkAttribute::IfName(name) => Some(name.clone()),
        _ => None,
    })?;
    let xdp = xdp::attached(message);
    let up = message.header.flags.contains(LinkFlags::Up);
    let (index, link) = (message.header.index, LinkLayer::of(message));
    Some(Interface { name, renamed: None, index, up, xdp, filters: None, link })
}

/// Returns a VLAN device's index, with its parent's index and VLAN id.
fn vlan_device(message: &LinkMessage) -> Option<(u32, (u32, u16))> {
    let parent = message.attributes.iter().find_map(|attribute| match attribute {
        LinkAttribute::Link(parent) => Some(*parent),
        _ => None,
    })?;
    let id = message.attributes.iter().find_map(|attribute| match attribute {
        LinkAttribute::LinkInfo(infos) => infos.iter().find_map(|info| match info {
            LinkInfo::Data(InfoData::Vlan(vlan)) => vlan.iter().find_map(|info| match info {
                InfoVlan::Id(id) => Some(*id),
                _ => None,
            }),
            _ => None,
        }),
        _ => None,
    })?;
    Some((message.header.index, (parent, id)))
}

/// Returns the bridge, bond or team of each member interface. A VRF is none of these, since the
/// stack receives packets from its members themselves.
fn wholes(links: &[LinkMessage]) -> BTreeMap<u32, u32> {
    let is_whole = |link: &&LinkMessage| match kind(link) {
        Some(InfoKind::Bridge | InfoKind::Bond) => true,
        Some(InfoKind::Other(name)) => name == "team",
        _ => false,
    };
    let all: Vec<u32> = links.iter().filter(is_whole).map(|link| link.header.index).collect();
    let part = |link: &LinkMessage| {
        let whole = link.attributes.iter().find_map(|attribute| match attribute {
            LinkAttribute::Controller(whole) => Some(*whole),
            _ => None,
        })?;
        all.contains(&whole).then_some((link.header.index, whole))
    };
    links.iter().filter_map(part).collect()
}

/// Returns a macvlan or ipvlan device's index, with that of the device below.
fn upon(message: &LinkMessage) -> Option<(u32, u32)> {
    if !matches!(kind(message)?, InfoKind::MacVlan | InfoKind::IpVlan) {
        return None;
    }
    message.attributes.iter().find_map(|attribute| match attribute {
        LinkAttribute::Link(below) => Some((message.header.index, *below)),
        _ => None,
    })
}
