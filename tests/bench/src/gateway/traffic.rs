//! The packets: the smallest that there are of TCP, of flows that are known, that are new, and that
//! are denied.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use anyhow::{Result, bail, ensure};
use intune_filter_ebpf::abi::{FlowKey, V4, V6};

use super::{
    generator::{Generator, List},
    site::{self, Site},
    wiring::{CLIENTS, Direction, Wiring},
};
use crate::programs::packets::Family;
use intune_filter_tests::prog_test_run::{Datagram, Flags};

/// Packets of each list, of flows of their own: the filter keeps twice as many unanswered flows.
pub const PACKETS: u32 = 8_192;
/// Flows that a processor's caches hold.
pub const HOT: u32 = 64;
/// Frames of all lists of one family.
pub const ROOM: u32 = 6 * PACKETS;
/// First ports of the clients, of flows that become known and of others.
const KNOWN_PORT: u16 = 16_384;
const NEW_PORT: u16 = 32_768;
const DENIED_PORT: u16 = 49_152;

/// The packets of one family.
pub struct Traffic {
    /// Openings of the flows that become known, and their answers.
    openings: [List; 2],
    /// Packets of known flows from clients.
    pub known: List,
    /// Packets of known flows to clients.
    pub back: List,
    /// Openings of other flows.
    pub new: List,
    /// Openings of flows to nowhere that is allowed.
    pub denied: List,
}

impl Traffic {
    /// Makes the packets.
    pub fn new(family: Family, site: &Site, generator: &mut Generator) -> Result<Self> {
        let ends = Destinations::new(family, site)?;
        let flows = |port| -> Vec<Flow> {
            (0..PACKETS).map(|index| ends.flow(family, index, port)).collect()
        };
        let (known, new) = (flows(KNOWN_PORT), flows(NEW_PORT));
        let denied: Vec<Flow> = (0..PACKETS)
            .map(|index| Flow {
                remote: nowhere(family, index),
                ..flow(family, index, DENIED_PORT)
            })
            .collect();
        for flow in &denied {
            ensure!(site.networks_of(flow.remote).is_empty(), "{} is in a network", flow.remote);
        }
        know(&known, generator)?;
        let mut list = |flows: &[Flow], packet: &dyn Fn(&Flow) -> Datagram| {
            let frames: Vec<_> = flows.iter().map(|flow| packet(flow).frame()).collect();
            generator.list(&frames)
        };
        let opening = |flow: &Flow| flow.out(Flags::SYN, [1000, 0]);
        Ok(Self {
            openings: [
                list(&known, &opening)?,
                list(&known, &|flow| flow.back(Flags::SYN_ACK, [5000, 1001]))?,
            ],
            known: list(&known, &|flow| flow.out(Flags::ACK, [1001, 5001]))?,
            back: list(&known, &|flow| flow.back(Flags::ACK, [5001, 1001]))?,
            new: list(&new, &opening)?,
            denied: list(&denied, &opening)?,
        })
    }
}

/// An address that no network of the policy and no name leads to.
pub fn nowhere(family: Family, index: u32) -> IpAddr {
    match family {
        Family::V4 => site::somewhere4(61, index),
        Family::V6 => site::somewhere6(0x2a03, index),
    }
}

/// The address of a client.
pub fn client(family: Family, host: u8) -> IpAddr {
    match family {
        Family::V4 => Ipv4Addr::new(10, 20, 0, host).into(),
        Family::V6 => Ipv6Addr::new(0xfd00, 0x20, 0, 0, 0, 0, 0, u16::from(host)).into(),
    }
}

/// Destination of a TCP flow.
#[derive(Clone, Copy, Debug)]
struct Flow {
    client: IpAddr,
    client_port: u16,
    remote: IpAddr,
    remote_port: u16,
}

impl Flow {
    fn out(&self, flags: Flags, numbers: [u32; 2]) -> Datagram {
        let ports = [self.client_port, self.remote_port];
        Datagram::new(self.client, self.remote).segment(ports, flags, numbers, &[])
    }

    fn back(&self, flags: Flags, numbers: [u32; 2]) -> Datagram {
        let ports = [self.remote_port, self.client_port];
        Datagram::new(self.remote, self.client).segment(ports, flags, numbers, &[])
    }
}

