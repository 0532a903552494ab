//! Floods that last, against the default tables and limits: another client keeps its answers and its
//! connections. `INTUNE_FLOOD` says how many seconds each lasts.

use std::{
    env,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use intune_filter_tests::{
    dns::{self, RecordType, ResponseCode, lookup},
    network::{CLIENT, WAN},
    probe::{ProbeResult, probe},
    prog_test_run::{Datagram, Flags, datagram::patched},
    random::Random,
    site::{self, ANSWER, CONFIG, WEB, tcp},
    testbed::{Setup, Testbed},
    wire::Wire,
};

/// Frames of a flood in a second.
const RATE: u64 = 10_000;
/// Frames that are sent at once.
const BATCH: u64 = 50;
/// Time between two things that the client begins: well below its limits.
const PACE: Duration = Duration::from_millis(25);
/// A stub resolver's patience with a datagram, as TCP's with a SYN, and how often it sends one: the
/// computer loses some of a flood's, and with them others.
const PATIENCE: Duration = Duration::from_secs(1);
const TRIES: usize = 3;
/// Share of them that have to succeed, in hundredths.
const LEAST: u64 = 95;
/// Servers of the printers' service, whose addresses need no name.
const SERVER: [&str; 2] = ["192.0.2.5", "2001:db8:9100::5"];
const PORT: u16 = 631;

/// How long a flood lasts.
fn duration() -> Result<Duration> {
    let seconds = match env::var("INTUNE_FLOOD") {
        Ok(text) => text.parse().context("INTUNE_FLOOD is a number of seconds")?,
        Err(_) => 5,
    };
    Ok(Duration::from_secs(seconds))
}

/// Makes the frames of a flood.
struct Flood {
    random: Random,
    /// The one hardware address, or any.
    mac: Option<[u8; 6]>,
    gateway: [u8; 6],
    resolver: IpAddr,
    query: Vec<u8>,
}

impl Flood {
    /// What takes an entry in a table: a query, the first packet of a flow, a first fragment.
    fn frame(&mut self) -> Vec<u8> {
        let [number, low, a, b, c, ..] = self.random.next().to_be_bytes();
        let port = 1024 + self.random.within(0..60_000) as u16;
        let family = usize::from(self.random.once_in(2));
        // No more neighbours than a group's network has: their table is the whole machine's.
        let source: IpAddr = if family == 0 {
            Ipv4Addr::new(10, 20, 0, 2 + low % 250).into()
        } else {
            Ipv6Addr::new(0xfd00, 0x20, 0, 0, 0, 0, 0, 0x100 + u16::from(low)).into()
        };
        let server: IpAddr = SERVER[family].parse().expect("a constant");
        let datagram = Datagram::new(source, server);
        let datagram = match number % 3 {
            0 if family == 0 => {
                self.query[..2].copy_from_slice(&port.to_be_bytes());
                Datagram::new(source, self.resolver).udp(port, 53, &self.query)
            }
            1 => datagram.identification(port).fragment(0, true).tcp(port, PORT, Flags::SYN),
            _ => datagram.tcp(port, PORT, Flags::SYN),
        };
        let mac = self.mac.unwrap_or([0x02, 0, 1, a, b, c]);
        patched(patched(datagram.frame(), 0, &self.gateway), 6, &mac)
    }

    /// Sends the frames at their rate until this time is over; returns how many.
    fn send(&mut self, wire: &Wire, duration: Duration) -> Result<u64> {
        let (started, mut sent) = (Instant::now(), 0);
        while started.elapsed() < duration {
            for _ in 0..BATCH {
                wire.send(&self.frame())?;
            }
            sent += BATCH;
            let due = Duration::from_micros(sent * 1_000_000 / RATE);
            thread::sleep(due.saturating_sub(started.elapsed()));
        }
        Ok(sent)
    }
}

/// What a client has tried, and what of it has succeeded.
#[derive(Debug, Default)]
struct Share {
    asked: u64,
    answered: u64,
    tried: u64,
    connected: u64,
}

/// Has the client resolve and connect until it is told to end.
fn begin_things(testbed: &Testbed, ended: &AtomicBool) -> Share {
    let [resolver, _] = testbed.resolver.addresses();
    let mut share = Share::default();
    let mut next = Instant::now();
    while !ended.load(Ordering::Relaxed) {
        let round = share.asked as usize;
        let name = WEB[round % WEB.len()];
        let is_answered = (0..TRIES).any(|_| {
            let answer = lookup(resolver, name, RecordType::A, PATIENCE);
            answer.is_ok_and(|told| told.code == ResponseCode::NoError)
        });
        share.asked += 1;
        share.answered += u64::from(is_answered);
        let server = SERVER[round % 2].parse().expect("a constant");
        share.tried += 1;
        share.connected += u64::from(probe(tcp(server, PORT), ANSWER) == ProbeResult::Reached);
        next += PACE;
        thread::sleep(next.saturating_duration_since(Instant::now()));
    }
    share
}

/// Floods from this hardware address, or from any.
fn flood(what: &str, mac: Option<[u8; 6]>) -> Result<()> {
    let config = CONFIG.replacen("limits: {queries: off, flows: off}\n", "", 1);
    let mut testbed = Testbed::create(&Setup { config, ..site::setup() })?;
    testbed.filter.start()?;
    let network = &testbed.network;
    // The gateway gets to know the client, as it would any that it talks to.
    testbed.expect_reached(tcp(SERVER[0].parse()?, PORT))?;
    testbed.expect_reached(tcp(SERVER[1].parse()?, PORT))?;
    let [resolver, _] = testbed.resolver.addresses();
    let mut flood = Flood {
        random: Random::new(15, what),
        mac,
        gateway: network.lan_address()?,
        resolver,
        query: dns::query(WEB[0], RecordType::A)?,
    };
    let wire = network.client.run(|| Wire::open(WAN))?;
    let (before, ended) = (testbed.filter.counters()?, AtomicBool::new(false));
    let duration = duration()?;
    let (sent, share) = network.client.run(|| {
        thread::scope(|scope| {
            let client = scope.spawn(|| begin_things(&testbed, &ended));
            let sent = flood.send(&wire, duration);
            ended.store(true, Ordering::Relaxed);
            (sent, client.join().expect("the client goes on"))
        })
    });
    let counted = testbed.filter.counters()?.since(&before);
    let limited = counted.get("flow_limit") + counted.get("dns_limit");
    let sent = sent?;
    println!(
        "{what}: {sent} frames in {duration:?}, {limited} over a limit; of {}: {} of {} queries \
         answered, {} of {} connections made",
        CLIENT[0], share.answered, share.asked, share.connected, share.tried
    );
    ensure!(limited > sent / 2, "{what}: the flood was no flood: {counted}");
    ensure!(share.asked >= duration.as_secs(), "{what}: {share:?}");
    ensure!(share.answered * 100 >= share.asked * LEAST, "{what}: {share:?}");
    ensure!(share.connected * 100 >= share.tried * LEAST, "{what}: {share:?}");
    Ok(())
}

#[test]
fn from_random_hardware_addresses_it_leaves_another_client_its_share() -> Result<()> {
    flood("random MACs and addresses", None)
}

#[test]
fn from_one_hardware_address_it_leaves_another_client_its_share() -> Result<()> {
    flood("random addresses of one MAC", Some([0x02, 0, 0, 0, 0, 0x66]))
}
