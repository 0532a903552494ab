//! Limits: a change of address brings a client no fresh one, nor any other client.

use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    time::Instant,
};

use anyhow::{Result, ensure};
use intune_filter_tests::{
    network::{CLIENT, LAN},
    prog_test_run::Datagram,
};

use super::testbeds::{Attacker, PORT, SERVER, config, in_each_mode};

const BURST: u64 = 50;
/// The others: more than there are buckets.
const OTHERS: u32 = 2048;
/// Rounds of the others' packets, each followed by the client's.
const ROUNDS: u16 = 5;

fn other(family: usize, number: u32) -> IpAddr {
    let [_, _, high, low] = number.to_be_bytes();
    if family == 0 {
        Ipv4Addr::new(10, 20, 16 + high, low).into()
    } else {
        // Each in a network of its own.
        Ipv6Addr::new(0xfd00, 0x20, 0, 0x100 + number as u16, 0, 0, 0, 7).into()
    }
}

#[test]
fn rotating_sources_reset_no_bucket() -> Result<()> {
    let limits = "limits: {queries: off, flows: {rate: 1, burst: 50}}\nmaps: {clients: 256}";
    let config = config(limits).replacen(
        "networks: [10.20.0.0/24, \"fd00:20::/64\"]",
        "networks: [10.20.0.0/16, \"fd00:20::/48\"]",
        1,
    );
    in_each_mode(&config, |testbed, mode| {
        testbed.network.gateway.ip(&[
            format!("route add 10.20.0.0/16 dev {LAN}"),
            format!("route add fd00:20::/48 dev {LAN}"),
        ])?;
        let attacker = Attacker::new(testbed)?;
        for family in 0..2 {
            let server: IpAddr = SERVER[family].parse()?;
            let open = |source: IpAddr, port: u16| {
                Datagram::new(source, server).udp(port, PORT, b"x").frame()
            };
            let started = Instant::now();
            let mut opened = 0;
            for round in 0..ROUNDS {
                let before = attacker.counted(&["policy"])?;
                attacker.flood(&["policy", "flow_limit"], 200, |number| {
                    open(CLIENT[family], 1024 + 10_000 * round + number as u16)
                })?;
                opened += attacker.counted(&["policy"])? - before;
                attacker.flood(&["policy", "flow_limit"], u64::from(2 * OTHERS), |number| {
                    open(other(family, number % OTHERS), 9)
                })?;
            }
            // His bucket's, and, as long as none was free for him, of the zone's.
            let most = 2 * (BURST + started.elapsed().as_secs() + 1);
            println!(
                "{mode}, family {family}: {opened} flows in {ROUNDS} rounds, in each of which {OTHERS} others \
                 came by; {most} at most"
            );
            ensure!(opened <= most, "{opened} flows, {most} at most: the bucket was reset");
            // After the others of the first family nobody has any left that comes later.
            ensure!(family == 1 || opened >= BURST, "only {opened} flows were opened");
        }
        Ok(())
    })
}
