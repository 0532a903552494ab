//! Many streams at once, each to its end, and each judged then.

use std::{
    collections::HashMap,
    env,
    net::IpAddr,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use anyhow::{Context as _, Result, bail};
use intune_filter_tests::random::Random;

use crate::{
    coverage::{Coverage, Trick},
    failures::Failures,
    field::{CLIENTS, Field, client},
    hostile, judge, ordinary,
    reader::{Clients, Reader},
    script::Manner,
    stream::{Crossed, Reading, Stream},
};

/// The first port that clients use; those before it are for streams that run once more.
const FIRST_PORT: u64 = 4096;
/// Ports of a client.
const PORTS: u64 = 61_440;
/// Wait for a segment when every stream waits.
const PAUSE: Duration = Duration::from_millis(5);

/// Selection of random streams.
#[derive(Clone, Debug)]
pub struct Streams {
    /// Seed of the random streams.
    pub seed: u64,
    /// Number of streams at once.
    pub live: usize,
    /// Tricks that are left out.
    pub without: Vec<Trick>,
}

impl Streams {
    /// Those of `INTUNE_SEED`, without what `INTUNE_WITHOUT` names, or any.
    pub fn chosen(live: usize) -> Result<Self> {
        let seed = match env::var("INTUNE_SEED") {
            Ok(text) => text.parse().context("INTUNE_SEED is a number")?,
            Err(_) => SystemTime::now().duration_since(UNIX_EPOCH)?.as_micros() as u64,
        };
        let names = env::var("INTUNE_WITHOUT").unwrap_or_default();
        let trick = |name: &str| {
            let known = Trick::ALL.iter().find(|trick| trick.as_str() == name);
            known.copied().with_context(|| format!("INTUNE_WITHOUT: {name} is no trick"))
        };
        let without = names.split_terminator(',').map(trick).collect::<Result<_>>()?;
        Ok(Self { seed, live, without })
    }

    /// The stream with this number.
    fn make(&self, number: u64) -> Stream {
        let mut random = Random::new(self.seed, &format!("stream {number}"));
        let script = if random.once_in(3) {
            ordinary::script(&mut random)
        } else {
            hostile::script(&mut random, &self.without)
        };
        let near_the_end = random.once_in(8);
        let initial = random.next() as u32;
        let initial = if near_the_end { 0xffff_ff00 | initial } else { initial };
        let (six, rest) = (number % 2 == 1, number / 2);
        let address = client((rest % u64::from(CLIENTS)) as u16, six);
        let port = FIRST_PORT + rest / u64::from(CLIENTS) % PORTS;
        Stream::new(number, script, (address, port as u16), initial)
    }

    /// Runs the streams with these numbers against a server: the test's own, or whatever listens.
    pub fn run(
        &self,
        field: &Field,
        mut reader: Option<&mut Reader>,
        numbers: impl IntoIterator<Item = u64>,
    ) -> Result<Coverage> {
        let mut numbers = numbers.into_iter().fuse();
        let mut live = Live::default();
        let mut coverage = Coverage::default();
        let mut failures = Failures::default();
        loop {
            while live.streams.len() < self.live
                && let Some(number) = numbers.next()
            {
                let stream = self.make(number);
                live.streams.insert(stream.client, stream);
            }
            if live.streams.is_empty() {
                break;
            }
            for stream in live.round(field, reader.as_deref_mut())? {
                if let Some(reader) = reader.as_deref_mut() {
                    reader.forget(stream.client);
                } else {
                    stream.reset(field)?;
                }
                match judge::judge(&stream) {
                    Ok(read) => count(&mut coverage, &stream, read),
                    Err(error) => failures.add(format!("{error:#}"), stream),
                }
            }
        }
        if failures.is_none() {
            return Ok(coverage);
        }
        // Before more is sent. Whatever is lost without being counted was lost elsewhere.
        let counters = field.filter.counters();
        let told = failures.tell(|stream| self.alone(field, reader.as_deref_mut(), stream))?;
        bail!("{told} of seed {}\nthe filter has counted: {counters:?}", self.seed)
    }

    /// Runs one stream by itself, and judges it.
    fn alone(
        &self,
        field: &Field,
        mut reader: Option<&mut Reader>,
        stream: Stream,
    ) -> Result<(Stream, Result<u64>)> {
        let mut live = Live::default();
        live.streams.insert(stream.client, stream);
        loop {
            if let Some(stream) = live.round(field, reader.as_deref_mut())?.pop() {
                if let Some(reader) = reader.as_deref_mut() {
                    reader.forget(stream.client);
                }
                let judged = judge::judge(&stream);
                return Ok((stream, judged));
            }
        }
    }
}

fn count(coverage: &mut Coverage, stream: &Stream, read: u64) {
    if let Some(expected) = &stream.script.expected {
        coverage.ordinary += 1;
        coverage.answered += expected.len() as u64;
    } else {
        coverage.hostile += 1;
        coverage.hostile_read += u64::from(read > 0);
        coverage.messages += read;
    }
    let mut tricks: Vec<Trick> = stream.script.tricks().collect();
    tricks.sort_unstable();
    tricks.dedup();
    for trick in tricks {
        let count = coverage.tricks.entry(trick).or_default();
        count.streams += 1;
        count.read += u64::from(read > 0);
    }
    for trick in &stream.sent {
        coverage.tricks.entry(*trick).or_default().sent += 1;
    }
    for Crossed { segment, .. } in &stream.passed {
        if let Some(trick) = stream.sent.get(usize::from(segment.number)) {
            coverage.tricks.entry(*trick).or_default().passed += 1;
        }
    }
}

/// The streams that are under way, by their client.
#[derive(Debug, Default)]
struct Live {
    streams: HashMap<(IpAddr, u16), Stream>,
    round: u64,
}

impl Live {
    /// Lets every stream do its next step, and returns those that are over.
    fn round(&mut self, field: &Field, reader: Option<&mut Reader>) -> Result<Vec<Stream>> {
        self.round += 1;
        let mut over = Vec::new();
        for (client, stream) in &mut self.streams {
            if !stream.act(field)? {
                over.push(*client);
            }
        }
        let mut back = field.settle()?;
        if let Some(reader) = reader {
            reader.serve(self)?;
            back.extend(field.settle()?);
        }
        if self.streams.values().all(Stream::is_waiting) {
            back.extend(field.arrival(PAUSE)?);
        }
        let round = self.round;
        for segment in field.passed()? {
            let ([client, _], [port, _]) = (segment.addresses, segment.ports);
            self.note((client, port), |stream| &mut stream.passed, Crossed { round, segment });
        }
        for segment in back {
            let ([_, client], [_, port]) = (segment.addresses, segment.ports);
            self.note((client, port), |stream| &mut stream.back, Crossed { round, segment });
        }
        Ok(over.iter().filter_map(|client| self.streams.remove(client)).collect())
    }

    fn note(
        &mut self,
        client: (IpAddr, u16),
        which: impl FnOnce(&mut Stream) -> &mut Vec<Crossed>,
        crossed: Crossed,
    ) {
        if let Some(stream) = self.streams.get_mut(&client) {
            which(stream).push(crossed);
        }
    }
}

impl Clients for Live {
    fn connected(&mut self, client: (IpAddr, u16)) -> Option<(Manner, usize)> {
        let stream = self.streams.get_mut(&client)?;
        stream.readings.push(Reading::default());
        Some((stream.script.manner, stream.readings.len() - 1))
    }

    fn answers(&self, client: (IpAddr, u16), message: &[u8], count: usize) -> Vec<Vec<u8>> {
        self.streams.get(&client).map(|stream| stream.answer(message, count)).unwrap_or_default()
    }

    fn read(&mut self, client: (IpAddr, u16), index: usize, octets: Option<&[u8]>) {
        let Some(stream) = self.streams.get_mut(&client) else { return };
        let Some(reading) = stream.readings.get_mut(index) else { return };
        match octets {
            Some(octets) => reading.octets.extend(octets),
            None => reading.ended = true,
        }
    }
}
