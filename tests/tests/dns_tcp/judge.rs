//! Invariants of every stream.

use std::collections::HashMap;

use anyhow::{Context as _, Result, bail, ensure};

use crate::{
    messages::{self, Asked},
    segment::{ACK, FIN, RST, SYN, URG},
    stream::{Crossed, FORGED, Reading, Stream},
};

/// The octets that have passed after one SYN, by their sequence number.
struct Passed {
    initial: u32,
    octets: HashMap<u32, u8>,
}

impl Passed {
    /// The stream as far as it is whole.
    fn stream(&self) -> impl Iterator<Item = u8> {
        (1..).map_while(|at| self.octets.get(&self.initial.wrapping_add(at)).copied())
    }
}

/// Judges a stream that is over: the messages that an honest client was answered, or those that the
/// server has read.
pub fn judge(stream: &Stream) -> Result<u64> {
    let all = what_passed(stream)?;
    let mut read = 0;
    for reading in &stream.readings {
        read += judge_reading(reading, &all)?;
    }
    let asked = judge_answers(stream, &all)?;
    if let Some(reason) = &stream.stuck {
        bail!("an honest client {reason}");
    }
    if let Some(expected) = &stream.script.expected {
        for query in expected {
            ensure!(asked.contains(query), "an honest client was not answered: {query:?}");
        }
    }
    Ok(read)
}

/// One value for each sequence number, one initial number for each connection, nothing urgent, and
/// no data before the server has confirmed that number.
fn what_passed(stream: &Stream) -> Result<Vec<Passed>> {
    let mut all: Vec<Passed> = Vec::new();
    let mut may_have_ended = false;
    for Crossed { segment, round } in &stream.passed {
        let number = segment.number;
        ensure!(!segment.has(URG), "urgent data has passed: #{number}");
        if segment.has(SYN) {
            ensure!(segment.data.is_empty(), "a SYN with data has passed: #{number}");
            let initial = segment.sequence;
            let known = all.last().is_some_and(|passed| passed.initial == initial);
            if !known {
                ensure!(
                    all.is_empty() || may_have_ended || ended(stream, *round),
                    "a second initial number has passed: #{number}",
                );
                all.push(Passed { initial, octets: HashMap::new() });
                may_have_ended = false;
            }
            continue;
        }
        may_have_ended |= segment.has(RST) || segment.has(FIN);
        if segment.data.is_empty() || segment.has(RST) {
            continue;
        }
        let confirmed = stream.back.iter().any(|back| {
            back.round <= *round
                && back.segment.has(SYN)
                && back.segment.has(ACK)
                && all
                    .iter()
                    .any(|passed| passed.initial.wrapping_add(1) == back.segment.acknowledgement)
        });
        ensure!(confirmed, "data has passed before the server's SYN-ACK: #{number}");
        let passed = all.last_mut().context("data has passed before any SYN")?;
        for (at, octet) in (0..).zip(&segment.data) {
            let sequence = segment.sequence.wrapping_add(at);
            let before = passed.octets.insert(sequence, *octet);
            let at = sequence.wrapping_sub(passed.initial) as i32;
            ensure!(
                before.is_none_or(|before| before == *octet),
                "two values have passed at {at}: {before:?}, then {octet} in #{number}",
            );
        }
    }
    Ok(all)
}

/// Whether a connection has ended by then, for all that the server has shown.
fn ended(stream: &Stream, round: u64) -> bool {
    stream
        .back
        .iter()
        .any(|back| back.round <= round && (back.segment.has(RST) || back.segment.has(FIN)))
}

/// Checks that the server has read the passed octets, which ask for allowed names; returns the
/// number of messages.
fn judge_reading(reading: &Reading, all: &[Passed]) -> Result<u64> {
    let octets = &reading.octets;
    let passed = all.iter().any(|passed| {
        let mut stream = passed.stream();
        octets.iter().all(|octet| stream.next() == Some(*octet))
    });
    let (messages, tail) = messages::split(octets);
    for message in &messages {
        let asked = messages::asked(message);
        let allowed = asked.as_ref().is_some_and(|asked| messages::is_allowed(&asked.name));
        ensure!(allowed, "the server has read a message that asks {asked:?}");
    }
    ensure!(messages::may_become_allowed(tail), "the server has read the beginning {tail:x?}");
    ensure!(passed, "the server has not read what has passed");
    Ok(messages.len() as u64)
}

/// Every answer that has come answers an allowed query that has passed. The queries answered.
fn judge_answers(stream: &Stream, all: &[Passed]) -> Result<Vec<Asked>> {
    let mut asked: Vec<Asked> = Vec::new();
    for passed in all {
        let octets: Vec<u8> = passed.stream().collect();
        let (messages, _) = messages::split(&octets);
        let queries = messages.iter().filter_map(|message| messages::asked(message));
        asked.extend(queries.filter(|query| messages::is_allowed(&query.name)));
    }
    let forged = |crossed: &Crossed| {
        crossed.segment.number == FORGED as u16
            && crossed.segment.stamp.is_none()
            && crossed.segment.sequence == FORGED
    };
    ensure!(!stream.back.iter().any(forged), "what an accomplice has forged has come");
    let mut answered = Vec::new();
    for message in stream.answers() {
        match messages::answered(&message) {
            Some(Ok(query)) => {
                ensure!(
                    asked.contains(&query),
                    "an answer has come that nobody asked for: {query:?}"
                );
                answered.push(query);
            }
            Some(Err(id)) => ensure!(
                asked.iter().any(|query| query.id == id),
                "an error has come for a query that nobody sent: {id}",
            ),
            None => bail!("what has come is no answer: {message:x?}"),
        }
    }
    Ok(answered)
}
