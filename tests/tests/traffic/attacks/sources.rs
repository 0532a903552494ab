//! Sources: what no client can be reaches no socket of the gateway's, which its resolver's are.

use std::net::{IpAddr, UdpSocket};

use anyhow::{Context as _, Result, ensure};
use intune_filter_tests::{
    network::{CLIENT, GATEWAY},
    prog_test_run::Datagram,
    resolver::BEYOND,
    site::{ANSWER, SILENCE, eventually},
};

use super::testbeds::{Attacker, any, bound, config, in_each_mode, wire_another_network};

/// The port from which a resolver on the gateway asks its own, as it were: none that the kernel gives to
/// others.
const ASKS_FROM: u16 = 21_000;

fn both(texts: [&str; 2]) -> Result<[IpAddr; 2]> {
    Ok([texts[0].parse()?, texts[1].parse()?])
}

#[test]
fn nobody_answers_a_resolver_on_the_gateway_in_its_servers_name() -> Result<()> {
    in_each_mode(&config(""), |testbed, mode| {
        wire_another_network(testbed)?;
        let attacker = Attacker::new(testbed)?;
        for family in 0..2 {
            let sources = [
                ("its server's", both(["9.9.9.9", "2620:fe::9"])?),
                ("a resolver's", BEYOND),
                ("of another network", both(["10.99.0.7", "fd00:99::7"])?),
                ("the gateway's own", GATEWAY),
                ("the gateway's own, of the WAN", both(["172.31.0.1", "fd00:31::1"])?),
            ];
            let all_hosts = both(["255.255.255.255", "ff02::1"])?;
            let all_systems = both(["224.0.0.1", "ff02::1"])?;
            let resolver: UdpSocket =
                testbed.network.gateway.run(|| bound((any(family), ASKS_FROM).into()))?;
            let answer = |source: IpAddr, destination: IpAddr| {
                Datagram::new(source, destination).udp(53, ASKS_FROM, b"an answer")
            };
            for (what, source) in sources {
                for destination in [GATEWAY[family], all_hosts[family], all_systems[family]] {
                    let before = attacker.counted(&["source"])?;
                    attacker.send(&answer(source[family], destination))?;
                    let judged = || Ok(attacker.counted(&["source"])? > before);
                    eventually(&format!("denied: {what}, to {destination}"), judged)?;
                }
            }
            ensure!(resolver.recv(&mut [0; 64]).is_err(), "{mode}: a forged answer arrived");
            // A client's own address is believed, and one beside it, by which it is a fair test.
            resolver.set_read_timeout(Some(ANSWER))?;
            let beside = both(["10.20.0.99", "fd00:20::99"])?;
            for source in [CLIENT[family], beside[family]] {
                for destination in [GATEWAY[family], all_hosts[family]] {
                    attacker.send(&answer(source, destination))?;
                    resolver
                        .recv(&mut [0; 64])
                        .with_context(|| format!("{mode}: from {source} to {destination}"))?;
                }
            }
            resolver.set_read_timeout(Some(SILENCE))?;
        }
        println!("{mode}: no forged answer arrived");
        Ok(())
    })
}

/// Networks behind another router on the LAN side are routed there, and believed.
#[test]
fn a_network_behind_another_router_is_believed() -> Result<()> {
    in_each_mode(&config(""), |testbed, mode| {
        let [next4, next6] = CLIENT;
        testbed.network.gateway.ip(&[
            format!("route add 10.50.0.0/16 via {next4}"),
            format!("route add fd00:50::/48 via {next6}"),
        ])?;
        let attacker = Attacker::new(testbed)?;
        for (family, gateway) in GATEWAY.into_iter().enumerate() {
            let behind = both(["10.50.7.7", "fd00:50:0:7::7"])?[family];
            let socket = testbed.network.gateway.run(|| bound((any(family), 41_001).into()))?;
            socket.set_read_timeout(Some(ANSWER))?;
            attacker.send(&Datagram::new(behind, gateway).udp(40_000, 41_001, b"x"))?;
            socket.recv(&mut [0; 64]).with_context(|| format!("{mode}: from {behind}"))?;
        }
        Ok(())
    })
}
