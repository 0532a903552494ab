//! The gateway's own addresses: a client reaches those of its network, and no other's.

use std::net::IpAddr;

use anyhow::{Result, ensure};
use intune_filter_tests::{
    network::{GATEWAY, LAN, WAN},
    probe::{ProbeResult, probe},
    site::{ANSWER, WEB, eventually, tcp},
    testbed::{FOREIGN_PORT, Testbed},
};

use super::testbeds::{config, in_each_mode, wire_another_network};

/// The gateway's on the WAN, and on another network.
const APART: [&str; 4] = ["172.31.0.1", "fd00:31::1", "10.99.0.1", "fd00:99::1"];

/// Whether the client reaches a port of the gateway's that does listen.
fn reaches(testbed: &Testbed, address: IpAddr) -> Result<bool> {
    let target = tcp(address, FOREIGN_PORT);
    let control = testbed.network.gateway.run(|| probe(target, ANSWER));
    ensure!(control == ProbeResult::Reached, "{target}: nothing listens: {control:?}");
    let outcome = testbed.network.client.run(|| probe(target, ANSWER));
    Ok(outcome == ProbeResult::Reached)
}

#[test]
fn a_client_reaches_the_addresses_of_its_network_alone() -> Result<()> {
    in_each_mode(&config(""), |testbed, mode| {
        wire_another_network(testbed)?;
        for address in GATEWAY {
            ensure!(reaches(testbed, address)?, "{address} is not reached: an admin is cut off");
        }
        let apart: Vec<IpAddr> = APART.iter().map(|text| text.parse()).collect::<Result<_, _>>()?;
        for address in &apart {
            ensure!(!reaches(testbed, *address)?, "{address} is reached");
        }
        // A resolver on the gateway is asked as ever.
        testbed.resolve(WEB[0])?;

        // While no daemon runs the routes say which address is of which network.
        testbed.filter.kill()?;
        testbed.network.gateway.ip(&[
            format!("address add 10.20.0.2/24 dev {LAN}"),
            format!("address add fd00:20::2/64 dev {LAN} nodad"),
            format!("address add 172.31.9.1/24 dev {WAN}"),
            format!("address add fd00:31:9::1/64 dev {WAN} nodad"),
        ])?;
        for text in ["10.20.0.2", "fd00:20::2"] {
            ensure!(reaches(testbed, text.parse()?)?, "{text} is not reached without a daemon");
        }
        for text in ["172.31.9.1", "fd00:31:9::1"] {
            ensure!(!reaches(testbed, text.parse()?)?, "{text} is reached without a daemon");
        }
        for address in apart {
            ensure!(!reaches(testbed, address)?, "{address} is reached without a daemon");
        }
        testbed.resolve(WEB[0])?;
        println!("{mode}: own addresses of the client's network are reached, and no other");
        Ok(())
    })
}

#[test]
fn only_the_ports_of_the_list_are_open() -> Result<()> {
    let open = format!("{}to_gateway: {{tcp: [{FOREIGN_PORT}], udp: []}}\n", config(""));
    in_each_mode(&open, |testbed, _| {
        for address in GATEWAY {
            ensure!(reaches(testbed, address)?, "{address} is not reached");
        }
        testbed.resolve(WEB[0])?;
        let other = open.replacen(&format!("tcp: [{FOREIGN_PORT}]"), "tcp: [2222]", 1);
        testbed.filter.configure(&other)?;
        testbed.filter.succeed(&["apply"])?;
        for address in GATEWAY {
            eventually("the port is shut", || Ok(!reaches(testbed, address)?))?;
        }
        testbed.resolve(WEB[0])?;
        Ok(())
    })
}
