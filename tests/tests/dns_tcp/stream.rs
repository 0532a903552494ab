//! One connection while it happens: what the client has sent, what of that has passed the filter,
//! what has come back, and what the server has read.

use std::{
    fmt,
    net::IpAddr,
    time::{Duration, Instant},
};

use anyhow::Result;

use crate::{
    coverage::Trick,
    field::Field,
    messages,
    script::{Acknowledged, Act, Cut, Dud, Forged, Script, Unasked, Until},
    segment::{ACK, FIN, RST, SYN, Seen, Segment, letters},
};

/// Time for which an honest client waits for an answer.
const PATIENCE: Duration = Duration::from_secs(20);
/// After how long an honest client sends again what was not acknowledged.
const AGAIN: Duration = Duration::from_millis(200);
/// Hops from the client to beyond the gateway, where [`Field`] has a packet die.
const HOPS_TOO_FEW: u8 = 2;
/// Distance of an old time stamp to the current one.
const OLD: u32 = 1_000_000;

/// A client's segment that has passed the filter, or a segment that has come back.
#[derive(Clone, Debug)]
pub struct Crossed {
    /// In which round.
    pub round: u64,
    /// The segment.
    pub segment: Seen,
}

/// Octets that the server has read from one connection.
#[derive(Clone, Debug, Default)]
pub struct Reading {
    /// The octets.
    pub octets: Vec<u8>,
    /// Whether the connection has ended.
    pub ended: bool,
}

/// A connection that is under way.
#[derive(Debug)]
pub struct Stream {
    /// Its number.
    pub number: u64,
    /// Script of the stream.
    pub script: Script,
    /// The client's address and port.
    pub client: (IpAddr, u16),
    /// The initial sequence number that the script's numbers count from.
    pub initial: u32,
    /// Purpose of each sent segment.
    pub sent: Vec<Trick>,
    /// Segments that have passed.
    pub passed: Vec<Crossed>,
    /// Segments that have come back.
    pub back: Vec<Crossed>,
    /// Octets that the server has read, by connection.
    pub readings: Vec<Reading>,
    /// Reason why an honest client has given up.
    pub stuck: Option<String>,
    step: usize,
    edge: (i64, i64),
    acknowledged: Option<u32>,
    waiting_since: Option<Instant>,
    repeated: Option<Instant>,
}

impl Stream {
    /// One that begins.
    #[must_use]
    pub const fn new(number: u64, script: Script, client: (IpAddr, u16), initial: u32) -> Self {
        Self {
            number,
            script,
            client,
            initial,
            sent: Vec::new(),
            passed: Vec::new(),
            back: Vec::new(),
            readings: Vec::new(),
            stuck: None,
            step: 0,
            edge: (0, 0),
            acknowledged: None,
            waiting_since: None,
            repeated: None,
        }
    }

    /// The sequence number that a script counts so.
    #[must_use]
    pub const fn sequence(&self, at: i64) -> u32 {
        self.initial.wrapping_add(at as u32)
    }

    /// Does the next step, if what it waits for has come. False if there was none left.
    pub fn act(&mut self, field: &Field) -> Result<bool> {
        let Some(step) = self.script.steps.get(self.step) else { return Ok(false) };
        if self.stuck.is_some() {
            return Ok(false);
        }
        if !self.has_come(step.until) {
            let since = *self.waiting_since.get_or_insert_with(Instant::now);
            if since.elapsed() > PATIENCE {
                self.stuck = Some(format!("waited in vain for {:?}", step.until));
            }
            self.acknowledge(field)?;
            if self.script.expected.is_some() && self.repeated.unwrap_or(since).elapsed() > AGAIN {
                self.repeated = Some(Instant::now());
                self.repeat(field)?;
            }
            return Ok(true);
        }
        (self.waiting_since, self.repeated) = (None, None);
        let acts = step.acts.clone();
        for act in &acts {
            let frame = match act {
                Act::Send(cut) => {
                    let flags = u32::from(cut.flags & (SYN | FIN) != 0);
                    self.edge = (cut.base, cut.at + cut.data.len() as i64 + i64::from(flags));
                    self.frame(cut, field)?
                }
                Act::Forge(forged) => self.forged_frame(forged, field)?,
            };
            self.sent.push(act.trick());
            field.send(&frame)?;
        }
        self.step += 1;
        Ok(true)
    }

    /// Ends what the server may have left open, as far as it has shown where that stands.
    pub fn reset(&self, field: &Field) -> Result<()> {
        let segments = self.back.iter().map(|crossed| &crossed.segment);
        let mut expected: Vec<u32> = segments
            .filter(|segment| segment.has(ACK) && !segment.has(RST))
            .map(|segment| segment.acknowledgement)
            .collect();
        expected.sort_unstable();
        expected.dedup();
        for sequence in expected.iter().rev() {
            let at = i64::from(sequence.wrapping_sub(self.initial));
            let cut = Cut { flags: RST, ..Cut::data(Trick::Reset, 0, at, &[]) };
            field.send(&self.frame(&cut, field)?)?;
        }
        Ok(())
    }

