//! Reader of answer sections, within a budget of steps.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use hickory_proto::{
    op::Message,
    rr::{
        Name, RData, RecordType,
        rdata::{SVCB, svcb::SvcParamValue},
    },
    serialize::binary::{BinDecodable as _, BinDecoder, Restrict},
};

/// Maximum number of records of an answer section.
pub(super) const RECORDS: u16 = 64;
/// Maximum number of steps to read a message.
const STEPS: usize = 300;

/// Content of an answer section.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Section {
    pub(super) aliases: Vec<(Labels, Labels)>,
    pub(super) addresses: Vec<(Labels, IpAddr, u32)>,
    pub(super) services: Vec<Service>,
}

impl Section {
    /// The section as one whose targets are all written in full: other readers do not tell.
    pub(super) fn in_full(mut self) -> Self {
        self.services.iter_mut().for_each(|service| service.is_in_full = true);
        self
    }
}

/// SVCB or HTTPS record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Service {
    pub(super) owner: Labels,
    pub(super) ttl: u32,
    pub(super) target: Labels,
    /// Whether the target is written without compression pointers.
    pub(super) is_in_full: bool,
    pub(super) parameters: usize,
    pub(super) hints: Vec<IpAddr>,
}

/// Reason to refuse an answer section.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// The section does not parse.
    Malformed,
    /// The section has more records, or a name more pointers, than are read.
    TooMuch,
    /// A service's parameters are not as RFC 9460 says.
    Service,
}

/// Labels in lower case.
pub(super) type Labels = Vec<Vec<u8>>;

/// Steps that are left, and the offsets of the names that were read just before.
pub(super) struct Budget {
    pub(super) steps: usize,
    recent: [Option<usize>; 2],
}

/// Index of the recent owner, and of the recent target or question's name.
const OWNER: usize = 0;
const TARGET: usize = 1;

impl Budget {
    /// Takes some steps.
    pub(super) fn spend(&mut self, steps: usize) -> Result<(), Refusal> {
        self.steps = self.steps.checked_sub(steps).ok_or(Refusal::TooMuch)?;
        Ok(())
    }

    /// Takes the steps of a name that was found to be one.
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

/// Reads the answer section at `start`.
pub(super) fn section(message: &[u8], start: usize) -> Result<(Section, Budget), Refusal> {
    let mut section = Section::default();
    let mut budget = Budget { steps: STEPS - (start - 12) / 2, recent: [None; 2] };
    let count = u16::from_be_bytes([message[6], message[7]]);
    budget.take(message, 12, TARGET)?;
    let mut targets = Vec::new();
    let mut decoder = BinDecoder::new(message).clone(start as u16);
    for _ in 0..count.min(RECORDS) {
        targets.extend(record(message, &mut decoder, &mut budget, &mut section)?);
    }
    // The steps of services are taken when they are read, afterwards.
    budget.recent = [None; 2];
    for target in targets {
        budget.take(message, target, TARGET)?;
    }
    Ok((section, budget))
}

/// Reads one record. Returns the offset of a service's target.
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
            let service = read_service(message, data, end, owner, ttl).ok_or(Refusal::Service)?;
            section.services.push(service);
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

/// Reads the data of a SVCB or HTTPS record.
fn read_service(
    message: &[u8],
    start: usize,
    end: usize,
    owner: Labels,
    ttl: u32,
) -> Option<Service> {
    let two = |at: usize| Some(u16::from_be_bytes([*message.get(at)?, *message.get(at + 1)?]));
    if start + 3 > end {
        return None;
    }
    let priority = two(start)?;
    let mut decoder = BinDecoder::new(message).clone(start as u16 + 2);
    let target = name(&mut decoder).ok()?;
    let mut at = decoder.index();
    let octets: usize = target.iter().map(|label| label.len() + 1).sum();
    let is_in_full = start + 2 + octets + 1 == at;
    if at > end {
        return None;
    }
    let (mut hints, mut parameters, mut least) = (Vec::new(), 0, 0);
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
        (parameters, least) = (parameters + 1, u32::from(key) + 1);
        at += 4 + length;
    }
    Some(Service { owner, ttl, target, is_in_full, parameters, hints })
}

/// Returns a service record that hickory has read, in the form of this reader.
fn service(owner: Labels, ttl: u32, record: &SVCB) -> Service {
    let target = labels(&record.target_name);
    let (is_in_full, hints) = (true, Vec::new());
    let mut service = Service { owner, ttl, target, is_in_full, parameters: 0, hints };
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

/// Reads a message by hickory's reader of whole messages, as a second opinion; `None` if it has
/// none.
pub fn section_of_message(message: &[u8]) -> Option<Section> {
    let mut section = Section::default();
    let message = Message::from_vec(message).ok()?;
    for record in message.answers.into_iter().take(usize::from(RECORDS)) {
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

fn name(decoder: &mut BinDecoder<'_>) -> Result<Labels, Refusal> {
    Ok(labels(&Name::read(decoder).map_err(|_| Refusal::Malformed)?))
}

pub(super) fn labels(name: &Name) -> Labels {
    name.iter().map(<[u8]>::to_ascii_lowercase).collect()
}

/// Returns the number of labels and pointers of a name that was found to be one.
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
