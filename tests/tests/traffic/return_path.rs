//! Return path to a client: answers to its packets, errors about them, and nothing else.

use std::{
    io::{Read as _, Write as _},
    net::{IpAddr, Ipv6Addr, SocketAddr, TcpListener, TcpStream, UdpSocket},
    time::Duration,
};

use anyhow::{Context as _, Result, ensure};
use intune_filter_tests::{
    listeners::Listeners,
    network::CLIENT,
    probe::{ProbeResult, Target, probe},
    responder::RESPONDER,
    site::{self, ANSWER, CONFIG, SILENCE, tcp, udp},
    testbed::{FOREIGN_PORT, Setup, Testbed},
};

#[test]
fn nobody_outside_opens_a_connection_to_a_client() -> Result<()> {
    let mut testbed = Testbed::create(&site::setup())?;
    let _listeners = Listeners::start(&testbed.network.client, [FOREIGN_PORT], [5000])?;
    let targets = CLIENT.map(|address| [tcp(address, FOREIGN_PORT), udp(address, 5000)]).concat();
    // The client does answer, and is routed to.
    let found = from_outside(&testbed, &targets, ANSWER);
    ensure!(found == [ProbeResult::Reached; 4], "without the filter: {found:?}");

    testbed.filter.start()?;
    let before = testbed.filter.counters()?;
    let found = from_outside(&testbed, &targets, SILENCE);
    ensure!(found == [ProbeResult::Silent; 4], "with the filter: {found:?}");
    let denied = testbed.filter.counters()?.since(&before).denials();
    ensure!(denied.get("unsolicited") >= 4, "the kernel denied {denied}");
    Ok(())
}

fn from_outside(testbed: &Testbed, targets: &[Target], timeout: Duration) -> Vec<ProbeResult> {
    let all = || targets.iter().map(|target| probe(*target, timeout)).collect();
    testbed.network.internet.run(all)
}

#[test]
fn what_claims_to_be_a_dns_answer_is_nothing_special() -> Result<()> {
    let mut testbed = Testbed::create(&site::setup())?;
    testbed.filter.start()?;
    let network = &testbed.network;
    for (resolver, client) in RESPONDER.into_iter().zip(CLIENT) {
        let socket = network.client.run(|| UdpSocket::bind((client, 0)))?;
        socket.set_read_timeout(Some(SILENCE))?;
        let to = socket.local_addr()?;
        // From a resolver's address, but from port 547, and from port 53 of another address.
        for from in [SocketAddr::new(resolver, 547), SocketAddr::new(beside(resolver), 53)] {
            let forged = network.internet.run(|| {
                network.internet.ip(&[format!("address replace {} dev lo", from.ip())])?;
                anyhow::Ok(UdpSocket::bind(from)?)
            })?;
            forged.send_to(b"not asked for", to)?;
            let came = socket.recv(&mut [0; 64]);
            ensure!(came.is_err(), "{from} reached the client");
        }
    }
    Ok(())
}

/// Another address near this one.
fn beside(address: IpAddr) -> IpAddr {
    match address {
        IpAddr::V4(v4) => IpAddr::V4((v4.to_bits() + 10).into()),
        IpAddr::V6(v6) => IpAddr::V6((v6.to_bits() + 10).into()),
    }
}

#[test]
fn an_error_about_a_clients_packet_reaches_it() -> Result<()> {
    // A port that is allowed and where nothing listens.
    let config = CONFIG.replace("    udp: [443]", "    udp: [443, 444]");
    let mut testbed = Testbed::create(&Setup { config, ..site::setup() })?;
    testbed.filter.start()?;
    for address in testbed.resolve(site::WEB[0])? {
        let outcome = testbed.network.client.run(|| probe(udp(address, 444), ANSWER));
        ensure!(
            outcome == ProbeResult::Refused,
            "{address}: expected an ICMP error, got {outcome:?}"
        );
    }
    Ok(())
}

#[test]
fn a_connection_outlives_the_address_that_it_was_opened_to() -> Result<()> {
    let config = CONFIG
        .replace("dns:\n", "dns:\n  ttl: {min: 1s, max: 3s, grace: 0s}\n")
        .replace("tcp: [80, 443]", "tcp: [80, 443, 8443]");
    let mut testbed = Testbed::create(&Setup { config, ..site::setup() })?;
    testbed.filter.start()?;
    let network = &testbed.network;
    let listener = network.internet.run(|| TcpListener::bind((Ipv6Addr::UNSPECIFIED, 8443)))?;
    for family in 0..2 {
        let address = testbed.resolve(site::WEB[0])?[family];
        let target = SocketAddr::new(address, 8443);
        let mut client = network
            .client
            .run(|| TcpStream::connect_timeout(&target, ANSWER))
            .context("connect")?;
        let (mut server, _) = listener.accept()?;
        exchange(&mut client, &mut server)?;
        wait_for_expiry(&testbed, target)?;
        exchange(&mut client, &mut server)?;
        testbed.expect_denied(tcp(address, 443))?;
    }
    Ok(())
}

/// One octet each way.
fn exchange(client: &mut TcpStream, server: &mut TcpStream) -> Result<()> {
    for stream in [&*client, &*server] {
        stream.set_read_timeout(Some(ANSWER))?;
    }
    let mut octet = [0];
    client.write_all(b"?")?;
    server.read_exact(&mut octet).context("from the client")?;
    server.write_all(b"!")?;
    client.read_exact(&mut octet).context("to the client")
}

/// Asks the kernel until a new connection to `target` would be denied.
fn wait_for_expiry(testbed: &Testbed, target: SocketAddr) -> Result<()> {
    let [v4, v6] = CLIENT;
    let client = if target.is_ipv4() { v4 } else { v6 };
    let arguments = ["explain", &client.to_string(), &target.to_string()];
    site::eventually(&format!("{target} has expired"), || {
        Ok(testbed.filter.json(&arguments)?["verdict"] == "deny")
    })
}
