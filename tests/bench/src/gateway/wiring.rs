//! One gateway between a client and the internet, wired for packets at the highest rate: their
//! link-layer addresses are known, and both ends drop and count.

use std::process::Command;

use anyhow::{Context as _, Result};

use super::generator::{Generator, Origin};
use intune_filter_tests::{
    namespace::run,
    network::{LAN, Network, WAN},
};

/// Last octets of the clients' addresses.
pub const CLIENTS: std::ops::Range<u8> = 16..80;
/// A client that is in no group.
pub const UNLISTED: u8 = 200;

/// The wiring.
pub struct Wiring {
    /// The namespaces.
    pub network: Network,
}

/// Direction of packets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// From the client to the internet.
    Out,
    /// From the internet to the client.
    Back,
}

impl Wiring {
    /// Makes the namespaces, whose names begin with `label`.
    pub fn create(label: &str, generator: &mut Generator) -> Result<Self> {
        let network = Network::create(label)?;
        let Network { client, gateway, internet } = &network;
        // Frames from other programs' redirections are received by NAPI alone, which a veth has
        // with GRO, as a network card has both.
        for interface in [LAN, WAN] {
            run(gateway.command("ethtool").args(["-K", interface, "gro", "on"]))?;
            gateway.ip(&[format!("link set {interface} address 02:00:00:00:00:01")])?;
        }
        let mut neighbours = vec![
            format!(
                "neighbour replace 172.31.0.2 lladdr 02:00:00:00:00:20 dev {WAN} nud permanent"
            ),
            format!(
                "neighbour replace fd00:31::2 lladdr 02:00:00:00:00:20 dev {WAN} nud permanent"
            ),
        ];
        for host in CLIENTS.chain([UNLISTED]) {
            for address in [format!("10.20.0.{host}"), format!("fd00:20::{host:x}")] {
                neighbours.push(format!(
                    "neighbour replace {address} lladdr 02:00:00:00:00:10 dev {LAN} nud permanent"
                ));
            }
        }
        gateway.ip(&neighbours)?;
        // The kernel's documentation advises routers to do without looking for sockets first.
        gateway.sysctl("ipv4/ip_early_demux", "0")?;
        generator.receive_at(client, WAN)?;
        generator.receive_at(internet, WAN)?;
        Ok(Self { network })
    }

    /// Origin of packets of a direction.
    pub fn origin(&self, direction: Direction) -> Origin<'_> {
        let namespace = match direction {
            Direction::Out => &self.network.client,
            Direction::Back => &self.network.internet,
        };
        Origin { namespace, interface: WAN }
    }

    /// Packets that the gateway has received on the side where those of a direction come in.
    pub fn received(&self, direction: Direction) -> Result<u64> {
        let interface = if direction == Direction::Out { LAN } else { WAN };
        let text =
            self.network.gateway.run(|| std::fs::read_to_string("/proc/thread-self/net/dev"))?;
        let line =
            text.lines().find_map(|line| line.trim().strip_prefix(interface)?.strip_prefix(':'));
        // Octets, then packets.
        let packets = line.and_then(|line| line.split_whitespace().nth(1));
        Ok(packets.with_context(|| format!("no {interface} in {text}"))?.parse()?)
    }

    /// A command on the gateway.
    pub fn command(&self, program: &str) -> Command {
        self.network.gateway.command(program)
    }
}
