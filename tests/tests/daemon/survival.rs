//! Enforcement does not depend on the daemon: it is killed, ended and started again, also under
//! traffic, and no verdict changes meanwhile.

use std::{
    collections::BTreeMap,
    fs,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, UdpSocket},
    panic::resume_unwind,
    path::PathBuf,
    sync::{Condvar, Mutex, PoisonError},
    thread,
    time::Duration,
};

use anyhow::{Result, ensure};
use intune_filter::kernel::PinDirectory;
use intune_filter_tests::{
    filter::FilterDaemon,
    network::Network,
    pins,
    probe::{ProbeResult, probe},
    responder::RESPONDER,
    site::{self, ANSWER, CLOCK, tcp},
    testbed::{Setup, Testbed},
};

#[test]
fn a_killed_daemon_changes_no_verdict_and_names_go_on_being_learned() -> Result<()> {
    let mut testbed = Testbed::create(&site::setup())?;
    testbed.filter.start()?;
    testbed.expect_verdicts()?;
    let [learned, _] = testbed.resolve_at(RESPONDER[0], "1.web.test")?;

    testbed.filter.kill()?;
    testbed.expect_reached(tcp(learned, 443))?;
    for address in testbed.resolve_at(RESPONDER[0], "2.web.test")? {
        testbed.expect_reached(tcp(address, 443))?;
    }
    testbed.expect_verdicts()
}

#[test]
fn an_ended_daemon_leaves_enforcement_behind() -> Result<()> {
    let mut testbed = Testbed::create(&site::setup())?;
    testbed.filter.start()?;
    testbed.filter.stop()?;
    testbed.expect_verdicts()
}

#[test]
fn the_next_daemon_adopts_what_is_pinned() -> Result<()> {
    let mut testbed = Testbed::create(&site::setup())?;
    testbed.filter.start()?;
    let [learned, _] = testbed.resolve_at(RESPONDER[0], "1.web.test")?;
    let before = (identities(&testbed, "links")?, identities(&testbed, "maps")?);
    ensure!(!before.0.is_empty() && !before.1.is_empty(), "nothing is pinned: {before:?}");

    testbed.filter.kill()?;
    testbed.filter.start()?;
    let after = (identities(&testbed, "links")?, identities(&testbed, "maps")?);
    ensure!(before == after, "before {before:?}, after {after:?}");
    // Without asking again: what was learned is still known.
    testbed.expect_reached(tcp(learned, 443))?;
    testbed.expect_verdicts()
}

/// Has dig ask for a name of no rule, which the filter itself refuses.
fn is_refused(testbed: &Testbed) -> Result<()> {
    let at = format!("@{}", RESPONDER[0]);
    let words = ["+time=2", "+tries=1", site::UNLISTED, "A"];
    let mut command = testbed.network.client.command("dig");
    let output = command.arg(at).args(words).output()?;
    let text = String::from_utf8_lossy(&output.stdout);
    ensure!(text.contains("status: NXDOMAIN"), "{text}");
    Ok(())
}

#[test]
fn the_stage_that_refuses_outlives_its_daemon_and_leaves_with_its_programs() -> Result<()> {
    for mode in site::MODES {
        let config = site::in_mode(site::CONFIG, mode);
        let mut testbed = Testbed::create(&Setup { config, ..site::setup() })?;
        let stages = PinDirectory::new(testbed.filter.pins()).stages();
        let pinned = || -> Result<Vec<_>> {
            let names = fs::read_dir(&stages)?.map(|entry| Ok(entry?.file_name()));
            names.collect()
        };
        testbed.filter.start()?;
        is_refused(&testbed)?;
        let first = pinned()?;
        ensure!(first.len() == 1, "{mode}: {first:?}");
        testbed.filter.kill()?;
        is_refused(&testbed)?;
        ensure!(pinned()? == first, "{mode}: {first:?}");
        testbed.filter.start()?;
        is_refused(&testbed)?;
        let second = pinned()?;
        ensure!(second.len() == 1 && second != first, "{mode}: {first:?}, then {second:?}");
        testbed.filter.kill()?;
        testbed.filter.succeed(&["detach"])?;
        ensure!(!stages.exists(), "{mode}: it is left");
    }
    Ok(())
}

