//! A neighbour's address: whoever uses it takes nothing from its owner, fills no table, and is not let
//! in as a device that a group lists; and the innocents who change their hardware address.

use std::{
    io::{Read as _, Write as _},
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, TcpStream},
    time::Instant,
};

use anyhow::{Context as _, Result, ensure};
use intune_filter_tests::{
    dns::{self, RecordType, ResponseCode, lookup},
    network::{CLIENT, GATEWAY, LAN, WAN},
    prog_test_run::{Datagram, datagram::patched},
    site::{ANSWER, CONFIG, SILENCE, WEB, tcp},
};

use super::testbeds::{Attacker, PORT, SERVER, bound, config, in_each_mode};

/// The attacker's hardware address.
const OTHER: [u8; 6] = [0x02, 0, 0, 0, 0, 0x66];

fn by(mac: [u8; 6], datagram: &Datagram) -> Vec<u8> {
    patched(datagram.frame(), 6, &mac)
}

/// Addresses of the clients' network without a host, by number.
fn nobody(family: usize, number: u32) -> IpAddr {
    if family == 0 {
        Ipv4Addr::new(10, 20, 0, 100 + (number % 100) as u8).into()
    } else {
        Ipv6Addr::new(0xfd00, 0x20, 0, 0, 0xabcd, 0, 0, (number % 100) as u16).into()
    }
}

/// Attack E: 300 queries and new flows, in the name of one that may begin 50.
#[test]
fn a_neighbours_limits_are_not_spent_by_others() -> Result<()> {
    const FLOOD: u32 = 300;
    let limits = "limits: {queries: {rate: 1, burst: 50}, flows: {rate: 1, burst: 50}}";
    in_each_mode(&config(limits), |testbed, mode| {
        let attacker = Attacker::new(testbed)?;
        let [resolver, _] = testbed.resolver.addresses();
        let query = dns::query(WEB[0], RecordType::A)?;
        for number in 0..FLOOD {
            let port = 20_000 + number as u16;
            let asks = Datagram::new(CLIENT[0], resolver).udp(port, 53, &query);
            attacker.send_frame(by(OTHER, &asks))?;
            for family in 0..2 {
                let server: IpAddr = SERVER[family].parse()?;
                let opens = Datagram::new(CLIENT[family], server).udp(port, PORT, b"x");
                attacker.send_frame(by(OTHER, &opens))?;
            }
        }
        let limited = attacker.counted(&["dns_limit", "flow_limit"])?;
        ensure!(limited > u64::from(FLOOD), "{mode}: only {limited} were over a limit");
        for _ in 0..15 {
            let answer = testbed
                .network
                .client
                .run(|| lookup(resolver, WEB[0], RecordType::A, ANSWER))
                .with_context(|| format!("{mode}: a query is not answered"))?;
            ensure!(answer.code == ResponseCode::NoError, "{mode}: {answer:?}");
        }
        for address in testbed.resolve(WEB[0])? {
            for _ in 0..10 {
                testbed.expect_reached(tcp(address, 80))?;
            }
        }
        println!("{mode}: {limited} of {} were denied, and none of the neighbour's", 3 * FLOOD);
        Ok(())
    })
}