    /// Acknowledges what has come since the last time: until then the server sends it again.
    fn acknowledge(&mut self, field: &Field) -> Result<()> {
        let (base, at) = self.edge;
        let come = self.server_initial(base).map(|initial| self.next_from_server(initial));
        if come.is_none() || come == self.acknowledged {
            return Ok(());
        }
        self.acknowledged = come;
        let frame = self.frame(&Cut::data(Trick::Plain, base, at, &[]), field)?;
        self.sent.push(Trick::Plain);
        field.send(&frame)
    }

    /// Sends what the server has not acknowledged again, as every sender does in the end.
    fn repeat(&mut self, field: &Field) -> Result<()> {
        let (base, _) = self.edge;
        let Some(initial) = self.server_initial(base) else { return Ok(()) };
        let next = self.sequence(base + 1);
        let of_this = |segment: &&Seen| segment.sequence.wrapping_sub(initial) < 1 << 30;
        let acknowledged = self.back.iter().map(|crossed| &crossed.segment).filter(of_this);
        let acknowledged =
            acknowledged.map(|segment| segment.acknowledgement.wrapping_sub(next)).max();
        let from = base + 1 + i64::from(acknowledged.unwrap_or_default());
        let steps = self.script.steps.get(..self.step).unwrap_or_default();
        let cuts: Vec<Cut> = steps
            .iter()
            .flat_map(|step| &step.acts)
            .filter_map(|act| match act {
                Act::Send(cut) => Some(cut.clone()),
                Act::Forge(_) => None,
            })
            .filter(|cut| cut.base == base && !cut.data.is_empty() && cut.at >= from)
            .collect();
        for cut in cuts {
            self.sent.push(Trick::Repeat);
            field.send(&self.frame(&cut, field)?)?;
        }
        Ok(())
    }

    /// Whether it waits for something.
    #[must_use]
    pub const fn is_waiting(&self) -> bool {
        self.waiting_since.is_some()
    }

    fn has_come(&self, until: Until) -> bool {
        match until {
            Until::Sent => true,
            Until::Established(base) => self.server_initial(base).is_some(),
            Until::Answered(count) => self.answers().len() >= count,
            Until::Finished(base) => {
                self.server_initial(base).is_some_and(|initial| self.has_finished(initial))
            }
        }
    }

    /// Whether the server has ended the stream with this initial number.
    fn has_finished(&self, initial: u32) -> bool {
        let next = self.next_from_server(initial);
        self.back.iter().any(|Crossed { segment, .. }| {
            let end = segment.sequence.wrapping_add(segment.data.len() as u32);
            segment.has(FIN) && end == next
        })
    }

    /// The messages that have come back, from all connections.
    #[must_use]
    pub fn answers(&self) -> Vec<Vec<u8>> {
        let octets = self.server_initials().map(|initial| self.server_octets(initial));
        octets
            .flat_map(|octets| {
                messages::split(&octets).0.iter().map(|m| m.to_vec()).collect::<Vec<_>>()
            })
            .collect()
    }

    /// The server's initial sequence numbers, each once.
    fn server_initials(&self) -> impl Iterator<Item = u32> {
        let mut all: Vec<u32> = Vec::new();
        for Crossed { segment, .. } in &self.back {
            if segment.has(SYN) && segment.has(ACK) && !all.contains(&segment.sequence) {
                all.push(segment.sequence);
            }
        }
        all.into_iter()
    }

    /// The server's initial sequence number, if it has answered the SYN with this one.
    fn server_initial(&self, base: i64) -> Option<u32> {
        let acknowledges = self.sequence(base + 1);
        let answer = self.back.iter().rev().map(|crossed| &crossed.segment).find(|segment| {
            segment.has(SYN) && segment.has(ACK) && segment.acknowledgement == acknowledges
        });
        answer.map(|segment| segment.sequence)
    }

    /// Contiguous octets that have come of the stream with this initial number.
    fn server_octets(&self, initial: u32) -> Vec<u8> {
        let mut octets = Vec::new();
        let mut grows = true;
        while grows {
            grows = false;
            for Crossed { segment, .. } in &self.back {
                let next = initial.wrapping_add(1).wrapping_add(octets.len() as u32);
                let known = next.wrapping_sub(segment.sequence) as usize;
                if let Some(fresh) = segment.data.get(known..).filter(|fresh| !fresh.is_empty()) {
                    octets.extend(fresh);
                    grows = true;
                }
            }
        }
        octets
    }

    fn next_from_server(&self, initial: u32) -> u32 {
        initial.wrapping_add(1).wrapping_add(self.server_octets(initial).len() as u32)
    }

