//! Limits: whoever changes his address has no fresh one for it, and nobody else has.

use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    time::Instant,
};

use anyhow::{Result, ensure};
use intune_filter_tests::{network::CLIENT, testrun::Datagram};

use crate::site::{Attacker, PORT, SERVER, config, in_each_mode};

const BURST: u64 = 50;
/// The others: more than there are buckets.
const OTHERS: u32 = 4096;

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
    in_each_mode(&config, |laboratory, mode| {
        let attacker = Attacker::new(laboratory)?;
        for family in 0..2 {
            let server: IpAddr = SERVER[family].parse()?;
            let open = |source: IpAddr, port: u16| {
                Datagram::new(source, server).udp(port, PORT, b"x").frame()
            };
            let opened = attacker.counted(&["policy"])?;
            let started = Instant::now();
            attacker.flood(&["policy", "flow_limit"], 200, |number| {
                open(CLIENT[family], 1024 + number as u16)
            })?;
            attacker.flood(&["policy", "flow_limit"], u64::from(2 * OTHERS), |number| {
                open(other(family, number % OTHERS), 9)
            })?;
            let before = attacker.counted(&["policy"])?;
            attacker.flood(&["policy", "flow_limit"], 200, |number| {
                open(CLIENT[family], 20_000 + number as u16)
            })?;
            let again = attacker.counted(&["policy"])? - before;
            let due = started.elapsed().as_secs() + 1;
            println!(
                "{mode}, family {family}: {} flows were opened in all; {again} by who had none left, {due} \
                 due in the time",
                before - opened
            );
            ensure!(again <= due, "{again} flows although {due} were due: the bucket was reset");
            ensure!(before - opened >= BURST, "nothing was opened");
        }
        Ok(())
    })
}