/// Attack G: flows from addresses of the network, with answers to ARP and without; default limits.
#[test]
fn one_hardware_address_fills_no_table() -> Result<()> {
    in_each_mode(&config(""), |testbed, mode| {
        let attacker = Attacker::new(testbed)?;
        for answers in [false, true] {
            for family in 0..2 {
                if answers {
                    let mac = OTHER.map(|octet| format!("{octet:02x}")).join(":");
                    let entry = |number| {
                        let address = nobody(family, number);
                        format!("neigh replace {address} lladdr {mac} nud permanent dev {LAN}")
                    };
                    testbed.network.gateway.ip(&(0..100).map(entry).collect::<Vec<_>>())?;
                }
                let server: IpAddr = SERVER[family].parse()?;
                let remote = testbed.network.internet.run(|| bound((server, PORT).into()))?;
                remote.set_read_timeout(Some(ANSWER))?;
                let client = testbed.network.client.run(|| bound((CLIENT[family], 0).into()))?;
                client.connect((server, PORT))?;
                client.send(b"hello")?;
                let from = remote.recv_from(&mut [0; 64]).context("no packet arrived")?.1;
                let started = Instant::now();
                let before = attacker.counted(&["policy"])?;
                attacker.flood(&["policy", "flow_limit"], 40_000, |number| {
                    let source = nobody(family, number);
                    let datagram = Datagram::new(source, server);
                    by(OTHER, &datagram.udp(1024 + (number / 100) as u16, PORT, b"x"))
                })?;
                let opened = attacker.counted(&["policy"])? - before;
                let seconds = started.elapsed().as_secs() + 1;
                // An eighth of the table of new flows at once, or a zone's bucket.
                let most = 2048 + 100 * seconds;
                println!(
                    "{mode}, family {family}, answers to ARP {answers}: {opened} of 40000 flows in \
                     {seconds} s, {most} at most"
                );
                ensure!(opened <= most, "{mode}: {opened} flows, {most} at most");
                // The flow that the client had opened before is still there.
                remote.send_to(b"welcome", from)?;
                client.set_read_timeout(Some(ANSWER))?;
                client.recv(&mut [0; 64]).context("the answer is denied")?;
            }
        }
        Ok(())
    })
}

/// Attack I: a client that takes an exempt device's address.
#[test]
fn an_exempt_address_is_of_no_use_to_others() -> Result<()> {
    const TAKEN: [&str; 2] = ["10.20.0.50", "fd00:20::50"];
    let group = |macs: &str| {
        CONFIG.replacen(
            "clients:\n",
            &format!(
                "clients:\n  - name: printer\n    networks: [10.20.0.50/32, \"fd00:20::50/128\"]\n    \
                 mode: exempt\n{macs}"
            ),
            1,
        )
    };
    let listing = group("    macs: [\"02:00:00:00:00:50\"]\n");
    in_each_mode(&listing, |testbed, mode| {
        testbed.network.client.ip(&[
            format!("address add {}/24 dev {WAN}", TAKEN[0]),
            format!("address add {}/64 dev {WAN} nodad", TAKEN[1]),
        ])?;
        let reaches = |family: usize| -> Result<bool> {
            let target: SocketAddr =
                (["192.0.2.80", "2001:db8:80::1"][family].parse::<IpAddr>()?, 443).into();
            let source: IpAddr = TAKEN[family].parse()?;
            testbed.network.client.run(|| connect_from(source, target))
        };
        for family in 0..2 {
            ensure!(!reaches(family)?, "{mode}: family {family}: the address was of use");
        }
        let counters = testbed.filter.counters()?;
        ensure!(counters.get("source_mac") > 0, "{mode}: {counters}");

        // Without the list everything is open, and `check` and `status` say so.
        testbed.filter.configure(
            &group("")
                .replace("  - name: eth1\n", &{ format!("  - name: eth1\n    mode: {mode}\n") }),
        )?;
        testbed.filter.succeed(&["apply"])?;
        for family in 0..2 {
            ensure!(reaches(family)?, "{mode}: family {family}: the control");
        }
        for command in ["check", "status"] {
            let said = testbed.filter.succeed(&[command])?;
            ensure!(said.contains("can take an address"), "{command}: {said}");
        }
        Ok(())
    })
}

/// Whether a connection from a source is established.
fn connect_from(source: IpAddr, target: SocketAddr) -> Result<bool> {
    use nix::sys::socket::{
        AddressFamily, SockFlag, SockType, SockaddrStorage, bind, connect, setsockopt, socket,
        sockopt::SendTimeout,
    };
    use nix::sys::time::{TimeVal, TimeValLike as _};
    use std::os::fd::AsRawFd as _;
    let family = if source.is_ipv4() { AddressFamily::Inet } else { AddressFamily::Inet6 };
    let socket = socket(family, SockType::Stream, SockFlag::SOCK_CLOEXEC, None)?;
    bind(socket.as_raw_fd(), &SockaddrStorage::from(SocketAddr::new(source, 0)))?;
    setsockopt(&socket, SendTimeout, &TimeVal::milliseconds(SILENCE.as_millis() as i64 * 4))?;
    Ok(connect(socket.as_raw_fd(), &SockaddrStorage::from(target)).is_ok())
}

