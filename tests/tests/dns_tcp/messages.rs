//! Queries that streams are made of, and what a reader takes octets for.

use hickory_proto::{
    op::{Message, MessageType, OpCode, Query, ResponseCode},
    rr::{RData, Record, RecordType, rdata},
    serialize::binary::{BinDecodable as _, BinDecoder},
};
use intune_filter_tests::{random::Random, records::addresses};

/// Domain of every allowed name, by the site's service `web`.
const ALLOWED: &str = "web.test";
/// Domain of every denied name, of the same length.
pub const DENIED: &str = "bad.test";
/// Octets of a length before a message.
pub const PREFIX: usize = 2;
/// Octets of a header.
pub const HEADER: usize = 12;
/// A query is no longer.
const LONGEST: usize = 1024;

/// The first labels of names.
pub const LABELS: [&str; 6] = ["www", "static", "mail-1", "a", "under.deep", "x0123456789"];

/// A name that the client may ask for.
#[must_use]
pub fn allowed(label: &str) -> String {
    format!("{label}.{ALLOWED}")
}

/// A name as long that it may not.
#[must_use]
pub fn denied(label: &str) -> String {
    format!("{label}.{DENIED}")
}

/// Whether the client may ask for a name.
#[must_use]
pub fn is_allowed(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    name.trim_end_matches('.').strip_suffix(ALLOWED).is_some_and(|rest| rest.ends_with('.'))
}

/// A message with its length before it.
#[must_use]
pub fn framed(message: &[u8]) -> Vec<u8> {
    [&(message.len() as u16).to_be_bytes()[..], message].concat()
}

/// A query; with padding, in an OPT record (RFC 7830), if there is any.
#[must_use]
pub fn query(id: u16, name: &str, kind: RecordType, padding: &[u8]) -> Vec<u8> {
    let additional = u16::from(!padding.is_empty());
    let header = [id, 0x0100, 1, 0, 0, additional];
    let mut octets: Vec<u8> = header.iter().flat_map(|word| word.to_be_bytes()).collect();
    for label in name.split('.') {
        octets.push(label.len() as u8);
        octets.extend(label.as_bytes());
    }
    octets.push(0);
    octets.extend([u16::from(kind), 1].iter().flat_map(|word| word.to_be_bytes()));
    if !padding.is_empty() {
        let length = padding.len() as u16;
        octets.extend([0, 0, 41, 0x04, 0xd0, 0, 0, 0, 0]);
        octets.extend([length + 4, 12, length].iter().flat_map(|word| word.to_be_bytes()));
        octets.extend(padding);
    }
    octets
}

/// One message of a stream, and another as long that asks for a denied name.
#[derive(Clone, Debug)]
pub struct Pair {
    /// The message with its length.
    pub message: Vec<u8>,
    /// Its twin.
    pub twin: Vec<u8>,
    /// Offset of another message in the padding of both, for a denied name: a reader that begins
    /// there finds nothing amiss.
    pub inner: Option<usize>,
}

/// Where a message holds another one, for a denied name, that a reader finds who misses the second
/// octet of its length.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Carries {
    /// Nowhere.
    Nothing,
    /// In its padding, behind what then is a message that asks wrongly: unbound goes on there.
    Padding,
    /// In its name, behind what then are messages shorter than a header: dnsmasq passes over those.
    Name,
}

