//! Decodes the records of the ring buffer.

use intune_filter_ebpf::abi::{
    AnswerEvent, DeniedEvent, EventKind, FlowEvent, FlowKey, QUESTION_CAPACITY, QueryHead,
    SegmentEvent, V6,
};

use crate::kernel::pod;

/// A record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Record<'a> {
    /// Denied packet.
    Denied(DeniedEvent),
    /// Answer to a query that went to a client, with its DNS message.
    Answer(AnswerEvent, &'a [u8]),
    /// Opening of a flow.
    Opened(FlowEvent),
    /// End of a flow.
    Closed(FlowEvent),
    /// Denied DNS query, with its question: name, type, class.
    Query(QueryHead, &'a [u8]),
    /// Segment of a DNS answer over TCP that is held back until it is read, with its data.
    Segment(SegmentEvent, &'a [u8]),
}

/// Decodes a record; `None` for a kind unknown to this version, or a record that is cut.
#[must_use]
pub fn read(record: &[u8]) -> Option<Record<'_>> {
    let (kind, _) = record.split_first_chunk()?;
    match u32::from_ne_bytes(*kind) {
        kind if kind == EventKind::Denied as u32 => {
            Some(Record::Denied(pod::split_first(record)?.0))
        }
        kind if kind == EventKind::Answer as u32 => {
            let (event, message): (AnswerEvent, _) = pod::split_first(record)?;
            Some(Record::Answer(event, message.get(..usize::try_from(event.length).ok()?)?))
        }
        kind if kind == EventKind::Opened as u32 => {
            Some(Record::Opened(pod::split_first(record)?.0))
        }
        kind if kind == EventKind::Closed as u32 => {
            Some(Record::Closed(pod::split_first(record)?.0))
        }
        kind if kind == EventKind::Segment as u32 => {
            let (event, data): (SegmentEvent, _) = pod::split_first(record)?;
            Some(Record::Segment(event, data.get(..usize::try_from(event.length).ok()?)?))
        }
        kind if kind == EventKind::Query as u32 => {
            let (head, question): (QueryHead, _) = pod::split_first(record)?;
            Some(Record::Query(head, question.get(..QUESTION_CAPACITY)?))
        }
        _ => None,
    }
}

/// Returns the key of a record's flow.
#[must_use]
pub fn key_of(event: &FlowEvent) -> FlowKey<V6> {
    FlowKey {
        zone: event.zone,
        protocol: event.protocol,
        reserved: 0,
        client_port: event.client_port,
        remote_port: event.remote_port,
        client: event.client,
        remote: event.remote,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernel::pod::octets;

    #[test]
    fn records_are_told_apart_by_their_kind() {
        let denied = DeniedEvent { kind: 1, ifindex: 4, ..DeniedEvent::default() };
        assert_eq!(read(&octets(&denied)), Some(Record::Denied(denied)));
        for (kind, ending) in [(3, 0), (4, 2)] {
            let flow = FlowEvent { kind, ending, protocol: 6, ..FlowEvent::default() };
            let expected = if kind == 3 { Record::Opened(flow) } else { Record::Closed(flow) };
            assert_eq!(read(&octets(&flow)), Some(expected));
        }
        let answer = AnswerEvent {
            kind: 2,
            length: 3,
            rules: [0, 130].into_iter().collect(),
            ..AnswerEvent::default()
        };
        let mut record = octets(&answer);
        record.extend_from_slice(b"abc and what fills the record up");
        assert_eq!(read(&record), Some(Record::Answer(answer, b"abc")));
        let segment = SegmentEvent { kind: 5, length: 2, port: 5, ..SegmentEvent::default() };
        let mut record = octets(&segment);
        record.extend_from_slice(b"abc");
        assert_eq!(read(&record), Some(Record::Segment(segment, b"ab")));
        let query = QueryHead { kind: 6, zone: 2, ..QueryHead::default() };
        let record = [octets(&query), vec![7; QUESTION_CAPACITY]].concat();
        assert_eq!(read(&record), Some(Record::Query(query, &[7; QUESTION_CAPACITY])));
        assert_eq!(read(&record[..record.len() - 1]), None);
    }

    #[test]
    fn a_record_that_is_cut_off_or_unknown_is_none() {
        let mut record = octets(&AnswerEvent { kind: 2, length: 3, ..AnswerEvent::default() });
        record.extend_from_slice(b"ab");
        assert_eq!(read(&record), None);
        assert_eq!(read(&record[..20]), None);
        assert_eq!(read(&9_u32.to_ne_bytes()), None);
        assert_eq!(read(&[]), None);
    }
}
