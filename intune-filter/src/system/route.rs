//! Asks the kernel by netlink which interface a route leads out of, and whether by a router.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use anyhow::{Context as _, Result};
use futures_util::TryStreamExt as _;
use ipnet::IpNet;
use netlink_sys::AsyncSocket as _;
use rtnetlink::{
    RouteMessageBuilder, new_connection,
    packet_route::{
        AddressFamily,
        neighbour::{NeighbourAddress, NeighbourAttribute},
        route::{RouteAddress, RouteAttribute, RouteMessage, RouteProtocol, RouteType, RouteVia},
    },
};

/// Number of the table local.
const LOCAL: u8 = 255;

/// Returns the index of the interface that the route to each address leads out of; `None` if there is
/// no route.
///
/// # Errors
/// The kernel gives no socket.
pub(crate) fn interfaces_towards(addresses: &[IpAddr]) -> Result<Vec<Option<u32>>> {
    Ok(routes(addresses)?.into_iter().map(|route| route.as_ref().and_then(out_of)).collect())
}

/// Returns the networks that routes lead to without a router by these interfaces, with the index of the
/// interface: those of addresses, and those that somebody has entered by hand.
///
/// # Errors
/// The kernel gives no socket, or does not tell its routes.
pub(crate) fn on_link_networks(interfaces: &[u32]) -> Result<Vec<(u32, IpNet)>> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.context("cannot start a runtime")?.block_on(read_on_link_networks(interfaces))
}

/// Does so within a runtime.
///
/// # Errors
/// As above.
pub(crate) async fn read_on_link_networks(interfaces: &[u32]) -> Result<Vec<(u32, IpNet)>> {
    let (mut connection, handle, _) = new_connection().context("cannot open a netlink socket")?;
    // Of a whole table of the internet, the kernel then tells those that were asked for.
    let strict = connection.socket_mut().socket_ref().set_netlink_get_strict_chk(true);
    strict.context("the kernel selects no routes")?;
    tokio::spawn(connection);
    let mut networks = Vec::new();
    for interface in interfaces {
        for mut question in [
            RouteMessageBuilder::<Ipv4Addr>::new().output_interface(*interface).build(),
            RouteMessageBuilder::<Ipv6Addr>::new().output_interface(*interface).build(),
        ] {
            // Of whatever table, whoever has entered it.
            question.header.table = 0;
            question.header.protocol = RouteProtocol::Unspec;
            let mut routes = handle.route().get(question).execute();
            while let Some(route) = routes.try_next().await.context("cannot read the routes")? {
                networks.extend(on_link_network(&route));
            }
        }
    }
    Ok(networks)
}

/// Returns the network of a route without a router, of any table but the local one.
fn on_link_network(route: &RouteMessage) -> Option<(u32, IpNet)> {
    let length = route.header.destination_prefix_length;
    if !is_direct(route) || length == 0 || route.header.table == LOCAL {
        return None;
    }
    Some((out_of(route)?, destination(route)?))
}

/// Returns the network that a route leads to.
fn destination(route: &RouteMessage) -> Option<IpNet> {
    let told = route.attributes.iter().find_map(|attribute| match attribute {
        RouteAttribute::Destination(address) => address_of(address),
        _ => None,
    });
    let network = told.or(match route.header.address_family {
        AddressFamily::Inet => Some(Ipv4Addr::UNSPECIFIED.into()),
        AddressFamily::Inet6 => Some(Ipv6Addr::UNSPECIFIED.into()),
        _ => None,
    })?;
    IpNet::new(network, route.header.destination_prefix_length).ok()
}

/// Whether a route leads to hosts themselves, by no router.
fn is_direct(route: &RouteMessage) -> bool {
    let is_router =
        |one: &RouteAttribute| matches!(one, RouteAttribute::Gateway(_) | RouteAttribute::Via(_));
    route.header.kind == RouteType::Unicast && !route.attributes.iter().any(is_router)
}

/// Route to an address, or to a network.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Way {
    /// Network that the route leads to.
    pub to: IpNet,
    /// Whether the address is the gateway's own, or a broadcast address of its networks.
    pub is_local: bool,
    /// Index of the interface that the route leads out of.
    pub device: u32,
    /// Next router; `None` if the route leads to hosts themselves.
    pub router: Option<IpAddr>,
}

