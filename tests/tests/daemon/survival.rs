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
    filter::Filter,
    laboratory::{Laboratory, Setup},
    network::Network,
    pins,
    probe::{Outcome, probe},
    responder::RESPONDER,
    site::{self, ANSWER, CLOCK, tcp},
};

#[test]
fn a_killed_daemon_changes_no_verdict_and_names_go_on_being_learned() -> Result<()> {
    let mut laboratory = Laboratory::create(&site::setup())?;
    laboratory.filter.start()?;
    laboratory.expect_verdicts()?;
    let [learned, _] = laboratory.resolve_at(RESPONDER[0], "1.web.test")?;

    laboratory.filter.kill()?;
    laboratory.expect_reached(tcp(learned, 443))?;
    for address in laboratory.resolve_at(RESPONDER[0], "2.web.test")? {
        laboratory.expect_reached(tcp(address, 443))?;
    }
    laboratory.expect_verdicts()
}

#[test]
fn an_ended_daemon_leaves_enforcement_behind() -> Result<()> {
    let mut laboratory = Laboratory::create(&site::setup())?;
    laboratory.filter.start()?;
    laboratory.filter.stop()?;
    laboratory.expect_verdicts()
}

#[test]
fn the_next_daemon_adopts_what_is_pinned() -> Result<()> {
    let mut laboratory = Laboratory::create(&site::setup())?;
    laboratory.filter.start()?;
    let [learned, _] = laboratory.resolve_at(RESPONDER[0], "1.web.test")?;
    let before = (identities(&laboratory, "links")?, identities(&laboratory, "maps")?);
    ensure!(!before.0.is_empty() && !before.1.is_empty(), "nothing is pinned: {before:?}");

    laboratory.filter.kill()?;
    laboratory.filter.start()?;
    let after = (identities(&laboratory, "links")?, identities(&laboratory, "maps")?);
    ensure!(before == after, "before {before:?}, after {after:?}");
    // Without asking again: what was learned is still known.
    laboratory.expect_reached(tcp(learned, 443))?;
    laboratory.expect_verdicts()
}

/// Has dig ask for a name of no rule, which the filter itself refuses.
fn is_refused(laboratory: &Laboratory) -> Result<()> {
    let at = format!("@{}", RESPONDER[0]);
    let words = ["+time=2", "+tries=1", site::UNLISTED, "A"];
    let mut command = laboratory.network.client.command("dig");
    let output = command.arg(at).args(words).output()?;
    let text = String::from_utf8_lossy(&output.stdout);
    ensure!(text.contains("status: REFUSED"), "{text}");
    Ok(())
}

#[test]
fn the_stage_that_refuses_outlives_its_daemon_and_leaves_with_its_programs() -> Result<()> {
    for mode in site::MODES {
        let config = site::in_mode(site::CONFIG, mode);
        let mut laboratory = Laboratory::create(&Setup { config, ..site::setup() })?;
        let stages = PinDirectory::new(laboratory.filter.pins()).stages();
        let pinned = || -> Result<Vec<_>> {
            let names = fs::read_dir(&stages)?.map(|entry| Ok(entry?.file_name()));
            names.collect()
        };
        laboratory.filter.start()?;
        is_refused(&laboratory)?;
        let first = pinned()?;
        ensure!(first.len() == 1, "{mode}: {first:?}");
        laboratory.filter.kill()?;
        is_refused(&laboratory)?;
        ensure!(pinned()? == first, "{mode}: {first:?}");
        laboratory.filter.start()?;
        is_refused(&laboratory)?;
        let second = pinned()?;
        ensure!(second.len() == 1 && second != first, "{mode}: {first:?}, then {second:?}");
        laboratory.filter.kill()?;
        laboratory.filter.succeed(&["detach"])?;
        ensure!(!stages.exists(), "{mode}: it is left");
    }
    Ok(())
}

fn identities(laboratory: &Laboratory, kind: &str) -> Result<BTreeMap<PathBuf, u64>> {
    pins::ids(&laboratory.filter.pins(), kind)
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
    let mut laboratory = Laboratory::create(setup)?;
    laboratory.filter.start()?;
    let [clock, _] = laboratory.resolve(CLOCK)?;
    let [web, _] = laboratory.resolve_at(RESPONDER[0], "1.web.test")?;

    let Laboratory { filter, network, .. } = &mut laboratory;
    let traffic = Traffic::default();
    let mut restart = || -> Result<()> {
        traffic.wait_for_more()?;
        for end in [Filter::kill, Filter::stop, Filter::kill] {
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
                ensure!(outcome == Outcome::Reached, "{web} in exchange {exchanges}: {outcome:?}");
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
