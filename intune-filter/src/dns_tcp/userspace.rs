//! Learns from the answers that the kernel leaves to userspace, and lets them pass.

use anyhow::Result;
use intune_filter_ebpf::{
    abi::{AnswerEvent, Pending, PendingKey, SegmentEvent, StreamRead, answer_flags},
    packet::TCP,
};

use super::reassembly::Streams;
use crate::{
    events::recorder::EventRecorder,
    kernel::{Kernel, NO_MORE},
    names::learning::Learner,
    system::clock,
};

/// How long an answer is waited for, as in the kernel.
const QUERY_TIMEOUT: u64 = 30_000_000_000;

/// The streams that wait, and the kernel that waits for them.
pub struct Punted<'a> {
    /// The streams.
    pub streams: &'a mut Streams,
    /// The kernel side in force.
    pub kernel: &'a Kernel,
}

impl Punted<'_> {
    /// Takes a segment in.
    pub fn take(
        &mut self,
        segment: &SegmentEvent,
        data: &[u8],
        learner: &mut Learner,
        recorder: &mut EventRecorder,
    ) -> Result<()> {
        let now = clock::boot_time();
        let Some(read) = self.streams.take(segment, data, now) else { return Ok(()) };
        let (mut answered, mut solicited) = (0, true);
        for message in &read.messages {
            let Some((key, pending)) = self.query(segment, message)? else {
                solicited = false;
                continue;
            };
            let seed = self.kernel.pins().active()?.seed;
            if now.saturating_sub(pending.asked) > QUERY_TIMEOUT
                || !learner.is_answer_to(message, pending.question, seed)
            {
                solicited = false;
                continue;
            }
            if pending.answered != 0 {
                continue;
            }
            self.kernel.consume(&key, pending)?;
            answered += 1;
            let (client, zone) = (segment.client, segment.zone);
            let flags = answer_flags::DEFERRED;
            let event = AnswerEvent { time: now, client, zone, flags, ..AnswerEvent::default() };
            let Some(answer) = learner.learn_and_install(self.kernel, &event, message)? else {
                continue;
            };
            recorder.learned(&event, &answer, learner.services(answer.rules));
        }
        if !solicited {
            log::debug!("a segment of a resolver's answers no recorded query: it does not pass");
            // Nothing further does on this connection: where it stands is not known any more.
            let (key, stale) =
                (read.key, StreamRead { answer_next: segment.answer_next, ..read.read });
            return self.kernel.release(&key, stale, NO_MORE);
        }
        // Last of all: what passes was learned from.
        self.kernel.release(&read.key, read.read, answered)
    }

    /// The query that a message says to answer.
    fn query(
        &self,
        segment: &SegmentEvent,
        message: &[u8],
    ) -> Result<Option<(PendingKey, Pending)>> {
        let Some(id) = message.first_chunk() else { return Ok(None) };
        let key = PendingKey {
            zone: segment.zone,
            port: segment.port,
            id: u16::from_ne_bytes(*id),
            protocol: u16::from(TCP),
            client: segment.client,
            resolver: segment.resolver,
        };
        Ok(self.kernel.pending(&key)?.map(|pending| (key, pending)))
    }
}
