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
//!   there reach into those. Hickory says the same.
//! - What takes more than 300 steps is not read: labels, pointers and roots of names, less those
//!   that are pointers to one that was read just before, and half an octet of the question each;
//!   records, the parameters and ends of services, and hints; and four CNAMEs that are looked at
//!   for the next. Addresses that take more than the steps that are left, nineteen each, are left to
//!   userspace, and nine more, but never the first. Hickory has no such limits, nor does any server come near them.
//! - Data is read only where class and type say what it is: A, AAAA and CNAME of class IN must
//!   fill their data exactly. All else is opaque (RFC 3597); hickory, asked for a whole message,
//!   would refuse it for a malformed MX record that nobody asked for.
//! - Names are equal if their octets are but for ASCII case (RFC 4343).
//! - From the question's name the first CNAME of each name is followed, 16 at most, in whatever
//!   order they stand. A name with a CNAME has no other data (RFC 2181 section 10.1): addresses
//!   count only at the end, and a circle has none.
//! - Address hints of SVCB and HTTPS records count like addresses of their owner. Each record has to
//!   parse: parameters in ascending order, hints of whole addresses, and not none (RFC 9460 sections
//!   2.2 and 7.3). Addresses and hints together are 64 at most. Hickory reads other parameters too,
//!   and refuses more.
//! - A time to live with its highest bit set is 0 (RFC 2181 section 8).

use std::{
    collections::BTreeMap,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
};

use hickory_proto::{
    op::Message,
    rr::{
        Name, RData, RecordType,
        rdata::{SVCB, svcb::SvcParamValue},
    },
    serialize::binary::{BinDecodable as _, BinDecoder, Restrict},
};

/// What was learned: rules and expiry of each address.
pub type Learned = BTreeMap<IpAddr, (u64, u64)>;

/// What the model has to be told of a filter.
pub struct Terms<'t> {
    /// When the query is asked and answered, nanoseconds.
    pub now: u64,
    /// Least and most time to live, and the grace, seconds.
    pub ttl: [u32; 3],
    /// Rules of the names below a top-level label, which is in lower case.
    pub rules_below: &'t dyn Fn(&[u8]) -> u64,
    /// Whether an answer may teach an address.
    pub is_acceptable: &'t dyn Fn(IpAddr) -> bool,
}

/// Records of an answer section, and CNAMEs in a row, at most.
const RECORDS: u16 = 64;
const CHAIN: usize = 16;
/// Steps that a message is read with.
const STEPS: usize = 300;
/// Steps that an address takes.
const STEPS_OF_ADDRESS: usize = 19;
/// Addresses fewer that are learned, but one, where others are left to userspace.
const WAKING: usize = 9;
/// CNAMEs that are looked at in one step.
const COMPARED: usize = 4;

/// What an answer section says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Section {
    aliases: Vec<(Labels, Labels)>,
    addresses: Vec<(Labels, IpAddr, u32)>,
    services: Vec<Service>,
}

/// A SVCB or HTTPS record.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Service {
    owner: Labels,
    ttl: u32,
    parameters: usize,
    hints: Vec<IpAddr>,
}

/// Why an answer section is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// It does not parse.
    Malformed,
    /// It has more records, or a name more pointers, than are read.
    TooMuch,
    /// A service's parameters are not as RFC 9460 says.
    Service,
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
    /// It teaches these addresses, and others are refused, as many as that; and whether more are
    /// left to userspace.
    Teaches(Learned, usize, bool),
}

impl Outcome {
    /// Its kind, in a word.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Foreign => "foreign",
            Self::Passes => "passes",
            Self::Malformed => "malformed",
            Self::Teaches(_, _, true) => "deferred",
            Self::Teaches(learned, 0, _) if learned.is_empty() => "nothing",
            Self::Teaches(learned, ..) if learned.is_empty() => "refused",
            Self::Teaches(..) => "teaches",
        }
    }
}

