//! `inbound` as a list of rules: who is named reaches the ports that are named, and nobody else any.

use std::net::{IpAddr, UdpSocket};

use anyhow::{Context as _, Result, ensure};
use intune_filter_tests::{
    listeners::Listeners,
    network::CLIENT,
    site::{self, ANSWER, CONFIG, MODES, SILENCE, in_mode},
    testbed::{Setup, Testbed},
};

/// Ports at the client, of which one is the printer's service's.
const PORTS: [u16; 3] = [8080, 631, 22];

/// A sender that a rule names by prefix, one that a rule names by its service, and a stranger.
const NAMED: [&str; 2] = ["203.0.113.7", "2001:db8:77::7"];
const PRINTER: [&str; 2] = ["192.0.2.5", "2001:db8:9100::5"];
const STRANGER: [&str; 2] = ["198.51.100.9", "2001:db8:99::9"];

const RULES: &str = "    inbound:\n      - {from: [203.0.113.0/24, \"2001:db8:77::/64\"], tcp: [8080], \
                     udp: [8080]}\n      - {services: [printer]}\n";

fn config(mode: &str) -> String {
    let service = "    tcp: [631]\n";
    in_mode(CONFIG, mode)
        .replace(
            "    services: [web, clock, printer]\n",
            &format!("{RULES}    services: [web, clock, printer]\n"),
        )
        .replace(service, &format!("{service}    udp: [631]\n"))
}

/// Checks whether a sender of the internet reaches a port of the client, over UDP and TCP.
fn expect(testbed: &Testbed, from: &str, family: usize, port: u16, reached: bool) -> Result<()> {
    let wait = if reached { ANSWER } else { SILENCE };
    let (source, client): (IpAddr, IpAddr) = (from.parse()?, CLIENT[family]);
    let internet = &testbed.network.internet;
    let over_udp = || -> Result<bool> {
        let socket = UdpSocket::bind((source, 0)).with_context(|| format!("as {source}"))?;
        socket.set_read_timeout(Some(wait))?;
        socket.send_to(b"hello", (client, port))?;
        Ok(socket.recv(&mut [0; 64]).is_ok())
    };
    let udp = internet.run(over_udp)?;
    let target =
        if family == 0 { format!("{client}:{port}") } else { format!("[{client}]:{port}") };
    let mut curl = internet.command("curl");
    curl.args(["-s", "-o", "/dev/null", "--http0.9", "--interface", from, "--max-time"]);
    curl.arg(wait.as_secs_f32().to_string());
    let status = curl.arg(format!("http://{target}/")).status()?;
    // 7: refused, 28: no answer. Whoever is connected to does not speak HTTP.
    let found = [udp, !matches!(status.code(), Some(7 | 28))];
    ensure!(found == [reached; 2], "{from} to {port}: expected {reached}, found {found:?}");
    Ok(())
}

#[test]
fn senders_that_rules_name_reach_the_ports_that_they_name() -> Result<()> {
    for mode in MODES {
        let mut testbed = Testbed::create(&Setup { config: config(mode), ..site::setup() })?;
        let client = &testbed.network.client;
        let _listeners = Listeners::start(client, PORTS, PORTS)?;
        // They are there, and the senders' addresses work.
        for from in [NAMED, PRINTER, STRANGER] {
            for (family, from) in from.into_iter().enumerate() {
                expect(&testbed, from, family, 22, true).context("without a filter")?;
            }
        }
        testbed.filter.start()?;
        for (senders, opened) in [(NAMED, Some(8080)), (PRINTER, Some(631)), (STRANGER, None)] {
            for (family, from) in senders.into_iter().enumerate() {
                for port in PORTS {
                    expect(&testbed, from, family, port, Some(port) == opened)
                        .with_context(|| mode.to_owned())?;
                }
            }
        }
        let counters = testbed.filter.counters()?;
        ensure!(counters.get("inbound") >= 8 && counters.get("unsolicited") > 0, "{counters}");

        // A dead daemon changes nothing, and a rule that is taken away ends what it has let in.
        testbed.filter.kill()?;
        expect(&testbed, NAMED[0], 0, 8080, true).context("without a daemon")?;
        testbed.filter.start()?;
        testbed.filter.configure(&config(mode).replace(RULES, ""))?;
        testbed.filter.succeed(&["apply"])?;
        expect(&testbed, NAMED[0], 0, 8080, false).context("without rules")?;
    }
    Ok(())
}