/// An allowed query and its twin.
pub fn pair(random: &mut Random, carries: Carries) -> Pair {
    let label = *random.pick(&LABELS);
    let kind = if random.once_in(2) { RecordType::A } else { RecordType::AAAA };
    let id = random.next() as u16;
    let inside = *random.pick(&LABELS);
    let inside = framed(&query(random.next() as u16, &denied(inside), kind, &[]));
    let both = |id, padding: &[u8]| {
        [allowed(label), denied(label)].map(|name| query(id, &name, kind, padding))
    };
    let framed = |[message, twin]: [Vec<u8>; 2], inner| Pair {
        message: framed(&message),
        twin: framed(&twin),
        inner,
    };
    match carries {
        Carries::Nothing => framed(both(id, &[]), None),
        Carries::Padding => {
            let filler = vec![0; random.within(0..24) as usize];
            let [bare, _] = both(id, &[0]);
            let inner = PREFIX + bare.len() - 1 + filler.len();
            // Such a reader takes the identifier's first octet for the length's second one.
            let id = u16::from_be_bytes([(inner - PREFIX - 1) as u8, id as u8]);
            let padding = [&filler[..], &inside, &vec![0; random.within(0..9) as usize]].concat();
            framed(both(id, &padding), Some(inner))
        }
        Carries::Name => {
            // Nine octets are passed over, up to the count of additional records, then that many.
            let id = u16::from_be_bytes([9, id as u8]);
            let mut messages = both(id, &[0]);
            let label = label.split('.').next().unwrap_or_default();
            for message in &mut messages {
                let new = [&[inside.len() as u8], &inside[..]].concat();
                message.splice(HEADER..HEADER + 1 + label.len(), new);
            }
            framed(messages, Some(PREFIX + HEADER + 1))
        }
    }
}

/// Question of a query.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Asked {
    /// Its identifier.
    pub id: u16,
    /// The name.
    pub name: String,
    /// The type.
    pub kind: u16,
}

/// Question of a message; `None` if it is no query with one question. Octets behind the question
/// are ignored.
#[must_use]
pub fn asked(message: &[u8]) -> Option<Asked> {
    let id = u16::from_be_bytes([octet(message, 0), octet(message, 1)]);
    let mut decoder = BinDecoder::new(message.get(HEADER..)?);
    let question = Query::read(&mut decoder).ok()?;
    is_beginning_of_query(message).then(|| of_question(id, &question))
}

/// Question that a message answers; for a message without one `Err` with its identifier.
pub fn answered(message: &[u8]) -> Option<Result<Asked, u16>> {
    let Ok(answer) = Message::from_vec(message) else { return sent_back(message).map(Ok) };
    if answer.queries.is_empty() && answer.answers.is_empty() {
        return Some(Err(answer.metadata.id));
    }
    question(&answer).map(Ok)
}

/// Question of a query that a resolver could not read behind it and sent back as it came: unbound
/// leaves the numbers of records that are not there.
fn sent_back(message: &[u8]) -> Option<Asked> {
    let is_response = octet(message, 2) & 0x80 != 0;
    let is_format_error = octet(message, 3) & 0x0f == ResponseCode::FormErr.low();
    if !(is_response && is_format_error) {
        return None;
    }
    let id = u16::from_be_bytes([octet(message, 0), octet(message, 1)]);
    let mut decoder = BinDecoder::new(message.get(HEADER..)?);
    Some(of_question(id, &Query::read(&mut decoder).ok()?))
}

fn question(message: &Message) -> Option<Asked> {
    let [question] = message.queries.as_slice() else { return None };
    Some(of_question(message.metadata.id, question))
}

fn of_question(id: u16, question: &Query) -> Asked {
    Asked { id, name: text(question.name.iter()), kind: question.query_type.into() }
}

/// A name as text in which no letter of a label can be taken for a dot.
fn text<'a>(labels: impl Iterator<Item = &'a [u8]>) -> String {
    let mut text = String::new();
    for label in labels {
        for octet in label {
            match octet {
                b'a'..=b'z' | b'0'..=b'9' | b'-' => text.push(char::from(*octet)),
                b'A'..=b'Z' => text.push(char::from(octet.to_ascii_lowercase())),
                _ => text += &format!("\\{octet:03}"),
            }
        }
        text.push('.');
    }
    text
}

