//! Random queries and answers to them: mostly such as resolvers send, at times damaged.

use std::net::{Ipv4Addr, Ipv6Addr};

use super::{
    choices::Choices,
    damage::damage,
    message::{
        A, AAAA, ANSWER, ANY, CH, CNAME, Compression, DNAME, Data, HTTPS, IN, MX, NS, Name, OPT,
        PTR, QUERY, RRSIG, Record, SOA, SRV, SVCB, TXT, Writer,
    },
};

/// Longest message that is read, in octets.
const MESSAGE_MAX: usize = 4096;

/// Query and its answer.
#[derive(Clone, Debug)]
pub struct Exchange {
    pub query: Vec<u8>,
    pub answer: Vec<u8>,
    /// Names that the answer was made of, the question's first.
    pub names: Vec<Name>,
}

pub fn exchange(choices: &mut Choices<'_>) -> Exchange {
    let names = names(choices);
    exchange_of(choices, names)
}

/// Returns an exchange with the last of another's names that `is_asked` accepts in its question.
pub fn follow_up(
    choices: &mut Choices<'_>,
    before: &Exchange,
    is_asked: impl Fn(&Name) -> bool,
) -> Option<Exchange> {
    let mut names = before.names.clone();
    let first = names.iter().rposition(is_asked)?;
    names.swap(0, first);
    mix_case(choices, &mut names[0]);
    Some(exchange_of(choices, names))
}

fn exchange_of(choices: &mut Choices<'_>, names: Vec<Name>) -> Exchange {
    let (query, mut answer) = undamaged(choices, &names);
    if choices.once_in(2) {
        let others = self::names(choices);
        let (_, other) = undamaged(choices, &others);
        damage(choices, &mut answer, &other);
    }
    Exchange { query, answer: answer.octets, names }
}

/// Returns an exchange as a server would write it, except that parameters of services are out of
/// order or cut off at times.
fn undamaged(choices: &mut Choices<'_>, names: &[Name]) -> (Vec<u8>, Writer) {
    let id = choices.word() as u16;
    let kind = *choices.one(&[A, A, AAAA, AAAA, ANY, HTTPS, SVCB, CNAME, TXT]);
    let query = Writer::new(id, QUERY, &names[0], kind, IN);
    let flags = ANSWER | *choices.one(&[0, 0, 0, 0, 0, 0x0200, 0x0400, 3, 5, 0x0800]);
    let mut answer = Writer::new(id, flags, &names[0], kind, IN);
    for record in &records(choices, names) {
        write(choices, &mut answer, 1, record);
    }
    for section in [2, 3] {
        for _ in 0..choices.below(3) {
            let record = record(choices, names, false);
            write(choices, &mut answer, section, &record);
        }
    }
    if choices.once_in(40) {
        fill(choices, &mut answer, &names[0]);
    }
    if choices.once_in(2) {
        let data = Data::Opaque(Vec::new());
        let edns = Record { owner: Name(Vec::new()), kind: OPT, class: 1232, ttl: 0, data };
        answer.record(3, &edns, Compression::None);
    }
    (query.octets, answer)
}

/// Fills a message up to about the longest that is read.
fn fill(choices: &mut Choices<'_>, answer: &mut Writer, owner: &Name) {
    // A pointer, the fixed part of a record and the length of a text.
    let around = MESSAGE_MAX + *choices.one(&[0, 0, 1, 11]);
    while let Some(room) = around.checked_sub(answer.octets.len() + 2 + 10 + 1) {
        let text = vec![b't'; room.min(255)];
        let data = Data::Opaque([vec![text.len() as u8], text].concat());
        let record = Record { owner: owner.clone(), kind: TXT, class: IN, ttl: 0, data };
        answer.record(3, &record, Compression::Suffix);
    }
}

/// Returns the question's name first, then names that it may lead to, and others.
fn names(choices: &mut Choices<'_>) -> Vec<Name> {
    let count = if choices.once_in(16) { 19 } else { 2 + choices.below(5) };
    let mut names: Vec<Name> = Vec::new();
    for index in 0..count {
        let mut labels = Vec::new();
        for _ in 0..=choices.below(3) {
            labels.push(label(choices, index));
        }
        let top = *choices.one(&["one", "one", "two", "oNe", "none"]);
        labels.push(top.as_bytes().to_vec());
        let mut name = Name(labels);
        if index > 0 && choices.once_in(3) {
            // Below another name, so that there is something to compress.
            let parent = choices.below(index);
            name.0.truncate(1);
            name.0.extend(names[parent].0.clone());
        }
        if choices.once_in(40) {
            lengthen(&mut name, *choices.one(&[63, 63, 1]));
        }
        while name.wire().len() > 255 {
            name.0.remove(0);
        }
        names.push(name);
    }
    names
}

