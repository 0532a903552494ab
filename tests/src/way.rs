//! A second way from the gateway to the internet, beside the Ethernet link.

use anyhow::Result;

use crate::{
    network::{Network, WAN},
    resolver::Kind,
    responder::RESPONDER,
    site::{self, CONFIG, in_mode, tcp},
    testbed::{Setup, Testbed},
    transfer::{Transfer, echo_on},
    tun::{Tun, TunLink},
};

/// The device of both of its ends.
pub const DEVICE: &str = "wwan0";

/// The gateway's address on it, and the internet's.
pub const ENDS: [&str; 2] = ["172.32.0.1", "172.32.0.2"];

/// Addresses of the service `printer`, to which transfers go.
pub const PRINTERS: [&str; 2] = ["192.0.2.5", "2001:db8:9100::5"];

/// Its port.
const PORT: u16 = 631;

/// A testbed in a mode, in which printers send back what they receive.
pub fn testbed(mode: &str) -> Result<Testbed> {
    let mut setup =
        Setup { config: in_mode(CONFIG, mode), resolver: Kind::Unbound, ..site::setup() };
    setup.tcp.retain(|port| *port != PORT);
    let testbed = Testbed::create(&setup)?;
    echo_on(&testbed, PORT)?;
    Ok(testbed)
}

/// Begins a transfer to each printer.
pub fn transfers(testbed: &Testbed) -> Result<Vec<Transfer>> {
    PRINTERS.iter().map(|printer| Transfer::begin(testbed, printer.parse()?, PORT)).collect()
}

/// Makes it of a pair of tun devices.
pub fn by_tun(network: &Network) -> Result<TunLink> {
    let ends = [Tun::create(&network.gateway, DEVICE)?, Tun::create(&network.internet, DEVICE)?];
    let link = TunLink::connect(ends)?;
    address4(network)?;
    address6(network)?;
    Ok(link)
}

/// Gives the devices their addresses of IPv4, which some links negotiate themselves.
pub fn address4(network: &Network) -> Result<()> {
    for (namespace, address) in [&network.gateway, &network.internet].into_iter().zip(ENDS) {
        namespace.ip(&[format!("address add {address}/30 dev {DEVICE}")])?;
    }
    Ok(())
}

/// Gives the devices those of IPv6, and sets them up.
pub fn address6(network: &Network) -> Result<()> {
    for (namespace, number) in [(&network.gateway, 1), (&network.internet, 2)] {
        namespace.ip(&[
            format!("link set {DEVICE} up"),
            format!("address add fd00:32::{number}/64 dev {DEVICE} nodad"),
        ])?;
    }
    // Each other address is the internet's own.
    network.internet.ip(&[
        format!("route add 172.32.0.0/30 dev {DEVICE} table local"),
        format!("route add fd00:32::/64 dev {DEVICE} table local"),
    ])
}

/// Leads both directions by a device: the gateway's default routes, and the internet's to the clients.
pub fn lead_by(network: &Network, device: &str) -> Result<()> {
    let (next4, next6) =
        if device == WAN { ("172.31.0.2", "fd00:31::2") } else { ("172.32.0.2", "fd00:32::2") };
    let (back4, back6) =
        if device == WAN { ("172.31.0.1", "fd00:31::1") } else { ("172.32.0.1", "fd00:32::1") };
    network.gateway.ip(&[
        format!("route replace default via {next4} dev {device}"),
        format!("route replace ::/0 via {next6} dev {device}"),
    ])?;
    network.internet.ip(&[
        format!("route replace 10.20.0.0/24 via {back4} dev {device} table local"),
        format!("route replace fd00:20::/64 via {back6} dev {device} table local"),
    ])
}

/// Checks that names of the resolver beyond are answered and learned from: two of its own for each number.
pub fn expect_learned(testbed: &Testbed, number: usize) -> Result<()> {
    for (family, resolver) in RESPONDER.into_iter().enumerate() {
        for address in testbed.resolve_at(resolver, &format!("{}.web.test", number * 2 + family))? {
            testbed.expect_reached(tcp(address, 443))?;
        }
    }
    Ok(())
}
