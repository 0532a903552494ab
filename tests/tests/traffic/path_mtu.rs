//! Path-MTU discovery (RFC 1191, RFC 8201): what a router beyond the gateway says of packets that are
//! too large reaches the client, and large frames pass where the links take them.

use std::{
    io::{Read as _, Write as _},
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, TcpStream},
    thread,
    time::Duration,
};

use anyhow::{Context as _, Result, ensure};
use intune_filter_tests::{
    namespace::{Namespace, run},
    network::{LAN, WAN},
    site,
    testbed::Testbed,
};

/// Addresses of the service `printer`, on a host behind a narrow link.
const SERVER: [IpAddr; 2] = [
    IpAddr::V4(Ipv4Addr::new(192, 0, 2, 5)),
    IpAddr::V6(Ipv6Addr::new(0x2001, 0xdb8, 0x9100, 0, 0, 0, 0, 5)),
];
const PORT: u16 = 631;
/// The least that IPv6 asks of a link.
const NARROW: u16 = 1280;
/// Far more than a window: none of it is lost unless packets stay too large.
const OCTETS: usize = 300_000;
/// Longest standstill of an upload.
const STALL: Duration = Duration::from_secs(3);

/// A host behind a router of the internet's, and the link between them.
fn server_behind(router: &Namespace, label: &str) -> Result<Namespace> {
    let server = Namespace::create(&format!("{label}-server"))?;
    server.sysctl("ipv6/conf/default/accept_dad", "0")?;
    router.sysctl("ipv4/ip_forward", "1")?;
    router.sysctl("ipv6/conf/all/forwarding", "1")?;
    let [v4, v6] = SERVER;
    router.ip(&[
        format!("link add narrow index 31 type veth peer eth0 index 32 netns {}", server.name()),
        format!("link set narrow mtu {NARROW} up"),
        "address add 172.30.0.1/30 dev narrow".to_owned(),
        "address add fd00:30::1/64 dev narrow nodad".to_owned(),
    ])?;
    server.ip(&[
        // It does not know how narrow its link is: else it would ask for small segments.
        "link set eth0 up".to_owned(),
        "address add 172.30.0.2/30 dev eth0".to_owned(),
        "address add fd00:30::2/64 dev eth0 nodad".to_owned(),
        format!("address add {v4}/32 dev lo"),
        format!("address add {v6}/128 dev lo"),
        "link set lo up".to_owned(),
        "route add default via 172.30.0.1".to_owned(),
        "route add default via fd00:30::1".to_owned(),
    ])?;
    // All else is the router's own: see `intune_filter_tests::network`.
    router.ip(&[
        "route add 172.30.0.0/30 dev narrow table local".to_owned(),
        "route add fd00:30::/64 dev narrow table local".to_owned(),
        format!("route add {v4}/32 via 172.30.0.2 table local"),
        format!("route add {v6}/128 via fd00:30::2 table local"),
    ])?;
    Ok(server)
}

/// Takes one connection on an address, and says at its end how much came.
fn receiver(server: &Namespace, address: IpAddr) -> Result<thread::JoinHandle<Result<usize>>> {
    let listener = server.run(|| TcpListener::bind((address, PORT)))?;
    Ok(thread::spawn(move || {
        let (mut stream, _) = listener.accept()?;
        stream.set_read_timeout(Some(STALL))?;
        let (mut buffer, mut received) = (vec![0; 65536], 0);
        loop {
            match stream.read(&mut buffer) {
                Ok(0) | Err(_) => return Ok(received),
                Ok(length) => received += length,
            }
        }
    }))
}

/// Sends from the client to the server; how much came.
fn upload(testbed: &Testbed, server: &Namespace, address: IpAddr) -> Result<usize> {
    let receiver = receiver(server, address)?;
    testbed.network.client.run(|| -> Result<()> {
        let address = SocketAddr::new(address, PORT);
        let mut stream = TcpStream::connect_timeout(&address, site::ANSWER)?;
        stream.set_write_timeout(Some(STALL))?;
        // What does not go out is not received: that is looked at there.
        let _ = stream.write_all(&vec![7; OCTETS]);
        Ok(())
    })?;
    receiver.join().map_err(|_| anyhow::anyhow!("the receiver panicked"))?
}

#[test]
fn a_packet_that_is_too_large_beyond_the_gateway_is_sent_again_smaller() -> Result<()> {
    let mut testbed = Testbed::create(&site::setup())?;
    let internet = &testbed.network.internet;
    let server = server_behind(internet, testbed.directory.label())?;
    testbed.filter.start()?;
    for address in SERVER {
        let before = testbed.filter.counters()?;
        let received = upload(&testbed, &server, address)?;
        ensure!(received == OCTETS, "{address}: {received} of {OCTETS} octets came");
        let counted = testbed.filter.counters()?.since(&before);
        ensure!(counted.get("icmp_error") > 0, "{address}: no error came back: {counted}");
    }
    Ok(())
}

/// The control: an upload that hears of no error does not end.
#[test]
fn without_the_errors_an_upload_stalls() -> Result<()> {
    let mut testbed = Testbed::create(&site::setup())?;
    let internet = &testbed.network.internet;
    let server = server_behind(internet, testbed.directory.label())?;
    testbed.filter.start()?;
    let rules = "add table inet control
add chain inet control forward { type filter hook forward priority 0; }
add rule inet control forward icmp type destination-unreachable drop
add rule inet control forward icmpv6 type packet-too-big drop
";
    let file = testbed.directory.write("control.nft", rules)?;
    run(testbed.network.gateway.command("nft").arg("-f").arg(file))?;
    for address in SERVER {
        let received = upload(&testbed, &server, address)?;
        ensure!(received < OCTETS, "{address}: all of it came: the errors are not needed");
    }
    Ok(())
}

/// Frames of several buffers, at XDP.
#[test]
fn jumbo_frames_pass_where_the_links_take_them() -> Result<()> {
    let modes = [("native", false), ("native", true), ("generic", false), ("tc", false)];
    for (mode, raised_before) in modes {
        let config =
            site::CONFIG.replace("- name: eth1", &format!("- {{name: eth1, mode: {mode}}}"));
        let mut testbed =
            Testbed::create(&intune_filter_tests::testbed::Setup { config, ..site::setup() })?;
        if !raised_before {
            testbed.filter.start()?;
        }
        let network = &testbed.network;
        // The gateway's dnsmasq announces what its link took when it started (RFC 4861, 4.6.4).
        network.client.sysctl(&format!("ipv6/conf/{WAN}/accept_ra_mtu"), "0")?;
        network.client.ip(&[format!("link set {WAN} mtu 9000")])?;
        network.gateway.ip(&[LAN, WAN].map(|name| format!("link set {name} mtu 9000")))?;
        network.internet.ip(&[format!("link set {WAN} mtu 9000")])?;
        if raised_before {
            testbed.filter.start()?;
        }
        let network = &testbed.network;
        for (program, address) in [("ping", SERVER[0]), ("ping", SERVER[1])] {
            // Of this size it is one frame, or it does not pass at all.
            let mut command = network.client.command(program);
            command.args(["-c", "1", "-W", "5", "-M", "do", "-s", "8900"]).arg(address.to_string());
            run(&mut command).with_context(|| format!("{mode}, {address}"))?;
        }
        let counters = testbed.filter.counters()?;
        ensure!(counters.get("malformed") == 0, "{mode}: {counters}");
    }
    Ok(())
}