/// The outcome of `answer`, for a query that is `query`.
pub fn outcome(query: &[u8], answer: &[u8], terms: &Terms<'_>) -> Outcome {
    let end = 12 + question_length(query);
    if answer.len() < 12 || answer.len() > 4096 || answer[..2] != query[..2] {
        return Outcome::Foreign;
    }
    // An error with nothing else, as servers answer what they cannot read (RFC 6891 section 7).
    let bare = answer[4..10] == [0; 6];
    if answer[2] & 0xf8 == 0x80 && answer[3] & 0x0f != 0 && bare {
        return Outcome::Passes;
    }
    // A response, opcode QUERY, one question (RFC 9619): that of the query.
    if answer[2] & 0xf8 != 0x80
        || answer[4..6] != [0, 1]
        || answer.get(12..end) != query.get(12..end)
    {
        return Outcome::Foreign;
    }
    // No error, and of the class IN, or of any (RFC 1035 section 3.2.5).
    if answer[3] & 0x0f != 0 || !matches!(query[end - 2..end], [0, 1 | 255]) {
        return Outcome::Passes;
    }
    let (question, rules) = asked(query, terms);
    if rules == 0 {
        return Outcome::Passes;
    }
    let section = section(answer, end).ok();
    let resolved = section.and_then(|(section, budget)| resolve(section, budget, question));
    let Some((addresses, is_long)) = resolved else {
        return Outcome::Malformed;
    };
    let mut learned = Learned::new();
    let mut refused = 0;
    for (address, ttl) in addresses {
        if !(terms.is_acceptable)(address) {
            refused += 1;
            continue;
        }
        let [least, most, grace] = terms.ttl;
        let ttl = if ttl >> 31 == 1 { 0 } else { ttl }.clamp(least, most);
        let expires = terms.now + u64::from(ttl + grace) * 1_000_000_000;
        let entry = learned.entry(address).or_insert((rules, expires));
        entry.1 = entry.1.max(expires);
    }
    Outcome::Teaches(learned, refused, is_long)
}

/// The name that a query asks for, and its rules.
fn asked(query: &[u8], terms: &Terms<'_>) -> (Labels, u64) {
    let question = labels(&Name::read(&mut BinDecoder::new(query).clone(12)).unwrap());
    let rules = match &question[..] {
        [_, .., last] => (terms.rules_below)(last),
        _ => 0,
    };
    (question, rules)
}

/// Whether a query, one of its own, is for a name that has rules.
pub fn is_listed(query: &[u8], terms: &Terms<'_>) -> bool {
    asked(query, terms).1 != 0
}

/// Octets of the question of a query that is known to have one.
fn question_length(query: &[u8]) -> usize {
    let mut decoder = BinDecoder::new(query).clone(12);
    Name::read(&mut decoder).unwrap();
    decoder.index() - 12 + 4
}

/// What may still be read, and where the names begin that were read just before.
struct Budget {
    steps: usize,
    recent: [Option<usize>; 2],
}

/// Which of the two an owner is, and a target or the question's name.
const OWNER: usize = 0;
const TARGET: usize = 1;

impl Budget {
    /// Takes some steps.
    fn spend(&mut self, steps: usize) -> Result<(), Refusal> {
        self.steps = self.steps.checked_sub(steps).ok_or(Refusal::TooMuch)?;
        Ok(())
    }

    /// Takes the steps of a name that is known to be one.
    fn take(&mut self, message: &[u8], start: usize, which: usize) -> Result<(), Refusal> {
        let mut begin = start;
        if message[start] >= 0xc0 {
            begin = usize::from(message[start] & 0x3f) << 8 | usize::from(message[start + 1]);
            if self.recent.contains(&Some(begin)) {
                return Ok(());
            }
        }
        self.recent[which] = Some(begin);
        self.spend(steps(message, start) + 1)
    }
}