/// A transfer goes on while its sender's hardware address changes, as when a router fails over or a
/// device roams to an extender: no packet of it is denied.
#[test]
fn a_transfer_outlives_a_change_of_hardware_address() -> Result<()> {
    const PART: usize = 64 * 1024;
    let limits = "limits: {queries: {rate: 10, burst: 100}, flows: {rate: 10, burst: 100}}";
    let config = config(limits).replace(&format!("udp: [{PORT}]"), &format!("tcp: [{PORT}]"));
    in_each_mode(&config, |testbed, mode| {
        for family in 0..2 {
            let server: IpAddr = SERVER[family].parse()?;
            let network = &testbed.network;
            let listener = network.internet.run(|| TcpListener::bind((server, PORT)))?;
            let target = SocketAddr::new(server, PORT);
            let mut client = network.client.run(|| TcpStream::connect_timeout(&target, ANSWER))?;
            let (mut remote, _) = listener.accept()?;
            for stream in [&client, &remote] {
                stream.set_read_timeout(Some(ANSWER * 4))?;
            }
            let before = testbed.filter.counters()?;
            for round in 0..4_u8 {
                transfer(&mut client, &mut remote, PART)
                    .with_context(|| format!("{mode}, family {family}, round {round}"))?;
                // Whoever has a new hardware address asks for its router with it.
                network.client.ip(&[
                    format!("link set {WAN} address 02:00:5e:00:53:{round:02x}"),
                    format!("neigh flush dev {WAN}"),
                ])?;
                let _ = network.client.run(|| {
                    TcpStream::connect_timeout(&SocketAddr::new(GATEWAY[family], 22), ANSWER)
                });
            }
            transfer(&mut client, &mut remote, PART).context("after the last")?;
            let denied = testbed.filter.counters()?.since(&before).denials();
            for reason in ["flow_limit", "source_mac", "source_interface", "unsolicited"] {
                ensure!(denied.get(reason) == 0, "{mode}, family {family}: {denied}");
            }
        }
        Ok(())
    })
}

/// So many octets each way.
fn transfer(client: &mut TcpStream, remote: &mut TcpStream, octets: usize) -> Result<()> {
    let data = vec![7; octets];
    let mut came = vec![0; octets];
    client.write_all(&data)?;
    remote.read_exact(&mut came).context("from the client")?;
    remote.write_all(&data)?;
    client.read_exact(&mut came).context("to the client")
}

/// Privacy addresses: eight of one host, and all begin something.
#[test]
fn a_host_with_eight_addresses_is_denied_nothing() -> Result<()> {
    let config = config("limits: {queries: {rate: 10, burst: 100}, flows: {rate: 10, burst: 100}}")
        .replace(&format!("udp: [{PORT}]"), &format!("tcp: [{PORT}]"));
    in_each_mode(&config, |testbed, mode| {
        let network = &testbed.network;
        let server: IpAddr = SERVER[1].parse()?;
        let _listener = network.internet.run(|| TcpListener::bind((server, PORT)))?;
        let before = testbed.filter.counters()?;
        for number in 1..=8_u16 {
            let address = Ipv6Addr::new(0xfd00, 0x20, 0, 0, 0x1234, 0, 0, number);
            network.client.ip(&[format!("address add {address}/64 dev {WAN} nodad")])?;
            for _ in 0..5 {
                let target = SocketAddr::new(server, PORT);
                let reached = network.client.run(|| connect_from(address.into(), target))?;
                ensure!(reached, "{mode}: {address}");
            }
        }
        let denied = testbed.filter.counters()?.since(&before).denials();
        ensure!(denied.get("flow_limit") == 0, "{mode}: {denied}");
        Ok(())
    })
}
