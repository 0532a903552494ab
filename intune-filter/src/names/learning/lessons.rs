//! Remembers for a while which addresses each answer was the first to give to its name, so that they
//! can be taken back.

use std::{collections::VecDeque, net::IpAddr};

use intune_filter_ebpf::abi::{AnswerEvent, Pending, V6};

/// Answers that are remembered.
const MOST: usize = 4096;

/// A query of a client, as far as its answers repeat it.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Query {
    client: V6,
    zone: u16,
    id: [u8; 2],
    name: String,
}

/// Recent answers, oldest first.
#[derive(Debug, Default)]
pub(super) struct Lessons {
    recent: VecDeque<(u64, Query, Vec<IpAddr>)>,
}

impl Lessons {
    /// Remembers the addresses that an answer has given to a name which did not have them.
    pub(super) fn remember(
        &mut self,
        event: &AnswerEvent,
        message: &[u8],
        name: &str,
        addresses: Vec<IpAddr>,
    ) {
        while let Some((time, ..)) = self.recent.front()
            && (self.recent.len() >= MOST || time.saturating_add(Pending::PATIENCE) < event.time)
        {
            self.recent.pop_front();
        }
        if let Some(query) = query(event, message, name)
            && !addresses.is_empty()
        {
            self.recent.push_back((event.time, query, addresses));
        }
    }

    /// Forgets what answers to the same query as this one have given, and returns it.
    pub(super) fn take_back(
        &mut self,
        event: &AnswerEvent,
        message: &[u8],
        name: &str,
    ) -> Vec<IpAddr> {
        let Some(query) = query(event, message, name) else { return Vec::new() };
        let mut taken = Vec::new();
        self.recent.retain_mut(|(_, other, addresses)| {
            if *other == query {
                taken.append(addresses);
                return false;
            }
            true
        });
        taken.sort_unstable();
        taken.dedup();
        taken
    }
}

fn query(event: &AnswerEvent, message: &[u8], name: &str) -> Option<Query> {
    let id = *message.first_chunk()?;
    Some(Query { client: event.client, zone: event.zone, id, name: name.to_owned() })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(time: u64, zone: u16) -> AnswerEvent {
        AnswerEvent { time, zone, ..AnswerEvent::default() }
    }

    fn addresses(last: &[u8]) -> Vec<IpAddr> {
        last.iter().map(|last| IpAddr::from([192, 0, 2, *last])).collect()
    }

    #[test]
    fn answers_to_one_query_are_taken_back_and_no_others() {
        let mut lessons = Lessons::default();
        lessons.remember(&event(1, 1), &[0, 7], "a.test", addresses(&[1, 2]));
        lessons.remember(&event(2, 1), &[0, 7], "a.test", addresses(&[2, 3]));
        lessons.remember(&event(2, 1), &[0, 8], "a.test", addresses(&[4]));
        lessons.remember(&event(2, 2), &[0, 7], "a.test", addresses(&[5]));
        lessons.remember(&event(2, 1), &[0, 7], "b.test", addresses(&[6]));
        let taken = lessons.take_back(&event(3, 1), &[0, 7, 9], "a.test");
        assert_eq!(taken, addresses(&[1, 2, 3]));
        assert_eq!(lessons.take_back(&event(3, 1), &[0, 7], "a.test"), addresses(&[]));
        assert_eq!(lessons.take_back(&event(3, 2), &[0, 7], "a.test"), addresses(&[5]));
    }

    #[test]
    fn what_is_old_is_forgotten() {
        let mut lessons = Lessons::default();
        lessons.remember(&event(1, 1), &[0, 7], "a.test", addresses(&[1]));
        lessons.remember(&event(2 + Pending::PATIENCE, 1), &[0, 8], "a.test", addresses(&[2]));
        assert_eq!(lessons.recent.len(), 1);
        for number in 0..=u16::MAX {
            lessons.remember(&event(2, 1), &number.to_be_bytes(), "a.test", addresses(&[3]));
        }
        assert_eq!(lessons.recent.len(), MOST);
    }
}
