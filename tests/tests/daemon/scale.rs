//! Many addresses at once, and what they cost the daemon. `INTUNE_FILTER_ADDRESSES` says how many:
//! 100000 take a quarter of a minute.

use std::{
    env, fs,
    net::{IpAddr, Ipv4Addr},
    panic::resume_unwind,
    sync::atomic::{AtomicBool, Ordering::SeqCst},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use intune_filter::{
    control::{Client, Request},
    kernel::Pins,
    names::{self, Lives, Names},
    report::DaemonStatus,
    system::clock::Clocks,
};
use intune_filter_ebpf::abi::{Matched, Reason};
use intune_filter_tests::{
    network::LAN,
    prog_test_run::{
        Datagram, Fate, Flags, Message, Runner,
        message::{A, QUESTION},
    },
    site::{self, eventually},
    testbed::Testbed,
};

const CLIENT: Ipv4Addr = Ipv4Addr::new(10, 20, 0, 10);
const RESOLVER: Ipv4Addr = Ipv4Addr::new(203, 0, 113, 53);
/// Longest time of the daemon's reply.
const PATIENCE: Duration = Duration::from_secs(60);
/// Counts records that found no room in the ring.
const EVENT_LOST: &str = "event_lost";

fn count() -> u32 {
    env::var("INTUNE_FILTER_ADDRESSES").ok().and_then(|text| text.parse().ok()).unwrap_or(3000)
}

fn address(number: u32) -> IpAddr {
    Ipv4Addr::from(0x1500_0000 + number).into()
}

/// Lets a query and its answer pass the programs that are in force, by test runs.
fn resolve(runner: &Runner, lan: u32, number: u32) -> Result<()> {
    let message = Message::query(number as u16, &format!("{number}.web.test"), A);
    let port = 1024 + (number % 60_000) as u16;
    let query = Datagram::new(CLIENT, RESOLVER).udp(port, 53, message.octets()).frame();
    ensure!(runner.ingress(lan, &query)? == Fate::Passed, "query {number} does not pass");
    let answer = message.answered().address(&QUESTION, 3600, address(number));
    let answer = Datagram::new(RESOLVER, CLIENT).udp(53, port, answer.octets()).frame();
    ensure!(runner.egress(lan, &answer)? == Fate::Passed, "answer {number} does not pass");
    Ok(())
}

/// Cost of a process: octets of memory, and seconds of a processor.
fn cost(process: u32) -> Result<(u64, f64)> {
    let status = fs::read_to_string(format!("/proc/{process}/status"))?;
    let resident = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let resident = resident.and_then(|text| text.split_whitespace().next()).context("no VmRSS")?;
    let stat = fs::read_to_string(format!("/proc/{process}/stat"))?;
    let (_, fields) = stat.rsplit_once(')').context("no name")?;
    let ticks: Vec<u64> =
        fields.split_whitespace().skip(11).take(2).map(str::parse).collect::<Result<_, _>>()?;
    Ok((resident.parse::<u64>()? * 1024, ticks.iter().sum::<u64>() as f64 / 100.0))
}

fn timed<T>(what: &str, run: impl FnOnce() -> Result<T>) -> Result<T> {
    let started = Instant::now();
    let value = run()?;
    println!("{what}: {:.0?}", started.elapsed());
    Ok(value)
}

fn names_known(testbed: &Testbed) -> Result<u64> {
    let status = testbed.filter.json(&["status"])?;
    status["daemon"]["names"].as_u64().context("status does not count the names")
}

/// Every address is allowed, by its name, to the client.
fn expect_allowed(testbed: &Testbed, count: u32) -> Result<()> {
    let pins = Pins::open(&testbed.filter.pins())?.context("nothing is pinned")?;
    let lan = testbed.network.gateway.ifindex(LAN)?;
    testbed.network.gateway.run(|| {
        for number in 0..count {
            let frame = Datagram::new(CLIENT, address(number)).tcp(1, 443, Flags::SYN).frame();
            let explained = pins.explain(&frame, lan)?;
            ensure!(
                explained.reason == Reason::Policy && explained.matched == Matched::Name,
                "{}: {explained:?}",
                address(number)
            );
        }
        Ok(())
    })
}

/// Longest time for which the daemon keeps a caller waiting while `run` goes on.
fn slowest_answer<T: Send>(
    testbed: &Testbed,
    run: impl FnOnce() -> Result<T>,
) -> Result<(T, Duration)> {
    let directory = testbed.directory.path().join("run");
    let over = AtomicBool::new(false);
    thread::scope(|scope| {
        let asker = scope.spawn(|| -> Result<Duration> {
            let mut slowest = Duration::ZERO;
            while !over.load(SeqCst) {
                let started = Instant::now();
                let daemon = Client::connect(&directory).context("no daemon")?;
                let _: Box<DaemonStatus> = daemon.ask(&Request::Status {}, PATIENCE)?;
                slowest = slowest.max(started.elapsed());
            }
            Ok(slowest)
        });
        let value = run();
        over.store(true, SeqCst);
        let slowest = asker.join().unwrap_or_else(|panic| resume_unwind(panic))?;
        Ok((value?, slowest))
    })
}

#[test]
fn many_addresses_are_learned_saved_and_restored() -> Result<()> {
    let count = count();
    let mut testbed = Testbed::create(&site::setup())?;
    testbed.filter.start()?;
    let process = testbed.filter.daemon()?.id();
    let (memory, processor) = cost(process)?;
    let lan = testbed.network.gateway.ifindex(LAN)?;
    let pins = Pins::open(&testbed.filter.pins())?.context("nothing is pinned")?;

    let learn = || {
        testbed.network.gateway.run(|| {
            let runner = Runner::open(&pins)?;
            let started = Instant::now();
            (0..count).try_for_each(|number| resolve(&runner, lan, number))?;
            Ok(started.elapsed())
        })
    };
    let (elapsed, slowest) = slowest_answer(&testbed, learn)?;
    let rate = f64::from(count) / elapsed.as_secs_f64();
    println!("{count} answers by test runs, {rate:.0} a second; slowest reply {slowest:.0?}");

    // What the daemon was not told of is counted, and changes no verdict.
    let lost = testbed.filter.counters()?.get(EVENT_LOST);
    let known = u64::from(count).saturating_sub(lost);
    eventually("every name is known that was told of", || Ok(names_known(&testbed)? >= known))?;
    let (more_memory, more_processor) = cost(process)?;
    println!(
        "{lost} records lost; the daemon has grown from {memory} to {more_memory} octets, and took \
         {:.2} s of a processor",
        more_processor - processor
    );
    timed("verdicts", || expect_allowed(&testbed, count))?;
    timed("intune-filter names", || testbed.filter.json(&["names"]))?;
    timed("intune-filter status", || testbed.filter.json(&["status"]))?;

    timed("end, with the table saved", || testbed.filter.stop())?;
    let file = testbed.directory.path().join("state/names.json");
    println!("the file has {} octets", fs::metadata(file)?.len());
    testbed.filter.succeed(&["detach"])?;
    timed("start, with the table restored", || testbed.filter.start())?;
    if lost == 0 {
        expect_allowed(&testbed, count)?;
    }
    Ok(())
}

#[test]
fn a_large_table_of_names_holds_nobody_up_for_long() -> Result<()> {
    const SECOND: u64 = 1_000_000_000;

    let mut table = Names::default();
    timed("names learned", || {
        for number in 0..count() {
            let name = format!("{number}.web.test");
            let expires = u64::from(number + 1) * SECOND;
            table.learn(&name, address(number), ["web/site".to_owned()], expires);
        }
        Ok(())
    })?;
    let now = Clocks { boot: 0, wall: 1000 };
    timed("a copy", || Ok(table.clone()))?;
    let text = timed("the file's text", || names::to_text(&table, now))?;
    let directory = tempfile::tempdir()?;
    timed("the file written", || names::save(directory.path(), &text))?;
    let loaded = timed("the file read", || names::load(directory.path(), now, Lives::ANY, 0))?;
    ensure!(loaded == table, "the table has changed");
    let half = u64::from(count() / 2) * SECOND;
    let gone = timed("a look for what has expired", || Ok(table.expire(0)))?;
    ensure!(gone.is_empty());
    let gone = timed("half of it expired", || Ok(table.expire(half)))?;
    ensure!(gone.len() as u64 == half / SECOND && table.len() + gone.len() == loaded.len());
    Ok(())
}
