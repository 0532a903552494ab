//! Clients whose end of a veth pair has no XDP program, such as containers: what native XDP sends back
//! does not reach them.

use std::{
    net::UdpSocket,
    sync::atomic::{AtomicBool, Ordering::Relaxed},
    thread,
};

use anyhow::{Context as _, Result, anyhow, ensure};
use hickory_proto::{op::ResponseCode, rr::RecordType::A};
use intune_filter_tests::{
    dns::lookup,
    network::{LAN, WAN},
    probe::{ProbeResult, probe},
    site::{self, ANSWER, CONFIG, SILENCE, UNLISTED, eventually, in_mode, tcp},
    testbed::{Setup, Testbed},
    wire::Tap,
};
use serde_json::Value;

/// An address of no service.
const FOREIGN: [&str; 2] = ["192.0.2.80", "2001:db8:80::1"];

fn testbed(mode: &str) -> Result<Testbed> {
    let group = "    services: [web, clock, printer]\n";
    let config = CONFIG.replace(group, &format!("{group}    on_deny: reject\n"));
    Testbed::create(&Setup { config: in_mode(&config, mode), ..site::setup() })
}

/// The mode in which the interface is judged, and what is said of it.
fn mode(testbed: &Testbed) -> Result<(String, Vec<Value>)> {
    let status = testbed.filter.json(&["status"])?;
    let mode = status["interfaces"][0]["mode"].as_str().context("no mode")?.to_owned();
    let warnings = status["warnings"].as_array().map_or(&[][..], Vec::as_slice);
    let of_peer =
        |warning: &&Value| warning.as_str().is_some_and(|text| text.contains("veth peer"));
    Ok((mode, warnings.iter().filter(of_peer).cloned().collect()))
}

#[test]
fn a_bare_client_hears_what_the_filter_answers() -> Result<()> {
    let mut testbed = testbed("auto")?;
    testbed.leave_client_bare();
    testbed.filter.start()?;
    let (mode, said) = mode(&testbed)?;
    ensure!(mode == "generic" && said.len() == 1, "{mode}: {said:?}");
    for server in testbed.resolver.addresses() {
        let answer = testbed.network.client.run(|| lookup(server, UNLISTED, A, ANSWER))?;
        ensure!(answer.code == ResponseCode::NXDomain, "{answer:?}");
    }
    for address in FOREIGN {
        let target = tcp(address.parse()?, 80);
        let outcome = testbed.network.client.run(|| probe(target, ANSWER));
        ensure!(outcome == ProbeResult::Refused, "{target}: {outcome:?}");
    }
    testbed.expect_verdicts()
}

/// The control: this is what mode auto avoids, and `check` names.
#[test]
fn a_bare_client_hears_nothing_in_native_mode_and_check_says_so() -> Result<()> {
    let mut testbed = testbed("native")?;
    let checked = testbed.filter.succeed(&["check"])?;
    ensure!(!checked.contains("veth peer"), "{checked}");
    testbed.leave_client_bare();
    let checked = testbed.filter.succeed(&["check"])?;
    ensure!(checked.contains("denied queries and connections time out"), "{checked}");
    testbed.filter.start()?;
    let target = tcp(FOREIGN[0].parse()?, 80);
    let outcome = testbed.network.client.run(|| probe(target, SILENCE));
    ensure!(outcome == ProbeResult::Silent, "{outcome:?}");
    Ok(())
}

#[test]
fn a_client_that_becomes_bare_is_judged_in_generic_mode() -> Result<()> {
    const MARK: &[u8] = b"judged by nobody";
    let mut testbed = testbed("auto")?;
    testbed.filter.start()?;
    let (before, said) = mode(&testbed)?;
    ensure!(before == "native" && said.is_empty(), "{before}: {said:?}");
    testbed.leave_client_bare();
    let network = &testbed.network;
    let tap = network.internet.run(|| Tap::open(WAN))?;
    let over = AtomicBool::new(false);
    let sent = thread::scope(|scope| {
        let send = || -> Result<u64> {
            let socket = network.client.run(|| UdpSocket::bind("0.0.0.0:0"))?;
            let mut sent = 0;
            while !over.load(Relaxed) {
                // An error tells of an earlier one that was rejected.
                sent += u64::from(socket.send_to(MARK, (FOREIGN[0], 5000)).is_ok());
            }
            Ok(sent)
        };
        let sender = scope.spawn(send);
        // The peer's namespace tells nothing: any change here has the daemon look.
        let changed = network.gateway.ip(&[format!("link set {LAN} alias seen")]);
        let switched = changed.and_then(|()| {
            eventually("it is judged in generic mode", || Ok(mode(&testbed)?.0 == "generic"))
        });
        over.store(true, Relaxed);
        let sent = sender.join().map_err(|_| anyhow!("a panic"))??;
        switched.map(|()| sent)
    })?;
    ensure!(sent > 1000, "{sent} datagrams were sent meanwhile");
    while let Some(frame) = tap.wait(SILENCE)? {
        ensure!(!frame.ends_with(MARK), "one of {sent} datagrams was judged by nobody");
    }
    testbed.expect_verdicts()
}
