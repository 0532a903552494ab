//! What an answer teaches, said slowly: names and data are decoded by hickory-proto, the rest is
//! plain lists. Where hickory is stricter or laxer than the kernel, the reason is given here.
//!
//! The rules, and where they come from:
//!
//! - The answer section is read to its end, or nothing is learned. What follows it is not read:
//!   neither authorities nor additional records teach, and a truncated message (RFC 2181 section
//!   9) may end there.
//! - A name is at most 255 octets (RFC 1035 section 2.3.4); pointers lead to a prior occurrence
//!   (section 4.1.4), so to before the labels that they continue, and none of the labels found
//!   there reach into those. Hickory says the same. More than 383 labels and pointers in one name
//!   are no name to the kernel; hickory has no such limit, nor does any encoder come near it.
//! - Data is read only where class and type say what it is: A, AAAA and CNAME of class IN must
//!   fill their data exactly. All else is opaque (RFC 3597); hickory, asked for a whole message,
//!   would refuse it for a malformed MX record that nobody asked for.
//! - Names are equal if their octets are but for ASCII case (RFC 4343).
//! - From the question's name the first CNAME of each name is followed, 16 at most, in whatever
//!   order they stand. A name with a CNAME has no other data (RFC 2181 section 10.1): addresses
//!   count only at the end, and a circle has none.
//! - A time to live with its highest bit set is 0 (RFC 2181 section 8).

use std::{collections::HashMap, net::IpAddr};

use hickory_proto::{
    op::Message,
    rr::{Name, RData, RecordType},
    serialize::binary::{BinDecodable as _, BinDecoder, Restrict},
};

use crate::site::{
    Learned, SECOND, START, TTL_GRACE, TTL_MAX, TTL_MIN, is_acceptable, rules_below,
};

/// Records of an answer section, and CNAMEs in a row, at most.
const RECORDS: u16 = 64;
const CHAIN: usize = 16;
/// Labels and pointers of a name at most.
const STEPS: usize = 383;

/// What an answer section says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Section {
    aliases: Vec<(Labels, Labels)>,
    addresses: Vec<(Labels, IpAddr, u32)>,
}

/// Labels in lower case.
type Labels = Vec<Vec<u8>>;

/// What becomes of a message that the resolver sends where a query waits for its answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It does not answer the query.
    Foreign,
    /// It answers, and there is nothing that it could teach: an error, or a name of no rule.
    Passes,
    /// Its answer section is refused.
    Malformed,
    /// It teaches these addresses, and others are refused, as many as that.
    Teaches(Learned, usize),
}

/// The outcome of `answer`, for a query that is `query` and was asked at the site's start.
pub fn outcome(query: &[u8], answer: &[u8]) -> Outcome {
    let end = 12 + question_length(query);
    if answer.len() < 12 || answer.len() >= 4096 || answer[..2] != query[..2] {
        return Outcome::Foreign;
    }
    // An error with nothing else, as servers answer what they cannot read (RFC 6891 section 7).
    let bare = answer[4..10] == [0; 6];
    if answer[2] & 0xf8 == 0x80 && answer[3] & 0x0f != 0 && bare {
        return Outcome::Passes;
    }
    if answer.get(12..end) != query.get(12..end) {
        return Outcome::Foreign;
    }
    // An answer, opcode QUERY, no error, one question (RFC 9619).
    if answer[2] & 0xf8 != 0x80 || answer[3] & 0x0f != 0 || answer[4..6] != [0, 1] {
        return Outcome::Passes;
    }
    let question = labels(&Name::read(&mut BinDecoder::new(query).clone(12)).unwrap());
    let rules = match &question[..] {
        [_, .., last] => rules_below(last),
        _ => 0,
    };
    if rules == 0 {
        return Outcome::Passes;
    }
    let Some(addresses) = section(answer, end).and_then(|section| resolve(section, question))
    else {
        return Outcome::Malformed;
    };
    let mut learned = Learned::new();
    let mut refused = 0;
    for (address, ttl) in addresses {
        if !is_acceptable(address) {
            refused += 1;
            continue;
        }
        let ttl = if ttl >> 31 == 1 { 0 } else { ttl }.clamp(TTL_MIN, TTL_MAX);
        let expires = START + u64::from(ttl + TTL_GRACE) * SECOND;
        let entry = learned.entry(address).or_insert((rules, expires));
        entry.1 = entry.1.max(expires);
    }
    Outcome::Teaches(learned, refused)
}

