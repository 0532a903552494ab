//! A client that floods, and what becomes of its neighbour's first packets: without limits they are
//! lost, and with limits they are not.

use std::{
    io::{Read as _, Write as _},
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, TcpStream, UdpSocket},
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use intune_filter_tests::{
    dns::{self, RecordType},
    network::WAN,
    prog_test_run::{Datagram, Flags, datagram::patched, live::stay},
    site::{self, ANSWER, CONFIG, SILENCE, WEB},
    testbed::{Setup, Testbed},
    wire::Wire,
};

/// Addresses of the flooding client.
const ATTACKER: [IpAddr; 2] = [
    IpAddr::V4(Ipv4Addr::new(10, 20, 0, 66)),
    IpAddr::V6(Ipv6Addr::new(0xfd00, 0x20, 0, 0, 0, 0, 0, 0x66)),
];
/// A resolver that answers when the test says so.
const RESOLVER: [&str; 2] = ["203.0.113.55", "2001:db8:53::55"];
/// A server that does, and an address next to it.
const SERVER: [&str; 2] = ["192.0.2.65", "2001:db8:9165::65"];
const NOBODY: [&str; 2] = ["192.0.2.66", "2001:db8:9165::66"];
const PORT: u16 = 5001;
/// Room in the tables of queries and of new flows.
const ROOM: u64 = 1024;
/// Room in the table of connections to resolvers.
const CONNECTIONS: u64 = 4096;

/// Limits in the site's configuration.
const NONE: &str = "limits: {queries: off, flows: off}";

fn config(limits: &str) -> String {
    let config = CONFIG
        .replacen(
            "    - 10.20.0.1\n",
            "    - 10.20.0.1\n    - 203.0.113.55\n    - \"2001:db8:53::55\"\n",
            1,
        )
        .replacen(NONE, limits, 1)
        .replacen("services: [web,", "services: [slow, web,", 1);
    format!(
        "{config}  - id: slow\n    title: Slow\n    cidrs: [192.0.2.64/29, \"2001:db8:9165::/64\"]\n    \
         udp: [{PORT}]\nmaps: {{pending: {ROOM}, new_flows: {ROOM}}}\n"
    )
}

/// The frames of a flood, by number.
type Frames<'a> = &'a dyn Fn(u16) -> Datagram;

/// Floods until the filter has seen enough to fill a table several times: what finds no room on the
/// way is lost before.
fn flood(testbed: &Testbed, room: u64, reasons: &[&str], frames: Frames<'_>) -> Result<()> {
    let mac = testbed.network.lan_address()?;
    let wire = testbed.network.client.run(|| Wire::open(WAN))?;
    let seen = || -> Result<u64> {
        let counters = testbed.filter.counters()?;
        Ok(reasons.iter().map(|reason| counters.get(reason)).sum())
    };
    let (before, deadline) = (seen()?, Instant::now() + Duration::from_secs(60));
    let mut number = 0_u16;
    while seen()? - before < 6 * room {
        ensure!(
            Instant::now() < deadline,
            "the filter sees no more than {} frames",
            seen()? - before
        );
        for _ in 0..1000 {
            number = number.wrapping_add(1);
            wire.send(&patched(frames(number).frame(), 0, &mac))?;
        }
    }
    Ok(())
}

fn bound(address: SocketAddr) -> Result<UdpSocket> {
    let socket = UdpSocket::bind(address)?;
    socket.set_read_timeout(Some(ANSWER))?;
    Ok(socket)
}

/// Whether the answer to a query comes that was sent before the flood.
fn query_survives(testbed: &Testbed, family: usize) -> Result<bool> {
    let resolver: IpAddr = RESOLVER[family].parse()?;
    let network = &testbed.network;
    let server = network.internet.run(|| bound((resolver, 53).into()))?;
    let client = network.client.run(|| dns::connect(resolver))?;
    let query = dns::query(WEB[0], RecordType::A)?;
    client.send(&query)?;
    let mut buffer = [0; 512];
    let (length, from) = server.recv_from(&mut buffer).context("no query arrived")?;
    let mut answer = buffer.get(..length).context("the buffer is longer")?.to_vec();
    answer[2] |= 0x80;
    flood(testbed, ROOM, &["dns_query", "dns_limit"], &|number| {
        let mut message = query.clone();
        message[..2].copy_from_slice(&number.to_be_bytes());
        Datagram::new(ATTACKER[family], resolver).udp(40_000, 53, &message)
    })?;
    server.send_to(&answer, from)?;
    client.set_read_timeout(Some(SILENCE * 3))?;
    Ok(client.recv(&mut buffer).is_ok())
}

