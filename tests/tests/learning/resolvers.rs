//! Real resolvers and real clients: what dnsmasq and unbound answer is learned, also when A and
//! AAAA are asked from one socket, as glibc does.

use std::net::IpAddr;

use anyhow::{Context as _, Result, ensure};
use intune_filter_tests::{
    dns::{self, ADDRESS_TYPES},
    glibc,
    namespace::run,
    resolver::Kind,
    site::{self, WEB, tcp},
    testbed::{Setup, Testbed},
};

fn verdicts_with(kind: Kind) -> Result<()> {
    let mut testbed = Testbed::create(&Setup { resolver: kind, ..site::setup() })?;
    testbed.filter.start()?;
    testbed.expect_verdicts()?;
    // One of three names is an alias: learned along the chain.
    for name in WEB {
        for address in testbed.resolve(name)? {
            testbed.expect_reached(tcp(address, 443))?;
        }
    }
    Ok(())
}

#[test]
fn what_dnsmasq_on_the_gateway_answers_is_learned() -> Result<()> {
    verdicts_with(Kind::Dnsmasq)
}

#[test]
fn what_unbound_beyond_the_gateway_answers_is_learned() -> Result<()> {
    verdicts_with(Kind::Unbound)
}

#[test]
fn a_and_aaaa_asked_from_one_socket_are_both_learned() -> Result<()> {
    let mut testbed = Testbed::create(&site::setup())?;
    testbed.filter.start()?;
    let [server, _] = testbed.resolver.addresses();
    let addresses = testbed.network.client.run(|| -> Result<Vec<IpAddr>> {
        let socket = dns::connect(server)?;
        socket.set_read_timeout(Some(site::ANSWER))?;
        let mut queries = Vec::new();
        for kind in ADDRESS_TYPES {
            queries.push(dns::query(WEB[0], kind)?);
        }
        // Both are under way before either is answered.
        for query in &queries {
            socket.send(query)?;
        }
        let mut addresses = Vec::new();
        for _ in &queries {
            let mut buffer = [0; 512];
            let length = socket.recv(&mut buffer)?;
            let answer = buffer.get(..length).unwrap_or_default();
            let query = queries.iter().find(|query| query.get(..2) == answer.get(..2));
            addresses.extend(dns::parse(query.context("an id of ours")?, answer)?.addresses);
        }
        Ok(addresses)
    })?;
    ensure!(addresses.len() == 2, "expected an address of each family, got {addresses:?}");
    for address in addresses {
        testbed.expect_reached(tcp(address, 443))?;
    }
    Ok(())
}

#[test]
fn what_getaddrinfo_of_glibc_returns_is_reached() -> Result<()> {
    getaddrinfo("")
}

/// It asks both questions in one segment then.
#[test]
fn what_getaddrinfo_of_glibc_returns_over_tcp_is_reached() -> Result<()> {
    getaddrinfo("options use-vc\n")
}

/// dig is another client than ours.
#[test]
fn what_dig_finds_is_reached() -> Result<()> {
    for kind in [Kind::Dnsmasq, Kind::Unbound] {
        let mut testbed = Testbed::create(&Setup { resolver: kind, ..site::setup() })?;
        testbed.filter.start()?;
        for server in testbed.resolver.addresses() {
            for transport in ["+notcp", "+tcp"] {
                let mut command = testbed.network.client.command("dig");
                command.args([&format!("@{server}"), "+short", "+tries=1", transport]);
                command.args([WEB[1], "A", WEB[1], "AAAA"]);
                let output = run(&mut command)?;
                let addresses = output.lines().filter_map(|line| line.parse().ok());
                let addresses: Vec<IpAddr> = addresses.collect();
                ensure!(addresses.len() == 2, "{kind}, {server}, {transport}: {output}");
                for address in addresses {
                    testbed.expect_reached(tcp(address, 443))?;
                }
            }
        }
    }
    Ok(())
}

fn getaddrinfo(options: &str) -> Result<()> {
    let mut testbed = Testbed::create(&site::setup())?;
    testbed.filter.start()?;
    let [server, _] = testbed.resolver.addresses();
    let addresses = glibc::getaddrinfo(&testbed, &server.to_string(), options, WEB[0])?;
    ensure!(
        addresses.iter().any(IpAddr::is_ipv4) && addresses.iter().any(IpAddr::is_ipv6),
        "expected both families: {addresses:?}",
    );
    for address in addresses {
        testbed.expect_reached(tcp(address, 443))?;
    }
    Ok(())
}
