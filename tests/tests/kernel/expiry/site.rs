//! Services with a name each, and clients that ask for them.

use std::{
    net::{IpAddr, Ipv4Addr},
    sync::atomic::{AtomicU64, Ordering::Relaxed},
    thread,
    time::Duration,
};

use anyhow::{Context as _, Result, ensure};
use aya::maps::{MapData, RingBuf};
use intune_filter::{
    events::records::{self, Record},
    names::{
        Names,
        answer::Answer,
        learning::{Learner, Reports},
    },
};
use intune_filter_ebpf::abi::{AnswerEvent, RuleMask, answer_flags};
use intune_filter_tests::prog_test_run::{
    Addresses, Datagram, Fate, IngressHook, LoadedFilter, Message, Runner,
    message::{A, QUESTION},
    program::index,
    run_at,
    site::{LAN, changed_config},
};

/// Services with a name each, `s0.test` and so on.
pub const SERVICES: usize = 5;

/// The name of a service.
pub fn name(service: usize) -> String {
    format!("s{service}.test")
}

/// An address that names lead to.
pub fn address(number: u32) -> IpAddr {
    Ipv4Addr::from(0x1500_0000 + number).into()
}

/// Runs a test with the services in force; `ttl` is the value of `dns.ttl`.
pub fn run(ttl: &str, test: impl FnOnce(&mut LoadedFilter) + Send) {
    let numbers: Vec<String> = (0..SERVICES).map(|service| format!("s{service}")).collect();
    let all = numbers.join(", ");
    let services: String = numbers
        .iter()
        .map(|id| format!("- {{id: {id}, fqdns: [{id}.test], tcp: [443]}}\n"))
        .collect();
    let dns = format!(", ttl: {ttl}");
    let config = changed_config(&dns, &format!("services:\n{services}"), |text| {
        text.replace("services: [core, time]", &format!("services: [{all}]"))
    });
    run_at(IngressHook::Xdp, "", "", |filter| {
        filter.install(&config).expect("the policy goes into the maps");
        test(filter);
    });
}

/// Pause of clients between their answers.
///
/// Addresses that are refreshed all the time are never taken away, and those that hardly are do
/// not race. Which rests lie between depends on the machine and on what else it does.
pub struct Pace(AtomicU64);

impl Pace {
    /// A pace to begin with.
    pub const fn new() -> Self {
        Self(AtomicU64::new(500))
    }

    /// Rests for up to the present length, never twice as long in a row.
    pub fn rest(&self, turn: u64) {
        let part = turn.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 54;
        thread::sleep(Duration::from_micros((part * self.0.load(Relaxed)) >> 10));
    }

    /// Lets one address or two be taken away in a pass, if `taken` were in the last.
    pub fn adapt(&self, taken: u64) {
        let longest = self.0.load(Relaxed);
        let changed = match taken {
            0 => longest + longest / 16,
            1 | 2 => longest,
            _ => longest - longest / 16,
        };
        self.0.store(changed.clamp(100, 50_000), Relaxed);
    }
}

/// The number of a service's only rule.
pub fn bit(filter: &LoadedFilter, service: usize) -> RuleMask {
    RuleMask::of(filter.rule(&format!("s{service}/site")))
}

/// A client that asks for the name of one service.
pub struct Client {
    runner: Runner,
    lan: u32,
    service: usize,
    query: Vec<u8>,
}

impl Client {
    /// One for a service.
    pub fn new(filter: &LoadedFilter, service: usize) -> Result<Self> {
        let query = message(service).octets().to_vec();
        let [who, _] = Addresses::both();
        let query = Datagram::new(who.client, who.resolver).udp(port(service), 53, &query).frame();
        Ok(Self { runner: filter.runner()?, lan: index(LAN)?, service, query })
    }

    /// Asks, and lets an answer with these addresses come; whether it passes.
    pub fn ask(&self, addresses: &[IpAddr], ttl: u32) -> Result<bool> {
        let [who, _] = Addresses::both();
        let mut answer = message(self.service).answered();
        for address in addresses {
            answer = answer.address(&QUESTION, ttl, *address);
        }
        let port = port(self.service);
        let answer = Datagram::new(who.resolver, who.client).udp(53, port, answer.octets());
        ensure!(self.runner.ingress(self.lan, &self.query)? == Fate::Passed, "no query passes");
        match self.runner.egress(self.lan, &answer.frame())? {
            Fate::Passed => Ok(true),
            Fate::Dropped => Ok(false),
            Fate::Answered(_) => unreachable!("answers are not answered"),
        }
    }
}

fn port(service: usize) -> u16 {
    40_000 + service as u16
}

fn message(service: usize) -> Message {
    Message::query(0x1234, &name(service), A)
}

/// A learner with the knowledge of a daemon.
pub fn learner(filter: &LoadedFilter) -> Learner {
    Learner::new(Names::default(), filter.policy().clone())
}

/// Takes the next answer from the ring; `None` if there is no record.
pub fn next_answer(
    ring: &mut RingBuf<MapData>,
    mut take: impl FnMut(&AnswerEvent, &[u8]),
) -> Result<Option<()>> {
    let Some(octets) = ring.next() else { return Ok(None) };
    let record = records::read(&octets).context("a record is known")?;
    if let Record::Answer(event, message) = record {
        take(&event, message);
    }
    Ok(Some(()))
}

/// The answers in the ring, and the learner that takes them in; `heard` is told of each.
pub struct Answers<'a, F> {
    /// The ring.
    pub ring: &'a mut RingBuf<MapData>,
    /// The learner.
    pub learner: &'a mut Learner,
    /// Who is told.
    pub heard: F,
}

impl<F: FnMut(&Answer)> Reports for Answers<'_, F> {
    fn learner(&mut self) -> &mut Learner {
        self.learner
    }

    fn catch_up(&mut self) -> Result<()> {
        let Self { ring, learner, heard } = self;
        while next_answer(ring, |event, message| {
            assert_ne!(event.flags & answer_flags::LEARNED, 0, "there is room");
            heard(&learner.take(event, message).expect("the learner reads what the kernel reads"));
        })?
        .is_some()
        {}
        Ok(())
    }
}

/// Has the learner read what the ring holds; `heard` is told of each answer.
pub fn catch_up(
    ring: &mut RingBuf<MapData>,
    learner: &mut Learner,
    heard: impl FnMut(&Answer),
) -> Result<()> {
    Answers { ring, learner, heard }.catch_up()
}