fn label(choices: &mut Choices<'_>, index: usize) -> Vec<u8> {
    let letter = b'a' + (index % 26) as u8;
    match choices.below(8) {
        0..3 => vec![letter],
        3 => format!("www-{index}").into_bytes(),
        4 => vec![letter; *choices.one(&[7, 8, 9, 15, 16, 17, 24, 25, 31, 32, 33, 62, 63])],
        5 => vec![choices.word() as u8, 0x80 | letter, 0],
        6 => b"a".to_vec(),
        _ => format!("Content{index}").into_bytes(),
    }
}

/// Adds labels, of `size` octets at most, until the name has 255.
fn lengthen(name: &mut Name, size: usize) {
    while name.wire().len() < 254 {
        let room = 255 - name.wire().len() - 1;
        name.0.insert(0, vec![b'l'; room.min(size)]);
    }
}

/// Returns an answer section: a chain of CNAMEs, addresses at its end and elsewhere, other records.
fn records(choices: &mut Choices<'_>, names: &[Name]) -> Vec<Record> {
    let links = if names.len() > 10 {
        names.len() - 1 - choices.below(4)
    } else {
        choices.below(names.len())
    };
    let mut records = Vec::new();
    if choices.once_in(6) {
        // The DNAME that a CNAME was made from stands before it (RFC 6672 section 3.1).
        let owner = Name(names[0].0.get(1..).unwrap_or_default().to_vec());
        let data = Data::Name(Vec::new(), choices.one(names).clone());
        records.push(Record { owner, kind: DNAME, class: IN, ttl: ttl(choices), data });
    }
    for index in 0..links {
        let data = Data::Name(Vec::new(), names[index + 1].clone());
        records.push(Record {
            owner: names[index].clone(),
            kind: CNAME,
            class: IN,
            ttl: ttl(choices),
            data,
        });
    }
    for _ in 0..choices.below(5) {
        records.push(address(choices, names[links].clone()));
    }
    if choices.once_in(3) {
        for _ in 0..=choices.below(3) {
            let owner = if choices.once_in(4) { 0 } else { links };
            records.push(service(choices, names, names[owner].clone()));
        }
    }
    let more = if choices.once_in(30) { 55 + choices.below(12) } else { choices.below(4) };
    for _ in 0..more {
        records.push(record(choices, names, true));
    }
    if choices.once_in(2) {
        choices.shuffle(&mut records);
    }
    records
}

/// Returns any record.
fn record(choices: &mut Choices<'_>, names: &[Name], answers: bool) -> Record {
    let owner = choices.one(names).clone();
    let mut record = match choices.below(if answers { 8 } else { 6 }) {
        0 => address(choices, owner),
        1 => {
            let data = Data::Name(vec![0, 10], choices.one(names).clone());
            Record { owner, kind: MX, class: IN, ttl: ttl(choices), data }
        }
        2 => {
            let text = vec![b't'; 1 + choices.below(20)];
            let data = Data::Opaque([vec![text.len() as u8], text].concat());
            Record { owner, kind: TXT, class: IN, ttl: ttl(choices), data }
        }
        3 => {
            let data = Data::Opaque(vec![choices.word() as u8; 1 + choices.below(20)]);
            let kind = *choices.one(&[64_000, 65_280, 65_281]);
            Record { owner, kind, class: IN, ttl: ttl(choices), data }
        }
        4 => {
            let (kind, before) = *choices.one(&[(NS, 0), (PTR, 0), (DNAME, 0), (SRV, 6)]);
            let data = Data::Name(vec![1; before], choices.one(names).clone());
            Record { owner, kind, class: IN, ttl: ttl(choices), data }
        }
        5 => {
            let other = choices.one(names).clone();
            let (kind, data) = if choices.once_in(2) {
                (SOA, Data::Names(vec![names[0].clone(), other], vec![0; 20]))
            } else {
                // An RRSIG that covers addresses, by RSASHA256, with a signer that is not
                // compressed.
                let before = [&[0, 1, 8, 2][..], &[0, 0, 0, 60], &[0x60; 10], &other.wire()];
                (RRSIG, Data::Opaque([&before.concat()[..], &[5; 64]].concat()))
            };
            Record { owner, kind, class: IN, ttl: ttl(choices), data }
        }
        6 => {
            let data = Data::Name(Vec::new(), choices.one(names).clone());
            Record { owner, kind: CNAME, class: IN, ttl: ttl(choices), data }
        }
        _ => address(choices, names[0].clone()),
    };
    if choices.once_in(8) {
        record.class = *choices.one(&[CH, 4, 254, 255, 0x0100]);
    }
    record
}