/// A plausible answer to whatever a reader takes for a message.
#[must_use]
pub fn answer(message: &[u8]) -> Vec<u8> {
    let id = u16::from_be_bytes([octet(message, 0), octet(message, 1)]);
    let Ok(query) = Message::from_vec(message) else {
        let error = Message::error_msg(id, OpCode::Query, ResponseCode::FormErr);
        return error.to_vec().unwrap_or_default();
    };
    let mut answer = Message::new(id, MessageType::Response, OpCode::Query);
    for question in query.queries {
        let length: usize = question.name.iter().map(<[u8]>::len).sum();
        let [v4, v6] = addresses(200 + length as u32);
        for address in [v4, v6] {
            let data = match address {
                std::net::IpAddr::V4(v4) => RData::A(rdata::A(v4)),
                std::net::IpAddr::V6(v6) => RData::AAAA(rdata::AAAA(v6)),
            };
            if data.record_type() == question.query_type {
                answer.add_answer(Record::from_rdata(question.name.clone(), 300, data));
            }
        }
        answer.add_query(question);
    }
    answer.to_vec().unwrap_or_default()
}

fn octet(octets: &[u8], at: usize) -> u8 {
    octets.get(at).copied().unwrap_or(0)
}

/// Octets cut into messages by the lengths before them, and what is left behind the last.
#[must_use]
pub fn split(mut octets: &[u8]) -> (Vec<&[u8]>, &[u8]) {
    let mut messages = Vec::new();
    while let [high, low, rest @ ..] = octets {
        let length = usize::from(u16::from_be_bytes([*high, *low]));
        let Some((message, behind)) = rest.split_at_checked(length) else { break };
        messages.push(message);
        octets = behind;
    }
    (messages, octets)
}

/// Whether the beginning of a message can be that of a query for an allowed name.
#[must_use]
pub fn may_become_allowed(tail: &[u8]) -> bool {
    let Some((prefix, message)) = tail.split_at_checked(PREFIX) else {
        return tail.iter().all(|high| usize::from(*high) <= LONGEST >> 8);
    };
    let length = usize::from(u16::from_be_bytes([octet(prefix, 0), octet(prefix, 1)]));
    if !(HEADER..=LONGEST).contains(&length) {
        return false;
    }
    is_beginning_of_query(message) && name_of(message).is_none_or(|name| is_allowed(&name))
}

/// Whether a header, as far as it is there, is that of a query with one question.
fn is_beginning_of_query(message: &[u8]) -> bool {
    // QR and opcode 0; one question; no answers, no authorities.
    message.get(2).is_none_or(|flags| flags & 0xf8 == 0)
        && [0, 1, 0, 0, 0, 0]
            .iter()
            .enumerate()
            .all(|(at, expected)| message.get(4 + at).is_none_or(|found| found == expected))
}

/// The name in a message's question, if it is whole.
fn name_of(message: &[u8]) -> Option<String> {
    let mut labels = Vec::new();
    let mut at = HEADER;
    loop {
        let length = usize::from(*message.get(at)?);
        if length == 0 {
            return Some(text(labels.into_iter()));
        }
        labels.push(message.get(at + 1..at + 1 + length)?);
        at += 1 + length;
    }
}

#[test]
fn a_reader_that_misses_the_second_octet_finds_the_message_inside() {
    let mut random = Random::new(7, "carriers");
    for number in 0..200 {
        let carries = if number % 2 == 0 { Carries::Padding } else { Carries::Name };
        let Pair { message, twin, inner } = pair(&mut random, carries);
        let inner = inner.expect("it carries one");
        let is_denied =
            |message: &[u8]| asked(message).is_some_and(|asked| !is_allowed(&asked.name));
        let (outer, rest) = split(&message);
        assert!(rest.is_empty() && asked(outer[0]).is_some_and(|a| is_allowed(&a.name)));
        assert!(is_denied(split(&twin).0[0]));
        assert!(is_denied(split(&message[inner..]).0[0]));
        let missed = [&message[..1], &message[2..]].concat();
        assert!(split(&missed).0.iter().any(|message| is_denied(message)), "{carries:?}");
        for cut in 0..message.len() {
            assert!(may_become_allowed(&message[..cut]));
        }
        assert!(!may_become_allowed(&twin[..twin.len() - 1]));
    }
}