fn identities(testbed: &Testbed, kind: &str) -> Result<BTreeMap<PathBuf, u64>> {
    pins::ids(&testbed.filter.pins(), kind)
}

#[test]
fn restarts_lose_no_packet_and_open_no_hole() -> Result<()> {
    under_restarts(&site::setup())
}

#[test]
fn restarts_lose_no_packet_where_boot_is_closed() -> Result<()> {
    let config = format!("{}boot: closed\n", site::CONFIG);
    under_restarts(&Setup { config, ..site::setup() })
}

fn under_restarts(setup: &Setup) -> Result<()> {
    let mut testbed = Testbed::create(setup)?;
    testbed.filter.start()?;
    let [clock, _] = testbed.resolve(CLOCK)?;
    let [web, _] = testbed.resolve_at(RESPONDER[0], "1.web.test")?;

    let Testbed { filter, network, .. } = &mut testbed;
    let traffic = Traffic::default();
    let mut restart = || -> Result<()> {
        traffic.wait_for_more()?;
        for end in [FilterDaemon::kill, FilterDaemon::stop, FilterDaemon::kill] {
            end(filter)?;
            traffic.wait_for_more()?;
            filter.start()?;
            traffic.wait_for_more()?;
        }
        Ok(())
    };
    thread::scope(|scope| {
        let running = scope.spawn(|| traffic.run(network, clock, web));
        let restarted = restart();
        traffic.end();
        running.join().unwrap_or_else(|panic| resume_unwind(panic))?;
        restarted
    })
}

/// Allowed exchanges and denied packets, in turn.
#[derive(Default)]
struct Traffic {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    exchanges: u64,
    ended: bool,
}

impl Traffic {
    /// Runs until the end is asked for. Every exchange has to succeed, and no denied packet may
    /// arrive.
    fn run(&self, network: &Network, clock: IpAddr, web: IpAddr) -> Result<()> {
        let sink = network.internet.run(|| UdpSocket::bind((Ipv6Addr::UNSPECIFIED, 5001)))?;
        sink.set_nonblocking(true)?;
        let result = network.client.run(|| self.exchange(clock, web));
        // The threads that wait must not wait for what will not come.
        self.end();
        let exchanges = result?;
        let mut buffer = [0; 64];
        ensure!(sink.recv(&mut buffer).is_err(), "a denied packet has arrived");
        // The sink does work: the gateway reaches it.
        let control = network.gateway.run(|| UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)))?;
        control.send_to(b"control", (DENIED, 5001))?;
        sink.set_nonblocking(false)?;
        sink.set_read_timeout(Some(ANSWER))?;
        sink.recv(&mut buffer)?;
        println!("{exchanges} exchanges");
        Ok(())
    }

    fn exchange(&self, clock: IpAddr, web: IpAddr) -> Result<u64> {
        let denied = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0))?;
        let mut exchanges = 0_u64;
        loop {
            denied.send_to(b"denied", (DENIED, 5001))?;
            // A new flow each time: of UDP most often, of TCP now and then.
            let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0))?;
            socket.connect((clock, 123))?;
            socket.set_read_timeout(Some(Duration::from_secs(1)))?;
            socket.send(b"what time is it?")?;
            let answered = socket.recv(&mut [0; 64]);
            ensure!(answered.is_ok(), "exchange {exchanges} had no answer: {answered:?}");
            if exchanges.is_multiple_of(16) {
                let outcome = probe(tcp(web, 443), ANSWER);
                ensure!(
                    outcome == ProbeResult::Reached,
                    "{web} in exchange {exchanges}: {outcome:?}"
                );
            }
            exchanges += 1;
            let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
            state.exchanges = exchanges;
            self.changed.notify_all();
            if state.ended {
                return Ok(exchanges);
            }
        }
    }

    fn end(&self) {
        self.state.lock().unwrap_or_else(PoisonError::into_inner).ended = true;
        self.changed.notify_all();
    }

    /// Waits until a good number of exchanges more have happened.
    fn wait_for_more(&self) -> Result<()> {
        const MORE: u64 = 200;
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let goal = state.exchanges + MORE;
        while state.exchanges < goal {
            ensure!(!state.ended, "the traffic has ended");
            state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        Ok(())
    }
}

/// An address that no service allows.
const DENIED: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 80);