fn address(choices: &mut Choices<'_>, owner: Name) -> Record {
    let last = choices.below(6) as u8;
    let ttl = ttl(choices);
    if choices.once_in(2) {
        let first = *choices.one(&[0x2a00, 0x2620, 0x3fff, 0x2a00, 0, 0xfd00, 0xfe80, 0x4000]);
        let address = Ipv6Addr::new(first, 0, 0, 0, 0, 0, 0, u16::from(last));
        return Record { owner, kind: AAAA, class: IN, ttl, data: Data::Aaaa(address) };
    }
    let first = *choices.one(&[93, 20, 13, 93, 10, 127, 11, 126]);
    let address = Ipv4Addr::new(first, 184, 216, last);
    Record { owner, kind: A, class: IN, ttl, data: Data::A(address) }
}

/// Returns a service record, at times with many parameters and hints.
fn service(choices: &mut Choices<'_>, names: &[Name], owner: Name) -> Record {
    let target = match choices.below(3) {
        0 | 1 => choices.one(names).clone(),
        _ => Name(Vec::new()),
    };
    let many = choices.once_in(20);
    let mut parameters = Vec::new();
    let mut add = |key: u16, value: Vec<u8>| parameters.push((key, value));
    if choices.once_in(2) {
        add(1, b"\x02h2\x02h3".to_vec());
    }
    if choices.once_in(4) {
        add(3, vec![1, 187]);
    }
    for (key, size) in [(4, 4), (6, 16)] {
        if choices.once_in(3) {
            continue;
        }
        let count = if many { 30 } else { 1 + choices.below(4) };
        let mut value = Vec::new();
        for _ in 0..count {
            let address = address(choices, Name(Vec::new())).data;
            match address {
                Data::A(address) if size == 4 => value.extend(address.octets()),
                Data::Aaaa(address) if size == 16 => value.extend(address.octets()),
                _ => value.extend(vec![93; size]),
            }
        }
        if choices.once_in(20) {
            value.truncate(value.len() - 1 - choices.below(size));
        }
        add(key, value);
    }
    for key in 0..if many { 80 } else { choices.below(3) as u16 } {
        add(65_280 + key, vec![7; choices.below(9)]);
    }
    if choices.once_in(20) {
        choices.shuffle(&mut parameters);
    }
    let priority = *choices.one(&[1, 1, 1, 2, 0, 0xffff]);
    let kind = *choices.one(&[HTTPS, HTTPS, SVCB]);
    let data = Data::Service(priority, target, parameters);
    Record { owner, kind, class: IN, ttl: ttl(choices), data }
}

fn ttl(choices: &mut Choices<'_>) -> u32 {
    const USUAL: [u32; 13] =
        [300, 0, 1, 59, 60, 61, 3600, 86_399, 86_400, 86_401, 0x7fff_ffff, 0x8000_0000, u32::MAX];
    if choices.once_in(4) { choices.word() as u32 } else { *choices.one(&USUAL) }
}

fn write(choices: &mut Choices<'_>, answer: &mut Writer, section: usize, record: &Record) {
    use Compression::{None, Suffix, Whole};
    let compression = *choices.one(&[Suffix, Suffix, Whole, None]);
    let mut record = record.clone();
    if choices.once_in(2) {
        mix_case(choices, &mut record.owner);
        if let Data::Name(_, target) | Data::Service(_, target, _) = &mut record.data {
            mix_case(choices, target);
        }
    }
    answer.record(section, &record, compression);
}

fn mix_case(choices: &mut Choices<'_>, name: &mut Name) {
    let mut bits = choices.word();
    for octet in name.0.iter_mut().flatten().filter(|octet| octet.is_ascii_alphabetic()) {
        if bits & 1 != 0 {
            *octet ^= 0x20;
        }
        bits = bits.rotate_right(1);
    }
}