    fn frame(&self, cut: &Cut, field: &Field) -> Result<Vec<u8>> {
        let known = self.server_initial(cut.base);
        let come = known.map_or(0, |initial| {
            let finished = u32::from(self.has_finished(initial));
            self.next_from_server(initial).wrapping_add(finished)
        });
        let acknowledgement = match cut.acknowledged {
            _ if cut.flags & ACK == 0 => 0,
            Acknowledged::All => come,
            Acknowledged::Beyond(more) => come.wrapping_add(more),
            Acknowledged::Old(less) => come.wrapping_sub(less),
        };
        let options = self.options(cut);
        let (address, port) = self.client;
        Segment {
            link: field.client_link(),
            addresses: [address, field.resolver(address)],
            ports: [port, 53],
            sequence: self.sequence(cut.at),
            acknowledgement,
            flags: cut.flags,
            window: cut.window,
            urgent: cut.urgent,
            options: &options,
            data: &cut.data,
            number: self.sent.len() as u16,
            hops: if cut.dud == Some(Dud::Hops) { HOPS_TOO_FEW } else { 64 },
            damaged: cut.dud == Some(Dud::Checksum),
        }
        .frame()
    }

    fn options(&self, cut: &Cut) -> Vec<u8> {
        let mut options = Vec::new();
        if cut.flags & SYN != 0 {
            options.extend([2, 4]);
            options.extend(self.script.most.to_be_bytes());
            options.extend([1, 1, 4, 2]);
        }
        if self.script.stamps {
            let echoed = self.back.iter().rev().find_map(|crossed| crossed.segment.stamp);
            let old = if cut.dud == Some(Dud::Stamp) { OLD } else { 0 };
            let now = (2 * OLD + self.sent.len() as u32).wrapping_sub(old);
            options.extend([1, 1, 8, 10]);
            options.extend(now.to_be_bytes());
            options.extend(echoed.unwrap_or(0).to_be_bytes());
        }
        if cut.dud == Some(Dud::Signature) {
            options.extend([1, 1, 19, 18]);
            options.extend([0x5a; 16]);
        }
        options
    }

    fn forged_frame(&self, forged: &Forged, field: &Field) -> Result<Vec<u8>> {
        let (address, port) = self.client;
        let next = self.server_initial(forged.base).map(|initial| self.next_from_server(initial));
        Segment {
            link: field.accomplice_link(),
            addresses: [field.resolver(address), address],
            ports: [53, port],
            sequence: next.unwrap_or(FORGED),
            acknowledgement: self.sequence(forged.acknowledged),
            flags: forged.flags,
            window: 30_000,
            urgent: 0,
            options: &[],
            data: &forged.data,
            number: FORGED as u16,
            hops: 64,
            damaged: false,
        }
        .frame()
    }

    /// How the server is to answer a message, the so manieth that it has read of this connection.
    #[must_use]
    pub fn answer(&self, message: &[u8], count: usize) -> Vec<Vec<u8>> {
        let answer = messages::answer(message);
        let Some((unasked, when)) = self.script.manner.unasked.filter(|(_, when)| *when == count)
        else {
            return vec![answer];
        };
        let _ = when;
        match unasked {
            Unasked::Name => {
                let id = u16::from_be_bytes([message[0], message[1]]);
                let kind = hickory_proto::rr::RecordType::A;
                let other = messages::query(id, &messages::denied("unasked"), kind, &[]);
                vec![messages::answer(&other), answer]
            }
            Unasked::Identifier => {
                let mut other = answer.clone();
                if let Some(octet) = other.get_mut(1) {
                    *octet ^= 1;
                }
                vec![other, answer]
            }
            Unasked::Early => {
                let kind = hickory_proto::rr::RecordType::A;
                let other = messages::query(7, &messages::allowed("unasked"), kind, &[]);
                vec![answer, messages::answer(&other)]
            }
        }
    }
}

/// The sequence number and identification of what an accomplice forges.
pub const FORGED: u32 = 0xf0f0_f0f0;

impl fmt::Display for Stream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (address, port) = self.client;
        writeln!(f, "stream {} from {address} port {port}: {}", self.number, self.script)?;
        let line = |f: &mut fmt::Formatter<'_>, what: &str, crossed: &Crossed, number: u32| {
            let Crossed { round, segment } = crossed;
            let at = segment.sequence.wrapping_sub(number) as i32;
            let flags = letters(segment.flags);
            let data = segment.data.escape_ascii();
            writeln!(f, "  {what} in round {round}: [{flags}] {at}+{} {data}", segment.data.len())
        };
        for crossed in &self.passed {
            line(f, &format!("passed #{}", crossed.segment.number), crossed, self.initial)?;
        }
        for crossed in &self.back {
            let initial = self.server_initials().next().unwrap_or(0);
            let reset = if crossed.segment.has(RST) { " reset" } else { "" };
            let acknowledged = crossed.segment.acknowledgement.wrapping_sub(self.initial) as i32;
            line(f, &format!("back{reset} (acknowledges {acknowledged})"), crossed, initial)?;
        }
        for Reading { octets, ended } in &self.readings {
            writeln!(
                f,
                "  read{}: {}",
                if *ended { ", ended" } else { "" },
                octets.escape_ascii()
            )?;
        }
        Ok(())
    }
}
