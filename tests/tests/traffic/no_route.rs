//! The WAN is down: without a route, or with one that leads nowhere, denied packets are told as what they
//! are, and not as packets to the gateway.

use anyhow::{Context as _, Result, ensure};
use intune_filter_tests::{
    network::{CLIENT, WAN},
    probe::probe,
    site::{self, CONFIG, MODES, SILENCE, in_mode, tcp},
    testbed::{Setup, Testbed},
};

const FOREIGN: [&str; 2] = ["192.0.2.80", "2001:db8:80::1"];

/// Routes that take the place of those by the WAN: none, and those that network managers leave behind.
const ROUTES: [Option<&str>; 4] = [None, Some("unreachable"), Some("blackhole"), Some("prohibit")];

#[test]
fn without_a_route_a_denied_packet_is_told_as_ever() -> Result<()> {
    for mode in MODES {
        let mut testbed =
            Testbed::create(&Setup { config: in_mode(CONFIG, mode), ..site::setup() })?;
        testbed.filter.start()?;
        let gateway = &testbed.network.gateway;
        gateway.ip(&[format!("link set {WAN} down")])?;
        for kind in ROUTES {
            let lines = |what: &str| -> Vec<String> {
                let prefixes = ["0.0.0.0/0", "::/0"];
                let lines = kind.iter().flat_map(|kind| {
                    prefixes.map(|prefix| format!("route {what} {kind} {prefix} metric 4096"))
                });
                lines.collect()
            };
            gateway.ip(&lines("add"))?;
            told(&testbed).with_context(|| format!("{mode}, {kind:?}"))?;
            gateway.ip(&lines("delete"))?;
        }
    }
    Ok(())
}

fn told(testbed: &Testbed) -> Result<()> {
    let before = testbed.filter.counters()?;
    for (client, foreign) in CLIENT.into_iter().zip(FOREIGN) {
        let target = tcp(foreign.parse()?, 443);
        testbed.network.client.run(|| probe(target, SILENCE));
        let explained =
            testbed.filter.run(&["explain", &client.to_string(), &target.to_string()])?;
        let text = String::from_utf8_lossy(&explained.stdout);
        ensure!(explained.status.code() == Some(4), "{:?}: {text}", explained.status);
        ensure!(text.contains("  reason   destination: "), "{text}");
        let events = testbed.filter.succeed(&["events", "--denied", "--last", "1"])?;
        ensure!(events.contains(foreign) && events.contains("reason destination"), "{events}");
    }
    let counted = testbed.filter.counters()?.since(&before);
    ensure!(counted.get("destination") >= 2, "{counted}");
    for other in ["gateway", "source", "source_interface"] {
        ensure!(counted.get(other) == 0, "{other}: {counted}");
    }
    Ok(())
}
