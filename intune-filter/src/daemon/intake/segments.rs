//! Answers over TCP that the kernel leaves to userspace: learned from, and let pass afterwards.

use anyhow::Result;
use intune_filter_ebpf::{
    abi::{AnswerEvent, PendingKey, SegmentEvent, Standing, StreamRead, answer_flags},
    packet::TCP,
};

use super::{Intake, Tables};
use crate::kernel::NO_MORE;

/// What a message on a stream is to the kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Message {
    /// The first answer to a recorded query.
    Answer,
    /// Another answer to one.
    Repetition,
    /// Nothing that was asked for.
    Unsolicited,
}

impl Intake {
    /// Takes in a segment of an answer over TCP.
    pub(super) fn take_in_segment(
        &mut self,
        segment: &SegmentEvent,
        data: &[u8],
        tables: &impl Tables,
        now: u64,
    ) -> Result<()> {
        let Some(read) = self.streams.take(segment, data, now) else { return Ok(()) };
        let (mut answered, mut solicited) = (0, true);
        for message in &read.messages {
            match self.take_in_message(segment, message, tables, now)? {
                Message::Answer => answered += 1,
                Message::Repetition => {}
                Message::Unsolicited => solicited = false,
            }
        }
        if !solicited {
            log::debug!("a segment of a resolver's answers no recorded query: it does not pass");
            // Nothing further does on this connection: where it stands is not known any more.
            let (key, stale) =
                (read.key, StreamRead { answer_next: segment.answer_next, ..read.read });
            return tables.release(&key, stale, NO_MORE);
        }
        // Last of all: what passes was learned from.
        tables.release(&read.key, read.read, answered)
    }

    fn take_in_message(
        &mut self,
        segment: &SegmentEvent,
        message: &[u8],
        tables: &impl Tables,
        now: u64,
    ) -> Result<Message> {
        let Some(key) = query(segment, message) else { return Ok(Message::Unsolicited) };
        let Some(mut pending) = tables.pending(&key)? else { return Ok(Message::Unsolicited) };
        let seed = tables.question_seed()?;
        let Some((question, digest)) = self.learner.hashes(message, seed) else {
            return Ok(Message::Unsolicited);
        };
        if pending.is_late(now) || !pending.bring_forward(question) {
            return Ok(Message::Unsolicited);
        }
        // Whoever can forge an octet of a connection can forge all of it: nothing is in dispute.
        if pending.answer(digest) != Standing::COUNTS {
            return Ok(Message::Repetition);
        }
        tables.answer(&key, &pending)?;
        let (client, zone) = (segment.client, segment.zone);
        let flags = answer_flags::DEFERRED;
        let event = AnswerEvent { time: now, client, zone, flags, ..AnswerEvent::default() };
        self.learn_and_tell(&event, message, tables)?;
        Ok(Message::Answer)
    }
}

/// The query that a message says to answer.
fn query(segment: &SegmentEvent, message: &[u8]) -> Option<PendingKey> {
    let id = message.first_chunk()?;
    Some(PendingKey {
        zone: segment.zone,
        port: segment.port,
        id: u16::from_ne_bytes(*id),
        protocol: u16::from(TCP),
        client: segment.client,
        resolver: segment.resolver,
    })
}
