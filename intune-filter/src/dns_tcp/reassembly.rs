//! Reassembles DNS messages from the TCP segments of resolvers: segments in, messages out, no I/O.
//!
//! The kernel holds such segments back until it is told that they were read. Each segment comes
//! with the position of the first unread message.

use std::collections::{BTreeMap, HashMap};

use intune_filter_ebpf::{
    abi::{FlowKey, SegmentEvent, StreamRead, V6},
    packet::TCP,
};

/// Streams at most; the one that has waited longest is dropped first.
const STREAMS: usize = 256;
/// Octets kept of one stream: the longest message with its length, and a window's worth of data
/// received ahead.
const STREAM_MAX: usize = 128 * 1024;
/// Parts kept of one stream: the longest message in segments of an eighth of the usual size. Each
/// part costs memory of its own, and every new segment walks through all.
const PARTS_MAX: usize = 512;
/// Octets kept of all streams.
const TOTAL_MAX: usize = 16 * 1024 * 1024;
/// Time for which a stream is kept, in nanoseconds. The kernel waits for a second only, and
/// resolvers give up after a few.
const STREAM_TIMEOUT: u64 = 10_000_000_000;

/// Port of DNS, in network byte order.
const DNS_PORT: u16 = 53_u16.to_be();

/// Messages of a stream that are complete.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct WholeMessages {
    /// Complete messages, in order.
    pub messages: Vec<Vec<u8>>,
    /// Key of the stream in the kernel's maps.
    pub key: FlowKey<V6>,
    /// Progress to report to the kernel once the messages were learned from; the caller adds the
    /// number of queries that they answer.
    pub read: StreamRead,
}

/// Streams with segments that wait for others.
#[derive(Debug, Default)]
pub(crate) struct Streams {
    streams: HashMap<FlowKey<V6>, Stream>,
    octets: usize,
}

#[derive(Debug)]
struct Stream {
    opened: u64,
    since: u64,
    /// Sequence number of the first unread message.
    next: u32,
    /// Data by its distance from `next`, in octets.
    parts: BTreeMap<usize, Vec<u8>>,
}

impl Streams {
    /// Adds a segment, or a part of one, at `now` in nanoseconds. Returns the messages that it
    /// completes.
    pub(crate) fn take(
        &mut self,
        event: &SegmentEvent,
        data: &[u8],
        now: u64,
    ) -> Option<WholeMessages> {
        let key = FlowKey {
            zone: event.zone,
            protocol: TCP,
            reserved: 0,
            client_port: event.port,
            remote_port: DNS_PORT,
            client: event.client,
            remote: event.resolver,
        };
        self.forget(|_, stream| now.saturating_sub(stream.since) > STREAM_TIMEOUT);
        if self.streams.get(&key).is_some_and(|stream| stream.opened != event.opened) {
            self.forget(|other, _| *other == key);
        }
        if self.streams.len() >= STREAMS && !self.streams.contains_key(&key) {
            self.forget_oldest();
        }
        let stream = self.streams.entry(key).or_insert_with(|| Stream {
            opened: event.opened,
            since: now,
            next: event.answer_next,
            parts: BTreeMap::new(),
        });
        let before = stream.octets();
        stream.go_on_to(event.answer_next);
        stream.keep(event.sequence, data);
        let messages = stream.whole_messages();
        let read = StreamRead { opened: stream.opened, answer_next: stream.next, answered: 0 };
        if stream.parts.is_empty() {
            self.octets -= before;
            self.streams.remove(&key);
        } else {
            self.octets = self.octets - before + stream.octets();
        }
        while self.octets > TOTAL_MAX {
            self.forget_oldest();
        }
        (!messages.is_empty()).then_some(WholeMessages { messages, key, read })
    }

    fn forget(&mut self, gone: impl Fn(&FlowKey<V6>, &Stream) -> bool) {
        let octets = &mut self.octets;
        self.streams.retain(|key, stream| {
            let gone = gone(key, stream);
            if gone {
                *octets -= stream.octets();
            }
            !gone
        });
    }