/// Whether the answer to the first packet of a flow comes that was opened before the flood.
fn flow_survives(testbed: &Testbed, family: usize) -> Result<bool> {
    let (server, nobody): (IpAddr, IpAddr) = (SERVER[family].parse()?, NOBODY[family].parse()?);
    let network = &testbed.network;
    let remote = network.internet.run(|| bound((server, PORT).into()))?;
    let any: IpAddr = if family == 0 { [0; 4].into() } else { [0_u16; 8].into() };
    let client = network.client.run(|| bound((any, 0).into()))?;
    client.connect((server, PORT))?;
    client.send(b"hello")?;
    let mut buffer = [0; 64];
    let (_, from) = remote.recv_from(&mut buffer).context("the first packet did not arrive")?;
    flood(testbed, ROOM, &["policy", "flow_limit"], &|number| {
        Datagram::new(ATTACKER[family], nobody).udp(number, PORT, b"flood")
    })?;
    remote.send_to(b"welcome", from)?;
    client.set_read_timeout(Some(SILENCE * 3))?;
    Ok(client.recv(&mut buffer).is_ok())
}

/// Whether a query arrives over a connection that was opened before the flood.
fn connection_survives(testbed: &Testbed, family: usize) -> Result<bool> {
    let resolver: IpAddr = RESOLVER[family].parse()?;
    let network = &testbed.network;
    let listener = network.internet.run(|| TcpListener::bind((resolver, 53)))?;
    let connect = || TcpStream::connect_timeout(&(resolver, 53).into(), ANSWER);
    let mut client = network.client.run(connect).context("no connection")?;
    let (mut server, _) = listener.accept()?;
    flood(testbed, CONNECTIONS, &["dns_query", "dns_limit"], &|number| {
        let datagram = Datagram::new(ATTACKER[family], resolver);
        // The kernel's tables keep what was looked at again before what was not.
        let (flags, sequence) = if number % 2 == 0 { (Flags::SYN, 7) } else { (Flags::ACK, 8) };
        datagram.segment([number / 2, 53], flags, [sequence, 1], b"")
    })?;
    let query = dns::framed(&dns::query(WEB[0], RecordType::A)?)?;
    client.write_all(&query)?;
    server.set_read_timeout(Some(SILENCE * 3))?;
    let mut buffer = vec![0; query.len()];
    Ok(server.read_exact(&mut buffer).is_ok())
}

/// Survivors of a flood: a query, a flow and a connection to a resolver, in both families.
fn survivors(limits: &str) -> Result<[[bool; 3]; 2]> {
    // Another CPU's newest entries are not yet where the kernel looks for some to evict.
    stay()?;
    let setup = Setup { config: config(limits), ..site::setup() };
    let mut testbed = Testbed::create(&setup)?;
    testbed.filter.start()?;
    let mut survivors = [[false; 3]; 2];
    for (family, found) in survivors.iter_mut().enumerate() {
        *found = [
            query_survives(&testbed, family)?,
            flow_survives(&testbed, family)?,
            connection_survives(&testbed, family)?,
        ];
    }
    println!("{limits}: {survivors:?}");
    Ok(survivors)
}

/// The control: tables that make room for themselves belong to who fills them.
#[test]
fn without_limits_a_flood_takes_a_neighbours_first_packets_away() -> Result<()> {
    let survivors = survivors(NONE)?;
    ensure!(survivors == [[false; 3]; 2], "the flood did no harm: {survivors:?}");
    Ok(())
}

#[test]
fn with_limits_it_does_not() -> Result<()> {
    let survivors =
        survivors("limits: {queries: {rate: 10, burst: 100}, flows: {rate: 10, burst: 100}}")?;
    ensure!(survivors == [[true; 3]; 2], "the flood did harm: {survivors:?}");
    Ok(())
}
