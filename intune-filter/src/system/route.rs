//! Asks the kernel by netlink which interface a route leads out of.

use std::net::IpAddr;

use anyhow::{Context as _, Result};
use futures_util::TryStreamExt as _;
use rtnetlink::{RouteMessageBuilder, new_connection, packet_route::route::RouteAttribute};

/// Returns the index of the interface that the route to each address leads out of; `None` if there is
/// no route.
///
/// # Errors
/// The kernel gives no socket.
pub(crate) fn interfaces_towards(addresses: &[IpAddr]) -> Result<Vec<Option<u32>>> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.context("cannot start a runtime")?.block_on(async {
        let (connection, handle, _) = new_connection().context("cannot open a netlink socket")?;
        tokio::spawn(connection);
        let mut interfaces = Vec::new();
        for address in addresses {
            let length = if address.is_ipv4() { 32 } else { 128 };
            let route = RouteMessageBuilder::<IpAddr>::new()
                .destination_prefix(*address, length)
                .with_context(|| format!("no destination of a route: {address}"))?
                .build();
            // No route is an error to the kernel.
            let found = handle.route().get(route).execute().try_next().await.ok().flatten();
            interfaces.push(found.and_then(|route| {
                route.attributes.iter().find_map(|attribute| match attribute {
                    RouteAttribute::Oif(index) => Some(*index),
                    _ => None,
                })
            }));
        }
        Ok(interfaces)
    })
}
