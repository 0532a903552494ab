//! Asks the kernel by netlink which interface a route leads out of, and whether by a router.

use std::net::IpAddr;

use anyhow::{Context as _, Result};
use futures_util::TryStreamExt as _;
use rtnetlink::{
    RouteMessageBuilder, new_connection,
    packet_route::route::{RouteAttribute, RouteMessage, RouteType},
};

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
    let direct = route.filter(|route| {
        let is_router = |one: &RouteAttribute| {
            matches!(one, RouteAttribute::Gateway(_) | RouteAttribute::Via(_))
        };
        route.header.kind == RouteType::Unicast && !route.attributes.iter().any(is_router)
    });
    Ok(direct.as_ref().and_then(out_of))
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
