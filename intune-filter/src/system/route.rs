//! Asks the kernel by netlink which interface a route leads out of, and whether by a router.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use anyhow::{Context as _, Result};
use futures_util::TryStreamExt as _;
use ipnet::IpNet;
use rtnetlink::{
    RouteMessageBuilder, new_connection,
    packet_route::route::{RouteAddress, RouteAttribute, RouteMessage, RouteType},
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

/// Returns the index of the interface behind which an address is on-link; `None` if it is behind a
/// router, the gateway's own, or nowhere.
///
/// # Errors
/// The kernel gives no socket.
pub(crate) fn on_link_behind(address: IpAddr) -> Result<Option<u32>> {
    let route = routes(&[address])?.into_iter().next().flatten();
    let direct = route.filter(is_direct);
    Ok(direct.as_ref().and_then(out_of))
}

/// Returns the networks that routes lead to without a router, with the index of the interface: those of
/// addresses, and those that somebody has entered by hand.
///
/// # Errors
/// The kernel gives no socket, or does not tell its routes.
pub(crate) fn on_link_networks() -> Result<Vec<(u32, IpNet)>> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.context("cannot start a runtime")?.block_on(async {
        let (connection, handle, _) = new_connection().context("cannot open a netlink socket")?;
        tokio::spawn(connection);
        let mut networks = Vec::new();
        for all in [
            RouteMessageBuilder::<Ipv4Addr>::new().build(),
            RouteMessageBuilder::<Ipv6Addr>::new().build(),
        ] {
            let mut routes = handle.route().get(all).execute();
            while let Some(route) = routes.try_next().await.context("cannot read the routes")? {
                networks.extend(on_link_network(&route));
            }
        }
        Ok(networks)
    })
}

/// Returns the network of a route without a router, of any table but the local one.
fn on_link_network(route: &RouteMessage) -> Option<(u32, IpNet)> {
    let length = route.header.destination_prefix_length;
    if !is_direct(route) || length == 0 || route.header.table == LOCAL {
        return None;
    }
    let network = route.attributes.iter().find_map(|attribute| match attribute {
        RouteAttribute::Destination(RouteAddress::Inet(v4)) => Some(IpAddr::from(*v4)),
        RouteAttribute::Destination(RouteAddress::Inet6(v6)) => Some(IpAddr::from(*v6)),
        _ => None,
    })?;
    Some((out_of(route)?, IpNet::new(network, length).ok()?))
}

/// Whether a route leads to hosts themselves, by no router.
fn is_direct(route: &RouteMessage) -> bool {
    let is_router =
        |one: &RouteAttribute| matches!(one, RouteAttribute::Gateway(_) | RouteAttribute::Via(_));
    route.header.kind == RouteType::Unicast && !route.attributes.iter().any(is_router)
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
