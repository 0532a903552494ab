//! The gateway stays reachable and able while its clients are filtered: connections to it, pings
//! and DNS in both directions, neighbour and router discovery.

use std::{
    net::{IpAddr, Ipv6Addr, SocketAddrV6},
    os::fd::{AsRawFd as _, OwnedFd},
};

use anyhow::{Context as _, Result, ensure};
use intune_filter_tests::{
    dns::{ADDRESS_TYPES, RecordType, ResponseCode, lookup},
    listeners::Listeners,
    namespace::{Namespace, run},
    network::{CLIENT, GATEWAY, LAN, WAN},
    probe::{ProbeResult, probe},
    responder::Responder,
    site::{self, ANSWER, WEB, tcp, udp},
    testbed::{FOREIGN_PORT, Testbed},
};
use nix::sys::{
    socket::{
        AddressFamily, MsgFlags, SockFlag, SockProtocol, SockType, SockaddrIn6, recvfrom, sendto,
        setsockopt, socket, sockopt,
    },
    time::{TimeVal, TimeValLike as _},
};

fn enforcing() -> Result<Testbed> {
    let mut testbed = Testbed::create(&site::setup())?;
    testbed.filter.start()?;
    // It does filter: what follows passes although of no service.
    testbed.expect_denied(tcp("192.0.2.80".parse()?, 443))?;
    Ok(testbed)
}

fn ping(from: &Namespace, to: IpAddr) -> Result<()> {
    run(from.command("ping").args(["-n", "-c", "3", "-i", "0.05", "-W", "5", &to.to_string()]))
        .map(drop)
}

#[test]
fn a_client_connects_to_the_gateway_itself() -> Result<()> {
    let testbed = enforcing()?;
    for address in GATEWAY {
        testbed.expect_reached(tcp(address, FOREIGN_PORT))?;
        ping(&testbed.network.client, address)?;
    }
    // Of another interface: a destination like any other.
    testbed.expect_denied(tcp("172.31.0.1".parse()?, FOREIGN_PORT))?;
    testbed.expect_denied(tcp("fd00:31::1".parse()?, FOREIGN_PORT))
}

#[test]
fn an_address_that_the_gateway_gets_later_is_its_own_without_a_daemon() -> Result<()> {
    let mut testbed = enforcing()?;
    testbed.filter.kill()?;
    for (address, length) in [("10.20.0.99", 24), ("fd00:20::99", 64)] {
        let gateway = &testbed.network.gateway;
        gateway.ip(&[format!("address add {address}/{length} dev {LAN}")])?;
        // The kernel enters an IPv6 address into its routes on its own time.
        site::eventually("it has a route", || {
            let output = gateway.command("ip").args(["route", "get", address]).output()?;
            Ok(String::from_utf8_lossy(&output.stdout).starts_with("local"))
        })?;
        testbed.expect_reached(tcp(address.parse()?, FOREIGN_PORT))?;
    }
    Ok(())
}

#[test]
fn the_gateway_pings_asks_and_connects_to_a_client() -> Result<()> {
    let testbed = enforcing()?;
    let network = &testbed.network;
    let _listeners = Listeners::start(&network.client, [FOREIGN_PORT], [5000])?;
    let _responder = Responder::start(&network.client, CLIENT)?;
    for address in CLIENT {
        ping(&network.gateway, address)?;
        for kind in ADDRESS_TYPES {
            let answer =
                network.gateway.run(|| lookup(address, "77.anything.test", kind, ANSWER))?;
            ensure!(answer.addresses.len() == 1, "{answer:?}");
        }
        for target in [tcp(address, FOREIGN_PORT), udp(address, 5000)] {
            let outcome = network.gateway.run(|| probe(target, ANSWER));
            ensure!(outcome == ProbeResult::Reached, "{target}: {outcome:?}");
        }
    }
    Ok(())
}

#[test]
fn what_a_client_answers_to_the_gateway_teaches_nothing() -> Result<()> {
    let testbed = enforcing()?;
    let network = &testbed.network;
    let _responder = Responder::start(&network.client, CLIENT)?;
    let ask = || lookup(CLIENT[0], "77.web.test", RecordType::A, ANSWER);
    let answer = network.gateway.run(ask)?;
    ensure!(answer.code == ResponseCode::NoError, "{answer:?}");
    let [address] = answer.addresses[..] else { anyhow::bail!("{answer:?}") };
    testbed.expect_denied(tcp(address, 443))
}

#[test]
fn neighbours_are_found_from_empty_tables() -> Result<()> {
    let testbed = enforcing()?;
    let network = &testbed.network;
    let web = testbed.resolve(WEB[0])?;
    for family in 0..2 {
        // Found by the client, for a packet that goes out.
        forget_neighbours(&testbed)?;
        testbed.expect_reached(tcp(web[family], 443))?;
        ensure!(knows(&network.client, WAN, GATEWAY[family])?, "the client knows no gateway");
        // Found by the gateway, for a packet of its own.
        forget_neighbours(&testbed)?;
        ping(&network.gateway, CLIENT[family])?;
        ensure!(knows(&network.gateway, LAN, CLIENT[family])?, "the gateway knows no client");
    }
    Ok(())
}

fn forget_neighbours(testbed: &Testbed) -> Result<()> {
    testbed.network.client.ip(&[format!("neigh flush dev {WAN}")])?;
    testbed.network.gateway.ip(&[format!("neigh flush dev {LAN}")])
}

/// Whether the namespace has a link-layer address for a neighbour.
fn knows(namespace: &Namespace, interface: &str, neighbour: IpAddr) -> Result<bool> {
    let mut command = std::process::Command::new("ip");
    command.args(["-netns", namespace.name(), "neigh", "show", &neighbour.to_string()]);
    Ok(run(command.args(["dev", interface]))?.contains("lladdr"))
}

#[test]
fn a_client_finds_the_router() -> Result<()> {
    let testbed = enforcing()?;
    let client = &testbed.network.client;
    let ifindex = client.ifindex(WAN)?;
    let from = client.run(|| solicit_router(ifindex))?;
    ensure!(from.is_unicast_link_local(), "an advertisement from {from}");
    testbed.resolver.wait_for(&format!("RTR-SOLICIT({LAN})"))
}

/// Sends a router solicitation (RFC 4861 section 4.1) and returns who advertises.
fn solicit_router(ifindex: u32) -> Result<Ipv6Addr> {
    const SOLICITATION: u8 = 133;
    const ADVERTISEMENT: u8 = 134;
    const ALL_ROUTERS: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 2);

    let icmp = SockProtocol::IcmpV6;
    let socket: OwnedFd =
        socket(AddressFamily::Inet6, SockType::Raw, SockFlag::SOCK_CLOEXEC, icmp)?;
    setsockopt(&socket, sockopt::Ipv6MulticastHops, &255)?;
    setsockopt(&socket, sockopt::ReceiveTimeout, &TimeVal::seconds(10))?;
    let to = SockaddrIn6::from(SocketAddrV6::new(ALL_ROUTERS, 0, 0, ifindex));
    // The kernel fills in the checksum of raw ICMPv6.
    let message = [SOLICITATION, 0, 0, 0, 0, 0, 0, 0];
    sendto(socket.as_raw_fd(), &message, &to, MsgFlags::empty())?;
    loop {
        let mut buffer = [0; 1500];
        let (_, from) = recvfrom::<SockaddrIn6>(socket.as_raw_fd(), &mut buffer)
            .context("no router advertisement")?;
        if buffer[0] == ADVERTISEMENT {
            return Ok(from.context("a packet has a source")?.ip());
        }
    }
}
