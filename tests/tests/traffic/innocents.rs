//! Innocents behind one hardware address, or behind two that take turns: not one packet of theirs is
//! denied.

use std::{
    io::{Read as _, Write as _},
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, TcpStream},
    os::fd::AsRawFd as _,
};

use anyhow::{Context as _, Result, ensure};
use intune_filter_tests::{
    network::{GATEWAY, LAN, WAN},
    prog_test_run::{Datagram, datagram::patched},
    site::{ANSWER, CONFIG, MODES, SILENCE, eventually, in_mode, setup},
    testbed::{Setup, Testbed},
    wire::Wire,
};
use nix::sys::socket::{
    AddressFamily, SockFlag, SockType, SockaddrStorage, bind, connect, setsockopt, socket,
    sockopt::SendTimeout,
};
use nix::sys::time::{TimeVal, TimeValLike as _};

/// A service whose hosts need no name, of each family.
const SERVER: [&str; 2] = ["192.0.2.65", "2001:db8:9165::65"];
const PORT: u16 = 5001;
/// Address by which the routers' pair is reached, and their own hardware addresses.
const ROUTER: [&str; 2] = ["10.20.0.2", "fd00:20::2"];
const MACS: [[u8; 6]; 2] = [[0x02, 0, 0x5e, 0, 0, 0xa1], [0x02, 0, 0x5e, 0, 0, 0xb2]];
/// Clients behind a switch of layer 3.
const CLIENTS: u16 = 500;

/// Address of a client behind the router, by number.
fn behind(family: usize, number: u16) -> IpAddr {
    let [high, low] = number.to_be_bytes();
    if family == 0 {
        Ipv4Addr::new(10, 20, 0x40 + high, low).into()
    } else {
        Ipv6Addr::new(0xfd00, 0x20, 0, 0x40, 0, 0, 0, number).into()
    }
}

/// Runs a test in each mode, where the client is a router before networks with other clients.
fn behind_a_router(limits: &str, test: impl Fn(&Testbed, &str) -> Result<()>) -> Result<()> {
    let config = CONFIG
        .replacen("limits: {queries: off, flows: off}", limits, 1)
        .replacen("services: [web,", "services: [slow, web,", 1)
        .replacen("[10.20.0.0/24, \"fd00:20::/64\"]", "[10.20.0.0/16, \"fd00:20::/48\"]", 1);
    let config = format!(
        "{config}  - id: slow\n    title: Slow\n    cidrs: [192.0.2.64/29, \"2001:db8:9165::/64\"]\n    \
         tcp: [{PORT}]\n"
    );
    for mode in MODES {
        let setup = Setup { config: in_mode(&config, mode), ..setup() };
        let mut testbed = Testbed::create(&setup)?;
        let network = &testbed.network;
        let mac = text(MACS[0]);
        network.client.ip(&[
            format!("link set {WAN} address {mac}"),
            format!("address add {}/24 dev {WAN}", ROUTER[0]),
            format!("address add {}/64 dev {WAN} nodad", ROUTER[1]),
            "route add local 10.20.64.0/20 dev lo".to_owned(),
            "route add local fd00:20:0:40::/64 dev lo".to_owned(),
        ])?;
        network.client.sysctl("ipv6/ip_nonlocal_bind", "1")?;
        network.gateway.ip(&[
            format!("route add 10.20.64.0/20 via {} dev {LAN}", ROUTER[0]),
            format!("route add fd00:20:0:40::/64 via {} dev {LAN}", ROUTER[1]),
        ])?;
        network.internet.ip(&[
            "route add 10.20.64.0/20 via 172.31.0.1 table local",
            "route add fd00:20:0:40::/64 via fd00:31::1 table local",
        ])?;
        testbed.filter.start()?;
        test(&testbed, mode).with_context(|| format!("in {mode} mode"))?;
    }
    Ok(())
}

fn text(mac: [u8; 6]) -> String {
    mac.map(|octet| format!("{octet:02x}")).join(":")
}

/// Connects from an address.
fn connect_from(source: IpAddr, target: SocketAddr) -> Result<TcpStream> {
    let family = if source.is_ipv4() { AddressFamily::Inet } else { AddressFamily::Inet6 };
    let socket = socket(family, SockType::Stream, SockFlag::SOCK_CLOEXEC, None)?;
    bind(socket.as_raw_fd(), &SockaddrStorage::from(SocketAddr::new(source, 0)))?;
    setsockopt(&socket, SendTimeout, &TimeVal::milliseconds(ANSWER.as_millis() as i64))?;
    connect(socket.as_raw_fd(), &SockaddrStorage::from(target))
        .with_context(|| format!("{source} to {target}"))?;
    Ok(socket.into())
}

#[test]
fn five_hundred_clients_behind_one_hardware_address_are_denied_nothing() -> Result<()> {
    // Less for one address, and for all of one hardware address, than they begin together; an IPv6 network
    // has 64 times an address's.
    let limits = "limits: {queries: {rate: 1, burst: 20}, flows: {rate: 1, burst: 20}}";
    behind_a_router(limits, |testbed, mode| {
        let network = &testbed.network;
        let before = testbed.filter.counters()?;
        for (family, server) in SERVER.into_iter().enumerate() {
            let target = SocketAddr::new(server.parse()?, PORT);
            let listener = network.internet.run(|| TcpListener::bind(target))?;
            let mut streams = Vec::new();
            for number in 1..=CLIENTS {
                let source = behind(family, number);
                // As each may begin, at once.
                for _ in 0..2 {
                    streams.push(network.client.run(|| connect_from(source, target))?);
                    listener.accept()?;
                }
            }
        }
        let counters = testbed.filter.counters()?.since(&before);
        let denied = counters.denials();
        println!("{mode}: {} flows of {CLIENTS} clients, denied: {denied}", counters.get("policy"));
        ensure!(counters.get("policy") >= 4 * u64::from(CLIENTS), "{counters}");
        ensure!(denied.is_empty(), "{denied}");
        Ok(())
    })
}