    fn forget_oldest(&mut self) {
        let oldest = self.streams.iter().min_by_key(|(_, stream)| stream.since);
        if let Some(key) = oldest.map(|(key, _)| *key) {
            self.forget(|other, _| *other == key);
        }
    }
}

impl Stream {
    fn octets(&self) -> usize {
        self.parts.values().map(Vec::len).sum()
    }

    /// Moves forward to `next`, up to which the kernel has read by itself.
    fn go_on_to(&mut self, next: u32) {
        let distance = next.wrapping_sub(self.next);
        // Backward is an older record of the ring buffer.
        if distance != 0 && distance < 1 << 31 {
            self.next = next;
            self.cut(distance as usize);
        }
    }

    /// Drops everything before a distance, and measures distances from there.
    fn cut(&mut self, distance: usize) {
        for (at, mut part) in std::mem::take(&mut self.parts) {
            let gone = distance.saturating_sub(at);
            if gone < part.len() {
                part.drain(..gone);
                self.parts.insert((at + gone) - distance, part);
            }
        }
    }

    /// Keeps a part, unless there is one in its place that is as long.
    fn keep(&mut self, sequence: u32, data: &[u8]) {
        let distance = sequence.wrapping_sub(self.next).cast_signed();
        let gone = usize::try_from(distance.min(0).unsigned_abs()).unwrap_or(usize::MAX);
        let Some(data) = data.get(gone..).filter(|data| !data.is_empty()) else { return };
        let at = usize::try_from(distance.max(0)).unwrap_or(usize::MAX);
        let full = self.parts.len() >= PARTS_MAX && !self.parts.contains_key(&at);
        if full || at.saturating_add(data.len()) > STREAM_MAX {
            return;
        }
        let there = self.parts.entry(at).or_default();
        // The first data received counts, since a forged segment may come at any time, with any
        // length.
        if there.is_empty() || (there.len() < data.len() && data.starts_with(there)) {
            *there = data.to_vec();
        }
    }