/// Has flows be known to the floor.
fn know(flows: &[Flow], generator: &mut Generator) -> Result<()> {
    let (mut keys4, mut keys6) = (Vec::new(), Vec::new());
    for flow in flows {
        match (flow.client, flow.remote) {
            (IpAddr::V4(client), IpAddr::V4(remote)) => {
                keys4.push(key(flow, V4::from(client), V4::from(remote)));
            }
            (IpAddr::V6(client), IpAddr::V6(remote)) => {
                keys6.push(key(flow, V6::from(client), V6::from(remote)));
            }
            _ => bail!("{flow:?} is of two families"),
        }
    }
    generator.know4(&keys4)?;
    generator.know6(&keys6)
}

/// As the floor, which knows one zone, reads it from a packet.
const fn key<A>(flow: &Flow, client: A, remote: A) -> FlowKey<A> {
    FlowKey {
        zone: 1,
        protocol: 6,
        reserved: 0,
        client_port: flow.client_port.to_be(),
        remote_port: flow.remote_port.to_be(),
        client,
        remote,
    }
}

/// A flow of one client after the other, to nowhere yet.
fn flow(family: Family, index: u32, first_port: u16) -> Flow {
    let clients = u32::from(CLIENTS.end - CLIENTS.start);
    let host = CLIENTS.start + (index % clients) as u8;
    Flow {
        client: client(family, host),
        client_port: first_port + (index / clients) as u16,
        remote: nowhere(family, 0),
        remote_port: 443,
    }
}

/// Destinations of flows, each with a port.
struct Destinations {
    networks: Vec<(ipnet::IpNet, u16)>,
    learned: Vec<(IpAddr, u16)>,
}

impl Destinations {
    fn new(family: Family, site: &Site) -> Result<Self> {
        let v6 = family == Family::V6;
        let mut ends = Self { networks: Vec::new(), learned: Vec::new() };
        for (network, bit) in site.networks(v6) {
            ends.networks.extend(site.tcp_port(bit)?.map(|port| (network, port)));
        }
        for (address, bit) in &site.learned {
            if address.is_ipv6() == v6 {
                ends.learned.extend(site.tcp_port(*bit)?.map(|port| (*address, port)));
            }
        }
        let lacks = ends.networks.is_empty() || ends.learned.is_empty();
        ensure!(!lacks, "the policy has no destinations of {family}");
        Ok(ends)
    }

    /// Every second one goes to a network, the others to learned addresses.
    fn flow(&self, family: Family, index: u32, first_port: u16) -> Flow {
        let at = index as usize / 2;
        let (remote, remote_port) = if index.is_multiple_of(2) {
            let (network, port) = self.networks[at % self.networks.len()];
            (inside(network, (at / self.networks.len()) as u32), port)
        } else {
            self.learned[at % self.learned.len()]
        };
        Flow { remote, remote_port, ..flow(family, index, first_port) }
    }
}

/// An address of a network.
pub fn inside(network: ipnet::IpNet, index: u32) -> IpAddr {
    let host = u128::from(index);
    match network {
        ipnet::IpNet::V4(net) => {
            let size = 1_u64 << (32 - net.prefix_len());
            let host = u64::from(index) % size;
            Ipv4Addr::from(u32::from(net.network()) + host as u32).into()
        }
        ipnet::IpNet::V6(net) if net.prefix_len() == 128 => net.addr().into(),
        ipnet::IpNet::V6(net) => Ipv6Addr::from(u128::from(net.network()) | host & 1).into(),
    }
}

/// Has flows be known: opened, answered and gone on.
pub fn establish(traffic: &Traffic, generator: &mut Generator, wiring: &Wiring) -> Result<()> {
    let [opening, answer] = &traffic.openings;
    let steps =
        [(opening, Direction::Out), (answer, Direction::Back), (&traffic.known, Direction::Out)];
    for (list, direction) in steps {
        let before = generator.arrived()?;
        generator.send(wiring.origin(direction), list, list.len())?;
        let arrived = generator.arrived()? - before;
        ensure!(
            arrived >= u64::from(list.len()),
            "{arrived} of {} packets that open flows arrived ({direction:?})",
            list.len()
        );
    }
    Ok(())
}