/// Octets of the question of a query that is known to have one.
fn question_length(query: &[u8]) -> usize {
    let mut decoder = BinDecoder::new(query).clone(12);
    Name::read(&mut decoder).unwrap();
    decoder.index() - 12 + 4
}

/// Reads the answer section that begins at `start`.
fn section(message: &[u8], start: usize) -> Option<Section> {
    let mut section = Section::default();
    let count = u16::from_be_bytes([message[6], message[7]]);
    if count > RECORDS {
        return None;
    }
    let mut decoder = BinDecoder::new(message).clone(start as u16);
    for _ in 0..count {
        let owner = name(message, &mut decoder)?;
        let kind = RecordType::from(decoder.read_u16().ok()?.unverified());
        let class = decoder.read_u16().ok()?.unverified();
        let ttl = decoder.read_u32().ok()?.unverified();
        let length = decoder.read_u16().ok()?.unverified();
        if usize::from(length) > decoder.len() {
            return None;
        }
        let data = decoder.index();
        let known = matches!(kind, RecordType::A | RecordType::AAAA | RecordType::CNAME);
        if class == 1 && known {
            let mut data = decoder.clone(data as u16);
            match RData::read(&mut data, kind, Restrict::new(length)).ok()? {
                RData::A(address) => section.addresses.push((owner, address.0.into(), ttl)),
                RData::AAAA(address) => section.addresses.push((owner, address.0.into(), ttl)),
                RData::CNAME(target) => {
                    if steps(message, decoder.index()) > STEPS {
                        return None;
                    }
                    section.aliases.push((owner, labels(&target.0)));
                }
                _ => return None,
            }
        }
        decoder.read_slice(usize::from(length)).ok()?;
    }
    Some(section)
}

/// The same by hickory's reader of whole messages, which is a second opinion where it has one.
pub fn section_of_message(message: &[u8]) -> Option<Section> {
    let mut section = Section::default();
    let message = Message::from_vec(message).ok()?;
    if message.answers.len() > usize::from(RECORDS) {
        return None;
    }
    for record in message.answers {
        if u16::from(record.dns_class) != 1 {
            continue;
        }
        let owner = labels(&record.name);
        match record.data {
            RData::A(address) => section.addresses.push((owner, address.0.into(), record.ttl)),
            RData::AAAA(address) => section.addresses.push((owner, address.0.into(), record.ttl)),
            RData::CNAME(target) => section.aliases.push((owner, labels(&target.0))),
            _ => {}
        }
    }
    Some(section)
}

/// What [`outcome`] reads of the answer section of `answer`.
pub fn section_of_answer(query: &[u8], answer: &[u8]) -> Option<Section> {
    section(answer, 12 + question_length(query))
}

/// The addresses of `question`, and their times to live. `None` if CNAMEs lead in a circle or
/// too far.
fn resolve(section: Section, question: Labels) -> Option<Vec<(IpAddr, u32)>> {
    let mut targets: HashMap<Labels, Labels> = HashMap::new();
    for (owner, target) in section.aliases {
        targets.entry(owner).or_insert(target);
    }
    let mut owner = question;
    for _ in 0..CHAIN {
        let Some(target) = targets.get(&owner) else { break };
        owner = target.clone();
    }
    if targets.contains_key(&owner) {
        return None;
    }
    let addresses = section.addresses.into_iter().filter(|(of, ..)| *of == owner);
    Some(addresses.map(|(_, address, ttl)| (address, ttl)).collect())
}

fn name(message: &[u8], decoder: &mut BinDecoder<'_>) -> Option<Labels> {
    let start = decoder.index();
    let name = Name::read(decoder).ok()?;
    (steps(message, start) <= STEPS).then(|| labels(&name))
}

fn labels(name: &Name) -> Labels {
    name.iter().map(<[u8]>::to_ascii_lowercase).collect()
}

/// Labels and pointers of a name that is known to be one.
fn steps(message: &[u8], start: usize) -> usize {
    let mut at = start;
    let mut steps = 0;
    while message[at] != 0 {
        steps += 1;
        at = match message[at] {
            high @ 0xc0.. => usize::from(high & 0x3f) << 8 | usize::from(message[at + 1]),
            length => at + 1 + usize::from(length),
        };
    }
    steps
}
