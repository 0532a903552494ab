//! Resets: forged ones open no flow, and end none of a neighbour's.

use std::net::IpAddr;

use anyhow::{Context as _, Result, ensure};
use intune_filter_tests::{
    network::CLIENT,
    prog_test_run::{Datagram, Flags},
};

use super::testbeds::{Attacker, PORT, SERVER, config, in_each_mode};

/// A neighbour's addresses, without a host.
const NEIGHBOUR: [&str; 2] = ["10.20.0.77", "fd00:20::77"];
/// Its port, which the attacker knows.
const OPEN: u16 = 50_000;
/// Resets and FINs of each kind.
const FORGED: u64 = 2_000;
const KINDS: [Flags; 3] = [Flags { ack: false, ..Flags::RST }, Flags::RST, Flags::FIN];

#[test]
fn forged_resets_open_no_flow_and_end_none() -> Result<()> {
    let config = config("limits: {queries: off, flows: off}")
        .replace(&format!("udp: [{PORT}]"), &format!("tcp: [{PORT}]"));
    in_each_mode(&config, |testbed, mode| {
        let attacker = Attacker::new(testbed)?;
        let flows = || -> Result<Vec<(u64, bool)>> {
            let listed = testbed.filter.json(&["flows"])?;
            let listed = listed.as_array().context("flows are a list")?;
            let one = |flow: &serde_json::Value| {
                let port = flow["client_port"].as_u64().context("a flow has a port")?;
                Ok((port, flow["state"] == "closing"))
            };
            listed.iter().map(one).collect()
        };
        for family in 0..2 {
            let server: IpAddr = SERVER[family].parse()?;
            let client: IpAddr = CLIENT[family];
            let before = flows()?.len();
            let neighbour: IpAddr = NEIGHBOUR[family].parse()?;
            let segment = |source, port, flags, number: u32| {
                let datagram = Datagram::new(source, server);
                datagram.segment([port, PORT], flags, [number, number], b"").frame()
            };
            // A connection of which the attacker knows no numbers.
            let begin = |_| segment(neighbour, OPEN, Flags::SYN, 0x1234_5678);
            attacker.flood(&["policy", "flow"], 1000, begin)?;
            let open = flows()?.len();
            ensure!(open == before + 1, "{mode}: {open} flows, {before} before");
            for flags in KINDS {
                attacker.flood(&["policy"], FORGED, |number| {
                    segment(client, 1024 + number as u16, flags, number.wrapping_mul(0x9e37_79b9))
                })?;
                attacker.flood(&["flow"], FORGED, |number| {
                    segment(neighbour, OPEN, flags, number.wrapping_mul(0x9e37_79b9))
                })?;
            }
            let now = flows()?;
            println!("{mode}, family {family}: {} flows after {} forged resets", now.len(), {
                KINDS.len() as u64 * FORGED * 2
            });
            ensure!(now.len() == open, "{mode}: forged resets opened flows: {now:?}");
            ensure!(now.iter().all(|(_, closing)| !closing), "{mode}: one ends: {now:?}");
        }
        Ok(())
    })
}
