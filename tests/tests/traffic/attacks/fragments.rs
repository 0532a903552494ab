//! Fragments: what is denied, or allowed on one flow again and again, takes no neighbour's place.

use std::net::IpAddr;

use anyhow::{Result, ensure};
use intune_filter_tests::{
    network::CLIENT,
    prog_test_run::{Datagram, datagram::patched},
    site::eventually,
};

use super::testbeds::{Attacker, PORT, SERVER, config, in_each_mode};

const NEIGHBOUR: [&str; 2] = ["10.20.0.77", "fd00:20::77"];
/// More than the table has room for.
const FLOOD: u64 = 20_000;

fn with_id(frame: Vec<u8>, id: u16) -> Vec<u8> {
    let at = if frame[14] >> 4 == 4 { 18 } else { 14 + 40 + 4 + 2 };
    patched(frame, at, &id.to_be_bytes())
}

#[test]
fn a_flood_of_fragments_takes_no_neighbours_place() -> Result<()> {
    in_each_mode(&config(""), |testbed, mode| {
        let attacker = Attacker::new(testbed)?;
        for family in 0..2 {
            let (server, neighbour): (IpAddr, IpAddr) =
                (SERVER[family].parse()?, NEIGHBOUR[family].parse()?);
            let first = |source: IpAddr, port: u16| {
                let datagram = Datagram::new(source, server).fragment(0, true);
                datagram.udp(40_000, port, b"8 octets").frame()
            };
            let later = Datagram::new(neighbour, server).fragment(2, false);
            let later = later.raw(17, b"8 octets").frame();
            // Those on one flow pass, and those to another port do not.
            for (what, port, id) in [("allowed", PORT, 1), ("denied", PORT + 1, 2)] {
                let before = attacker.counted(&["policy", "flow"])?;
                attacker.send_frame(with_id(first(neighbour, PORT), id))?;
                let judged = || Ok(attacker.counted(&["policy", "flow"])? > before);
                eventually("the neighbour's first fragment was judged", judged)?;
                let reasons = ["policy", "flow", "flow_limit", "fragment", "port", "destination"];
                attacker.flood(&reasons, FLOOD, |number| {
                    with_id(first(CLIENT[family], port), number as u16)
                })?;
                let allowed = attacker.counted(&["fragment_allowed"])?;
                let denied = attacker.counted(&["fragment"])?;
                attacker.send_frame(with_id(later.clone(), id))?;
                let judged =
                    || Ok(attacker.counted(&["fragment_allowed", "fragment"])? > allowed + denied);
                eventually("the neighbour's later fragment was judged", judged)?;
                let passed = attacker.counted(&["fragment_allowed"])? > allowed;
                println!("{mode}, family {family}: after {FLOOD} {what} ones it passed: {passed}");
                ensure!(passed, "the neighbour's datagram was cut off by {what} fragments");
            }
        }
        Ok(())
    })
}
