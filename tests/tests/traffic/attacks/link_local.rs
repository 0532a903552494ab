//! Link-local sources: they cost nothing, and so take nothing from who has an address.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use anyhow::{Context as _, Result, ensure};
use intune_filter_tests::{
    dns::{self, RecordType},
    network::GATEWAY,
    prog_test_run::Datagram,
    site::{ANSWER, SILENCE, WEB},
};

use super::testbeds::{Attacker, config, in_each_mode};

/// A resolver that answers when the test says so.
const RESOLVER: [&str; 2] = ["203.0.113.55", "2001:db8:53::55"];
/// A neighbour's queries on their way.
const WAITING: u16 = 100;
/// Queries of the flood: the table of pending ones has room for 16,384.
const FLOOD: u64 = 40_000;

fn source(family: usize, number: u32) -> IpAddr {
    if family == 0 {
        // Neither the first nor the last 256 are anybody's (RFC 3927 section 2.1).
        let [_, _, high, low] = (256 + number % 65_024).to_be_bytes();
        Ipv4Addr::new(169, 254, high, low).into()
    } else {
        let [high, low] = [(number >> 16) as u16, number as u16];
        Ipv6Addr::new(0xfe80, 0, 0, 0, 0x66, 0, high, low).into()
    }
}

#[test]
fn a_flood_from_the_link_evicts_no_neighbours_queries() -> Result<()> {
    let resolvers = "    - 10.20.0.1\n    - 203.0.113.55\n    - \"2001:db8:53::55\"\n";
    let config = config("").replacen("    - 10.20.0.1\n", resolvers, 1);
    in_each_mode(&config, |testbed, mode| {
        let attacker = Attacker::new(testbed)?;
        for family in 0..2 {
            let resolver: IpAddr = RESOLVER[family].parse()?;
            let network = &testbed.network;
            let server = network.internet.run(|| std::net::UdpSocket::bind((resolver, 53)))?;
            server.set_read_timeout(Some(ANSWER))?;
            let client = network.client.run(|| dns::connect(resolver))?;
            let query = dns::query(WEB[0], RecordType::A)?;
            let mut waiting = Vec::new();
            for id in 0..WAITING {
                let mut query = query.clone();
                query[..2].copy_from_slice(&id.to_be_bytes());
                client.send(&query)?;
                let mut buffer = [0; 512];
                let (length, from) = server.recv_from(&mut buffer).context("no query arrived")?;
                let mut answer = buffer.get(..length).context("the buffer is longer")?.to_vec();
                answer[2] |= 0x80;
                waiting.push((answer, from));
            }
            let passed = attacker.counted(&["dns_query"])?;
            attacker.flood(&["dns_query", "dns_limit"], FLOOD, |number| {
                let mut query = query.clone();
                query[..2].copy_from_slice(&(number as u16).to_be_bytes());
                let datagram = Datagram::new(source(family, number), GATEWAY[family]);
                datagram.udp(40_000, 53, &query).frame()
            })?;
            let passed = attacker.counted(&["dns_query"])? - passed;
            client.set_read_timeout(Some(SILENCE * 3))?;
            let mut came = 0;
            for (answer, from) in &waiting {
                server.send_to(answer, from)?;
                came += u16::from(client.recv(&mut [0; 512]).is_ok());
            }
            let came = 100 * came / WAITING;
            println!(
                "{mode}, family {family}: of a flood of {FLOOD} queries from the link {passed} passed; \
                 {came} % of a neighbour's answers came"
            );
            ensure!(came >= 95, "{came} % of the answers came, {passed} of the flood passed");
            ensure!(passed < FLOOD / 2, "{passed} of the flood passed");
        }
        Ok(())
    })
}

/// Linux forwards what has a link-local IPv4 source.
#[test]
fn link_local_sources_of_ipv4_do_not_leave_their_link() -> Result<()> {
    let resolvers = "    - 10.20.0.1\n    - 203.0.113.55\n";
    let config = config("").replacen("    - 10.20.0.1\n", resolvers, 1);
    in_each_mode(&config, |testbed, _| {
        let resolver: IpAddr = RESOLVER[0].parse()?;
        let server =
            testbed.network.internet.run(|| super::testbeds::bound((resolver, 53).into()))?;
        let attacker = Attacker::new(testbed)?;
        let query = dns::query(WEB[0], RecordType::A)?;
        let denied = attacker.counted(&["link_local"])?;
        attacker.send(&Datagram::new(source(0, 7), resolver).udp(40_000, 53, &query))?;
        ensure!(server.recv(&mut [0; 512]).is_err(), "the query has left");
        ensure!(attacker.counted(&["link_local"])? == denied + 1, "not denied for its source");
        // What has an address arrives, so that it is the filter that kept the other.
        let client = testbed.network.client.run(|| dns::connect(resolver))?;
        client.send(&query)?;
        server.set_read_timeout(Some(ANSWER))?;
        server.recv(&mut [0; 512]).context("a client's query")?;
        Ok(())
    })
}