impl Way {
    fn of(route: &RouteMessage, to: IpNet) -> Option<Self> {
        let is_local = match route.header.kind {
            RouteType::Unicast => false,
            RouteType::Local | RouteType::Broadcast | RouteType::Anycast => true,
            _ => return None,
        };
        let router = route.attributes.iter().find_map(|attribute| match attribute {
            RouteAttribute::Gateway(address) => address_of(address),
            RouteAttribute::Via(RouteVia::Inet(v4)) => Some((*v4).into()),
            RouteAttribute::Via(RouteVia::Inet6(v6)) => Some((*v6).into()),
            _ => None,
        });
        Some(Self { to, is_local, device: out_of(route)?, router })
    }
}

const fn address_of(address: &RouteAddress) -> Option<IpAddr> {
    match address {
        RouteAddress::Inet(v4) => Some(IpAddr::V4(*v4)),
        RouteAddress::Inet6(v6) => Some(IpAddr::V6(*v6)),
        _ => None,
    }
}

/// Returns the way to each address to which there is one.
///
/// # Errors
/// The kernel gives no socket.
pub(crate) fn ways(addresses: &[IpAddr]) -> Result<Vec<Way>> {
    let found = addresses.iter().zip(routes(addresses)?);
    Ok(found.filter_map(|(address, route)| Way::of(&route?, (*address).into())).collect())
}

/// Returns the routes of all tables, so many at most of each address family.
///
/// # Errors
/// The kernel gives no socket, or does not tell its routes.
pub(crate) fn all_ways(most: usize) -> Result<Vec<Way>> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.context("cannot start a runtime")?.block_on(async {
        let (connection, handle, _) = new_connection().context("cannot open a netlink socket")?;
        tokio::spawn(connection);
        let mut ways = Vec::new();
        for all in [
            RouteMessageBuilder::<Ipv4Addr>::new().build(),
            RouteMessageBuilder::<Ipv6Addr>::new().build(),
        ] {
            let mut routes = handle.route().get(all).execute();
            let before = ways.len();
            while ways.len() - before < most
                && let Some(route) = routes.try_next().await.context("cannot read the routes")?
            {
                ways.extend(destination(&route).and_then(|to| Way::of(&route, to)));
            }
        }
        Ok(ways)
    })
}

/// Returns the hardware addresses of neighbours, by their addresses.
///
/// # Errors
/// The kernel gives no socket, or does not tell its neighbours.
pub(crate) fn neighbours() -> Result<Vec<(IpAddr, [u8; 6])>> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.context("cannot start a runtime")?.block_on(async {
        let (connection, handle, _) = new_connection().context("cannot open a netlink socket")?;
        tokio::spawn(connection);
        let mut told = handle.neighbours().get().execute();
        let mut neighbours = Vec::new();
        while let Some(one) = told.try_next().await.context("cannot read the neighbours")? {
            let address = one.attributes.iter().find_map(|attribute| match attribute {
                NeighbourAttribute::Destination(NeighbourAddress::Inet(v4)) => {
                    Some(IpAddr::from(*v4))
                }
                NeighbourAttribute::Destination(NeighbourAddress::Inet6(v6)) => {
                    Some(IpAddr::from(*v6))
                }
                _ => None,
            });
            let mac = one.attributes.iter().find_map(|attribute| match attribute {
                NeighbourAttribute::LinkLayerAddress(octets) => {
                    <[u8; 6]>::try_from(octets.as_slice()).ok()
                }
                _ => None,
            });
            neighbours.extend(address.zip(mac));
        }
        Ok(neighbours)
    })
}

fn out_of(route: &RouteMessage) -> Option<u32> {
    route.attributes.iter().find_map(|attribute| match attribute {
        RouteAttribute::Oif(index) => Some(*index),
        _ => None,
    })
}

/// Looks up the route to each address.
fn routes(addresses: &[IpAddr]) -> Result<Vec<Option<RouteMessage>>> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.context("cannot start a runtime")?.block_on(async {
        let (connection, handle, _) = new_connection().context("cannot open a netlink socket")?;
        tokio::spawn(connection);
        let mut found_routes = Vec::new();
        for address in addresses {
            let length = if address.is_ipv4() { 32 } else { 128 };
            let route = RouteMessageBuilder::<IpAddr>::new()
                .destination_prefix(*address, length)
                .with_context(|| format!("no destination of a route: {address}"))?
                .build();
            // No route is an error to the kernel.
            let found = handle.route().get(route).execute().try_next().await.ok().flatten();
            found_routes.push(found);
        }
        Ok(found_routes)
    })
}