/// A pair of routers with addresses of their own hardware (VRRP without the virtual one, as keepalived's
/// `vmac` switched off, or HSRP with burned-in addresses): the second one forwards what clients send as
/// soon as it has taken over, and the gateway hears of that later.
#[test]
fn a_transfer_outlives_the_failover_of_a_router() -> Result<()> {
    behind_a_router("", |testbed, mode| {
        let network = &testbed.network;
        // An entry is as new as the failover here: the gateway is not to wait a second before it changes it.
        network.gateway.sysctl(&format!("ipv4/neigh/{LAN}/locktime"), "0")?;
        for (family, server) in SERVER.into_iter().enumerate() {
            let target = SocketAddr::new(server.parse()?, PORT);
            let listener = network.internet.run(|| TcpListener::bind(target))?;
            let source = behind(family, 1);
            let mut client = network.client.run(|| connect_from(source, target))?;
            let (mut remote, _) = listener.accept()?;
            for stream in [&client, &remote] {
                stream.set_read_timeout(Some(ANSWER * 4))?;
                stream.set_write_timeout(Some(ANSWER * 4))?;
            }
            let before = testbed.filter.counters()?;
            for round in 0..4_usize {
                exchange(&mut client, &mut remote).with_context(|| format!("round {round}"))?;
                take_over(testbed, family, MACS[(round + 1) % 2])?;
                // What the second router forwards, and the gateway's answers to the first.
                client.write_all(&[7; 8192])?;
                remote.read_exact(&mut [0; 8192]).context("before the gateway knows")?;
                let another = network.client.run(|| connect_from_silently(source, target))?;
                announce(testbed, family, MACS[(round + 1) % 2])?;
                let neighbour = format!("the gateway knows the router in round {round}");
                eventually(&neighbour, || knows(testbed, family, MACS[(round + 1) % 2]))?;
                drop(another);
            }
            exchange(&mut client, &mut remote).context("after the last")?;
            let counters = testbed.filter.counters()?.since(&before);
            let denied = counters.denials();
            println!("{mode}, family {family}: {} packets, denied: {denied}", counters.get("flow"));
            ensure!(denied.is_empty(), "family {family}: {denied}");
        }
        Ok(())
    })
}

/// Begins to connect, to where no answer comes from yet.
fn connect_from_silently(source: IpAddr, target: SocketAddr) -> Result<std::os::fd::OwnedFd> {
    let family = if source.is_ipv4() { AddressFamily::Inet } else { AddressFamily::Inet6 };
    let socket = socket(family, SockType::Stream, SockFlag::SOCK_CLOEXEC, None)?;
    bind(socket.as_raw_fd(), &SockaddrStorage::from(SocketAddr::new(source, 0)))?;
    setsockopt(&socket, SendTimeout, &TimeVal::milliseconds(SILENCE.as_millis() as i64))?;
    let _ = connect(socket.as_raw_fd(), &SockaddrStorage::from(target));
    Ok(socket)
}

/// So many octets each way.
fn exchange(client: &mut TcpStream, remote: &mut TcpStream) -> Result<()> {
    const OCTETS: usize = 64 * 1024;
    let (data, mut came) = (vec![7; OCTETS], vec![0; OCTETS]);
    client.write_all(&data)?;
    remote.read_exact(&mut came).context("from the client")?;
    remote.write_all(&data)?;
    client.read_exact(&mut came).context("to the client")
}

/// Has the other router forward: it knows the gateway already, and so asks for nothing.
fn take_over(testbed: &Testbed, family: usize, mac: [u8; 6]) -> Result<()> {
    let gateway = text(testbed.network.lan_address()?);
    let mac = text(mac);
    testbed.network.client.ip(&[
        format!("link set {WAN} address {mac}"),
        format!("neigh replace {} lladdr {gateway} nud permanent dev {WAN}", GATEWAY[family]),
    ])
}

/// Tells the gateway of the router that forwards now (RFC 5798, 8.1.2 and 8.2.2).
fn announce(testbed: &Testbed, family: usize, mac: [u8; 6]) -> Result<()> {
    let (network, router) = (&testbed.network, ROUTER[family].parse::<IpAddr>()?);
    let gateway = network.lan_address()?;
    let frame = match router {
        IpAddr::V4(v4) => {
            let header = [&gateway[..], &mac, &[0x08, 0x06, 0, 1, 8, 0, 6, 4, 0, 2]].concat();
            let whose = [&mac[..], &v4.octets()].concat();
            [&header[..], &whose, &whose].concat()
        }
        IpAddr::V6(v6) => {
            // A router that overrides what was known.
            let told = [&v6.octets()[..], &[2, 1], &mac].concat();
            let datagram = Datagram::new(router, GATEWAY[1]).hop_limit(255);
            let frame = datagram.icmp(136, 0, [0xa0, 0, 0, 0], &told).frame();
            patched(patched(frame, 0, &gateway), 6, &mac)
        }
    };
    network.client.run(|| Wire::open(WAN))?.send(&frame)
}

/// Whether the gateway's neighbour table has this router.
fn knows(testbed: &Testbed, family: usize, mac: [u8; 6]) -> Result<bool> {
    let mut ip = testbed.network.gateway.command("ip");
    let told = intune_filter_tests::namespace::run(ip.args(["neigh", "show", ROUTER[family]]))?;
    Ok(told.contains(&text(mac)))
}