    /// Takes out the complete messages at the beginning.
    fn whole_messages(&mut self) -> Vec<Vec<u8>> {
        let mut octets: Vec<u8> = Vec::new();
        for (at, part) in &self.parts {
            if *at > octets.len() {
                break;
            }
            if let Some(new) = part.get(octets.len() - at..) {
                octets.extend_from_slice(new);
            }
        }
        let (mut messages, mut rest) = (Vec::new(), octets.as_slice());
        while let Some((length, after)) = rest.split_first_chunk() {
            let length = usize::from(u16::from_be_bytes(*length));
            let Some((message, after)) = after.split_at_checked(length) else { break };
            messages.push(message.to_vec());
            rest = after;
        }
        let read = octets.len() - rest.len();
        // Fits in 32 bits: a message has 65535 octets at most, and the kept data is bounded.
        self.next = self.next.wrapping_add(u32::try_from(read).unwrap_or_default());
        self.cut(read);
        messages
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BEGIN: u32 = u32::MAX - 40;

    fn event(at: u32, next: u32) -> SegmentEvent {
        SegmentEvent {
            opened: 5,
            sequence: BEGIN.wrapping_add(at),
            answer_next: BEGIN.wrapping_add(next),
            port: 7,
            zone: 1,
            ..SegmentEvent::default()
        }
    }

    fn framed(messages: &[&[u8]]) -> Vec<u8> {
        let mut octets = Vec::new();
        for message in messages {
            octets.extend(u16::try_from(message.len()).unwrap().to_be_bytes());
            octets.extend_from_slice(message);
        }
        octets
    }

    fn long() -> Vec<u8> {
        (0..200).collect()
    }

    #[test]
    fn segments_in_any_order_and_over_the_wrap_give_the_messages_once() {
        let octets = framed(&[&long(), b"second", &long()]);
        let orders: [&[usize]; 4] = [&[0, 1, 2], &[2, 1, 0], &[1, 0, 2], &[0, 0, 2, 1, 2, 1]];
        for order in orders {
            let mut streams = Streams::default();
            let (mut messages, mut last) = (Vec::new(), None);
            for part in order {
                let at = part * 140;
                let end = (at + 140).min(octets.len());
                let read = streams.take(&event(at as u32, 0), &octets[at..end], 0);
                if let Some(read) = read {
                    messages.extend(read.messages);
                    last = Some(read.read);
                }
            }
            // A repeated segment may complete a message again, whose query is consumed by then.
            messages.dedup();
            assert_eq!(messages, [long(), b"second".to_vec(), long()], "{order:?}");
            let end = BEGIN.wrapping_add(octets.len() as u32);
            assert_eq!(last, Some(StreamRead { opened: 5, answer_next: end, answered: 0 }));
        }
    }

    #[test]
    fn nothing_is_kept_of_what_was_read() {
        let mut streams = Streams::default();
        let octets = framed(&[&long()]);
        assert_eq!(streams.take(&event(0, 0), &octets[..50], 0), None);
        assert!(streams.take(&event(50, 0), &octets[50..], 0).is_some());
        assert_eq!((streams.octets, streams.streams.len()), (0, 0));
    }

    #[test]
    fn the_kernel_may_have_read_on() {
        let mut streams = Streams::default();
        assert_eq!(streams.take(&event(0, 0), &framed(&[&long()])[..50], 0), None);
        let octets = framed(&[&long()]);
        assert_eq!(streams.take(&event(500, 500), &octets[..100], 0), None);
        let read = streams.take(&event(600, 500), &octets[100..], 0).unwrap();
        assert_eq!(read.messages, [long()]);
    }

    #[test]
    fn another_connection_between_the_same_ports_is_another_stream() {
        let mut streams = Streams::default();
        let octets = framed(&[&long()]);
        streams.take(&event(0, 0), &octets[..50], 0);
        let other = SegmentEvent { opened: 6, ..event(50, 0) };
        assert_eq!(streams.take(&other, &octets[50..], 0), None);
    }

    #[test]
    fn what_comes_first_at_a_place_stays_unless_it_is_continued() {
        let octets = framed(&[&long()]);
        let mut streams = Streams::default();
        streams.take(&event(100, 0), &octets[100..], 0);
        streams.take(&event(100, 0), &[9; 300], 0);
        let read = streams.take(&event(0, 0), &octets[..100], 0).unwrap();
        assert_eq!(read.messages, [long()]);
    }

    #[test]
    fn memory_and_patience_are_bounded() {
        let mut streams = Streams::default();
        for port in 0..1000 {
            for at in 1..70_u32 {
                let event = SegmentEvent { port, ..event(at * 2048, 0) };
                assert_eq!(streams.take(&event, &[0; 2048], u64::from(port)), None);
            }
        }
        assert!(streams.streams.len() <= STREAMS && streams.octets <= TOTAL_MAX);
        assert!(streams.octets > TOTAL_MAX / 2);
        let sum: usize = streams.streams.values().map(Stream::octets).sum();
        assert_eq!(streams.octets, sum);
        streams.take(&event(1, 0), b"x", STREAM_TIMEOUT + 2000);
        assert_eq!(streams.octets, 1);
    }

    #[test]
    fn a_stream_in_crumbs_is_not_kept() {
        let mut streams = Streams::default();
        let octets = framed(&[&[7; 2 * PARTS_MAX]]);
        for (at, octet) in octets.iter().enumerate() {
            assert_eq!(streams.take(&event(at as u32, 0), &[*octet], 0), None);
        }
        assert_eq!(streams.octets, PARTS_MAX);
        // A repetition in larger parts is read as well.
        assert_eq!(streams.take(&event(0, 0), &octets[..600], 0), None);
        let read = streams.take(&event(0, 0), &octets, 0).unwrap();
        assert_eq!(read.messages, [vec![7; 2 * PARTS_MAX]]);
    }

    #[test]
    fn data_that_is_far_from_its_place_is_not_kept() {
        let mut streams = Streams::default();
        streams.take(&event(STREAM_MAX as u32, 0), b"x", 0);
        streams.take(&event(1 << 30, 0), b"x", 0);
        streams.take(&event(3 << 30, 0), b"x", 0);
        assert_eq!(streams.octets, 0);
    }
}
