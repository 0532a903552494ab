//! Sends what is denied while the machine changes, and checks that nothing of it passes.

use std::{
    net::{IpAddr, Ipv6Addr, UdpSocket},
    panic::resume_unwind,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use anyhow::{Result, ensure};

use crate::{
    probe::{ProbeResult, probe},
    site::{ANSWER, SILENCE, eventually, tcp},
    testbed::Testbed,
};

/// Port of the internet to which the client sends what no service allows.
const DENIED_PORT: u16 = 5001;

/// Addresses of the service `printer`.
const PRINTERS: [&str; 2] = ["192.0.2.5", "2001:db8:9100::5"];

/// Addresses of no service.
const FOREIGN: [&str; 2] = ["192.0.2.80", "2001:db8:80::1"];

/// Checks that the policy judges: a service is reached, and a foreign host is not.
pub fn expect_judged(testbed: &Testbed) -> Result<()> {
    for family in 0..2 {
        testbed.expect_reached(tcp(PRINTERS[family].parse()?, 631))?;
        testbed.expect_denied(tcp(FOREIGN[family].parse()?, 443))?;
    }
    Ok(())
}

/// Sends what is denied while `change` runs and until the policy's judgement is seen again, and checks
/// that nothing of it has arrived.
pub fn nothing_passes_unjudged(
    testbed: &mut Testbed,
    change: impl FnOnce(&mut Testbed) -> Result<()>,
) -> Result<()> {
    let network = &testbed.network;
    let (client, gateway) = (Arc::clone(&network.client), Arc::clone(&network.gateway));
    let sink = network.internet.run(|| UdpSocket::bind((Ipv6Addr::UNSPECIFIED, DENIED_PORT)))?;
    sink.set_nonblocking(true)?;
    let (ended, sent) = (AtomicBool::new(false), AtomicU64::new(0));
    thread::scope(|scope| {
        let flood = scope.spawn(|| client.run(|| flood(&ended, &sent)));
        let changed = under_flood(testbed, &sent, change);
        ended.store(true, Ordering::Relaxed);
        flood.join().unwrap_or_else(|panic| resume_unwind(panic))?;
        changed
    })?;
    let mut buffer = [0; 64];
    ensure!(sink.recv(&mut buffer).is_err(), "a denied packet has arrived");
    // The sink does work: the gateway reaches it.
    let control = gateway.run(|| UdpSocket::bind(("0.0.0.0", 0)))?;
    control.send_to(b"control", (FOREIGN[0], DENIED_PORT))?;
    sink.set_nonblocking(false)?;
    sink.set_read_timeout(Some(ANSWER))?;
    sink.recv(&mut buffer)?;
    println!("{} denied packets, none arrived", sent.load(Ordering::Relaxed));
    Ok(())
}

fn under_flood(
    testbed: &mut Testbed,
    sent: &AtomicU64,
    change: impl FnOnce(&mut Testbed) -> Result<()>,
) -> Result<()> {
    let printer = PRINTERS[0].parse()?;
    await_more(sent)?;
    change(testbed)?;
    let since = Instant::now();
    eventually("the policy judges again", || {
        let outcome = testbed.network.client.run(|| probe(tcp(printer, 631), SILENCE));
        Ok(outcome == ProbeResult::Reached)
    })?;
    println!("judged again after {} ms", since.elapsed().as_millis());
    await_more(sent)?;
    expect_judged(testbed)
}

/// Waits until some more packets were sent.
fn await_more(sent: &AtomicU64) -> Result<()> {
    let before = sent.load(Ordering::Relaxed);
    eventually("the client sends", || {
        thread::yield_now();
        Ok(sent.load(Ordering::Relaxed) > before + 20)
    })
}

fn flood(ended: &AtomicBool, sent: &AtomicU64) -> Result<()> {
    let targets = FOREIGN.map(|target| target.parse::<IpAddr>());
    let [v4, v6] = [UdpSocket::bind("0.0.0.0:0")?, UdpSocket::bind("[::]:0")?];
    while !ended.load(Ordering::Relaxed) {
        for (socket, target) in [&v4, &v6].into_iter().zip(&targets) {
            // There is no route as long as the interface is away.
            let target = target.as_ref().map_err(|error| anyhow::anyhow!("{error}"))?;
            if socket.send_to(b"denied", (*target, DENIED_PORT)).is_ok() {
                sent.fetch_add(1, Ordering::Relaxed);
            }
        }
        thread::sleep(Duration::from_micros(500));
    }
    Ok(())
}