/// Reads the answer section that begins at `start`.
fn section(message: &[u8], start: usize) -> Result<(Section, Budget), Refusal> {
    let mut section = Section::default();
    let mut budget = Budget { steps: STEPS - (start - 12) / 2, recent: [None; 2] };
    let count = u16::from_be_bytes([message[6], message[7]]);
    if count > RECORDS {
        return Err(Refusal::TooMuch);
    }
    budget.take(message, 12, TARGET)?;
    let mut targets = Vec::new();
    let mut decoder = BinDecoder::new(message).clone(start as u16);
    for _ in 0..count {
        targets.extend(record(message, &mut decoder, &mut budget, &mut section)?);
    }
    // Those of services are read afterwards.
    budget.recent = [None; 2];
    for target in targets {
        budget.take(message, target, TARGET)?;
    }
    Ok((section, budget))
}

/// Reads one of its records. Returns where a service's target is.
fn record(
    message: &[u8],
    decoder: &mut BinDecoder<'_>,
    budget: &mut Budget,
    section: &mut Section,
) -> Result<Option<usize>, Refusal> {
    let malformed = |_| Refusal::Malformed;
    budget.spend(1)?;
    let start = decoder.index();
    let owner = name(decoder)?;
    budget.take(message, start, OWNER)?;
    let kind = RecordType::from(decoder.read_u16().map_err(malformed)?.unverified());
    let class = decoder.read_u16().map_err(malformed)?.unverified();
    let ttl = decoder.read_u32().map_err(malformed)?.unverified();
    let length = decoder.read_u16().map_err(malformed)?.unverified();
    let data = decoder.index();
    decoder.read_slice(usize::from(length)).map_err(malformed)?;
    match kind {
        _ if class != 1 => {}
        RecordType::SVCB | RecordType::HTTPS => {
            let end = data + usize::from(length);
            let (parameters, hints) = parameters(message, data, end).ok_or(Refusal::Service)?;
            section.services.push(Service { owner, ttl, parameters, hints });
            return Ok(Some(data + 2));
        }
        RecordType::A | RecordType::AAAA | RecordType::CNAME => {
            let mut reader = BinDecoder::new(message).clone(data as u16);
            match RData::read(&mut reader, kind, Restrict::new(length)).map_err(malformed)? {
                RData::A(address) => section.addresses.push((owner, address.0.into(), ttl)),
                RData::AAAA(address) => section.addresses.push((owner, address.0.into(), ttl)),
                RData::CNAME(target) => {
                    budget.take(message, data, TARGET)?;
                    section.aliases.push((owner, labels(&target.0)));
                }
                other => panic!("{kind} became {other:?}"),
            }
        }
        _ => {}
    }
    Ok(None)
}

/// How many parameters a SVCB or HTTPS record has, and their address hints.
fn parameters(message: &[u8], start: usize, end: usize) -> Option<(usize, Vec<IpAddr>)> {
    let two = |at: usize| Some(u16::from_be_bytes([*message.get(at)?, *message.get(at + 1)?]));
    if start + 3 > end {
        return None;
    }
    let priority = two(start)?;
    let mut decoder = BinDecoder::new(message).clone(start as u16 + 2);
    name(&mut decoder).ok()?;
    let mut at = decoder.index();
    if at > end {
        return None;
    }
    let (mut hints, mut count, mut least) = (Vec::new(), 0, 0);
    while priority != 0 && at < end {
        if at + 4 > end {
            return None;
        }
        let (key, length) = (two(at)?, usize::from(two(at + 2)?));
        let value = message[..end].get(at + 4..at + 4 + length)?;
        if u32::from(key) < least {
            return None;
        }
        let size = match key {
            4 => 4,
            6 => 16,
            _ => 0,
        };
        if size != 0 {
            if value.is_empty() || !value.len().is_multiple_of(size) {
                return None;
            }
            hints.extend(value.chunks(size).map(|octets| match octets.try_into() {
                Ok(four) => IpAddr::V4(Ipv4Addr::from_octets(four)),
                Err(_) => IpAddr::V6(Ipv6Addr::from_octets(octets.try_into().unwrap())),
            }));
        }
        (count, least) = (count + 1, u32::from(key) + 1);
        at += 4 + length;
    }
    Some((count, hints))
}

