//! What the kernel's programs report, taken in: answers are learned from, segments of answers put
//! together and let pass, and all of it told as events. Reads no ring and no clock.

mod segments;
mod tables;
#[cfg(test)]
mod tests;

use anyhow::Result;
use intune_filter_ebpf::abi::{AnswerEvent, answer_flags, host_owner};

pub(crate) use tables::Tables;

use crate::{
    dns_tcp::Streams,
    events::{recorder::EventRecorder, records::Record},
    names::{answer::Answer, learning::Learner},
};

/// What becomes of the addresses that the kernel says to have learned from an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Learned {
    /// They are in its tables.
    Stand,
    /// A change of the policy may have taken them away again: they are entered where they are
    /// missing.
    AreEntered,
}

/// All that goes by the kernel's reports.
pub(crate) struct Intake {
    /// The names, and what is known of the answers behind each address.
    pub(crate) learner: Learner,
    /// What can be told of.
    pub(crate) recorder: EventRecorder,
    streams: Streams,
}

impl Intake {
    /// An intake that has heard of nothing yet.
    pub(crate) fn new(learner: Learner) -> Self {
        Self { learner, recorder: EventRecorder::default(), streams: Streams::default() }
    }

    /// Takes in a record at a time of CLOCK_BOOTTIME.
    ///
    /// # Errors
    /// An address that is to be entered cannot be. What else fails with an answer is logged: what
    /// the kernel has learned stays, and the next answer is another chance.
    pub(crate) fn take_in(
        &mut self,
        record: &Record<'_>,
        tables: &impl Tables,
        learned: Learned,
        now: u64,
    ) -> Result<()> {
        match record {
            Record::Answer(event, message) if event.flags & answer_flags::UNTAUGHT != 0 => {
                self.recorder.seen(event, message);
            }
            Record::Answer(event, message) if event.flags & answer_flags::CONFLICT != 0 => {
                if let Some((name, addresses)) = self.learner.take_back(event, message) {
                    let count = addresses.len();
                    log::warn!("answer_conflict: answers differ; {count} addresses are taken back");
                    self.recorder.disputed(event, name, addresses);
                }
            }
            Record::Answer(event, message) if event.flags & answer_flags::DEFERRED != 0 => {
                if let Err(error) = self.learn_and_tell(event, message, tables) {
                    log::error!("cannot learn the rest of an answer: {error:#}");
                }
            }
            Record::Answer(event, message) => {
                self.take_in_answer(event, message, tables, learned)?;
            }
            Record::Segment(event, data) => {
                // What is not read passes after a while.
                if let Err(error) = self.take_in_segment(event, data, tables, now) {
                    log::error!("cannot read an answer over TCP: {error:#}");
                }
            }
            Record::Denied(_) | Record::Query(..) | Record::Opened(_) | Record::Closed(_) => {
                self.recorder.take(record, self.learner.names());
            }
        }
        Ok(())
    }

    /// Learns from an answer that the kernel has not learned from, and enters what it teaches into
    /// the kernel's tables; `None` if nothing is to be learned.
    ///
    /// # Errors
    /// The kernel's tables cannot be written.
    pub(crate) fn learn(
        &mut self,
        event: &AnswerEvent,
        message: &[u8],
        tables: &impl Tables,
    ) -> Result<Option<Answer>> {
        let Some(answer) = self.learner.learn(event, message) else { return Ok(None) };
        let seed = tables.question_seed()?;
        let owner = host_owner(seed, event.zone, event.client, answer.rules.lowest());
        for (address, expires) in &answer.addresses {
            if let Some(versions) = tables.refresh_host(*address, answer.rules, *expires, owner)? {
                self.learner.refreshed(*address, versions);
            }
        }
        Ok(Some(answer))
    }

    fn learn_and_tell(
        &mut self,
        event: &AnswerEvent,
        message: &[u8],
        tables: &impl Tables,
    ) -> Result<()> {
        if let Some(answer) = self.learn(event, message, tables)? {
            self.tell(event, &answer);
        }
        Ok(())
    }

    /// Takes in an answer that the kernel has learned from, or had no room for.
    fn take_in_answer(
        &mut self,
        event: &AnswerEvent,
        message: &[u8],
        tables: &impl Tables,
        learned: Learned,
    ) -> Result<()> {
        let Some(answer) = self.learner.take(event, message) else { return Ok(()) };
        if event.flags & answer_flags::LEARNED != 0 && learned == Learned::AreEntered {
            for (address, expires) in &answer.addresses {
                if let Some(versions) = tables.ensure_host(*address, answer.rules, *expires)? {
                    self.learner.refreshed(*address, versions);
                }
            }
        }
        self.tell(event, &answer);
        Ok(())
    }

    fn tell(&mut self, event: &AnswerEvent, answer: &Answer) {
        self.recorder.learned(event, answer, self.learner.services(answer.rules));
    }
}