/// The same of a record that hickory has read.
fn service(owner: Labels, ttl: u32, record: &SVCB) -> Service {
    let mut service = Service { owner, ttl, parameters: 0, hints: Vec::new() };
    // An alias has no parameters that count.
    if record.svc_priority == 0 {
        return service;
    }
    service.parameters = record.svc_params.len();
    for (_, value) in &record.svc_params {
        match value {
            SvcParamValue::Ipv4Hint(hint) => {
                service.hints.extend(hint.0.iter().map(|address| IpAddr::V4(address.0)));
            }
            SvcParamValue::Ipv6Hint(hint) => {
                service.hints.extend(hint.0.iter().map(|address| IpAddr::V6(address.0)));
            }
            _ => {}
        }
    }
    service
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
        let (owner, record_ttl) = (labels(&record.name), record.ttl);
        match record.data {
            RData::A(address) => section.addresses.push((owner, address.0.into(), record.ttl)),
            RData::AAAA(address) => section.addresses.push((owner, address.0.into(), record.ttl)),
            RData::CNAME(target) => section.aliases.push((owner, labels(&target.0))),
            RData::SVCB(record) => section.services.push(service(owner, record_ttl, &record)),
            RData::HTTPS(record) => section.services.push(service(owner, record_ttl, &record)),
            _ => {}
        }
    }
    Some(section)
}

/// What [`outcome`] reads of the answer section of `answer`, which repeats the query's question.
pub fn section_of_answer(query: &[u8], answer: &[u8]) -> Result<Section, Refusal> {
    section(answer, 12 + question_length(query)).map(|(section, _)| section)
}

/// The addresses of `question` that the kernel learns, and their times to live; and whether there are
/// more. Those of other names take their time too.
/// `None` if CNAMEs lead in a circle or too far.
fn resolve(
    section: Section,
    mut budget: Budget,
    question: Labels,
) -> Option<(Vec<(IpAddr, u32)>, bool)> {
    let aliases = &section.aliases;
    let mut owner = &question;
    let mut followed = 0;
    while let Some(at) = aliases.iter().position(|(of, _)| of == owner) {
        budget.spend(at / COMPARED + 1).ok()?;
        owner = &aliases[at].1;
        followed += 1;
        if followed > CHAIN {
            return None;
        }
    }
    budget.spend(aliases.len().div_ceil(COMPARED)).ok()?;
    let owner = owner.clone();
    let addresses = section.addresses.into_iter();
    let mut all: Vec<_> =
        addresses.map(|(of, address, ttl)| (of == owner, (address, ttl))).collect();
    for service in section.services {
        budget.spend(2 + service.parameters).ok()?;
        if service.owner == owner {
            budget.spend(service.hints.len()).ok()?;
            let hints = service.hints.into_iter();
            all.extend(hints.map(|address| (true, (address, service.ttl))));
        }
    }
    if all.len() > usize::from(RECORDS) {
        return None;
    }
    let most = (budget.steps / STEPS_OF_ADDRESS).max(1);
    let is_long = all.len() > most;
    let most = if is_long { most.saturating_sub(WAKING).max(1) } else { most };
    let looked_at = all.into_iter().take(most);
    let counts = looked_at.filter(|(is_owner, _)| *is_owner).map(|(_, address)| address);
    Some((counts.collect(), is_long))
}

fn name(decoder: &mut BinDecoder<'_>) -> Result<Labels, Refusal> {
    Ok(labels(&Name::read(decoder).map_err(|_| Refusal::Malformed)?))
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
