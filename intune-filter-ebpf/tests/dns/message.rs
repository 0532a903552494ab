//! Writer of DNS messages octet by octet, even of messages that no library would write.

use std::{
    collections::HashMap,
    net::{Ipv4Addr, Ipv6Addr},
};

pub const A: u16 = 1;
pub const NS: u16 = 2;
pub const CNAME: u16 = 5;
pub const SOA: u16 = 6;
pub const PTR: u16 = 12;
pub const MX: u16 = 15;
pub const TXT: u16 = 16;
pub const AAAA: u16 = 28;
pub const SRV: u16 = 33;
pub const DNAME: u16 = 39;
pub const RRSIG: u16 = 46;
pub const SVCB: u16 = 64;
pub const HTTPS: u16 = 65;
pub const OPT: u16 = 41;
pub const ANY: u16 = 255;
pub const IN: u16 = 1;
pub const CH: u16 = 3;

/// Flags of a query (recursion desired), and of an answer to it.
pub const QUERY: u16 = 0x0100;
pub const ANSWER: u16 = 0x8180;

/// Labels of a name, from left to right.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Name(pub Vec<Vec<u8>>);

impl From<&str> for Name {
    fn from(text: &str) -> Self {
        let labels = text.split('.').filter(|label| !label.is_empty());
        Self(labels.map(|label| label.as_bytes().to_vec()).collect())
    }
}

impl Name {
    /// Returns the octets of the name, uncompressed.
    pub fn wire(&self) -> Vec<u8> {
        let mut octets = Vec::new();
        for label in &self.0 {
            octets.push(label.len() as u8);
            octets.extend(label);
        }
        octets.push(0);
        octets
    }
}

/// Compression of a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Compression {
    /// Name in full.
    None,
    /// Name whose longest suffix that was written before becomes a pointer.
    Suffix,
    /// Pointer to the place where the name was written last, although that may be a pointer too.
    Whole,
}

/// Data of a record.
#[derive(Clone, Debug)]
pub enum Data {
    A(Ipv4Addr),
    Aaaa(Ipv6Addr),
    /// Name, behind some octets of other data.
    Name(Vec<u8>, Name),
    /// Names, with some octets of other data behind them.
    Names(Vec<Name>, Vec<u8>),
    Opaque(Vec<u8>),
    /// Priority, target, and parameters, each a key and a value. The target is not compressed.
    Service(u16, Name, Vec<(u16, Vec<u8>)>),
}

/// Resource record.
#[derive(Clone, Debug)]
pub struct Record {
    pub owner: Name,
    pub kind: u16,
    pub class: u16,
    pub ttl: u32,
    pub data: Data,
}

impl Record {
    pub fn a(owner: &str, address: &str) -> Self {
        let data = Data::A(address.parse().unwrap());
        Self { owner: owner.into(), kind: A, class: IN, ttl: 300, data }
    }

    pub fn aaaa(owner: &str, address: &str) -> Self {
        let data = Data::Aaaa(address.parse().unwrap());
        Self { owner: owner.into(), kind: AAAA, class: IN, ttl: 300, data }
    }

    /// Returns a service record of priority 1 at its owner, with these parameters.
    pub fn https(owner: &str, parameters: &[(u16, &[u8])]) -> Self {
        let parameters = parameters.iter().map(|(key, value)| (*key, value.to_vec())).collect();
        let data = Data::Service(1, "".into(), parameters);
        Self { owner: owner.into(), kind: HTTPS, class: IN, ttl: 300, data }
    }

    pub fn cname(owner: &str, target: &str) -> Self {
        let data = Data::Name(Vec::new(), target.into());
        Self { owner: owner.into(), kind: CNAME, class: IN, ttl: 300, data }
    }
}

/// Offsets in a message that are worth damaging, or cutting at.
#[derive(Clone, Debug, Default)]
pub struct Marks {
    /// Lengths of labels, and pointers.
    pub labels: Vec<usize>,
    /// Lengths of data and of parameters, two octets each.
    pub lengths: Vec<usize>,
    /// Beginnings of records.
    pub records: Vec<usize>,
}

/// Message under construction.
#[derive(Clone, Debug)]
pub struct Writer {
    pub octets: Vec<u8>,
    pub marks: Marks,
    /// Offset at which each name, or suffix of one, in lower case was first written in labels.
    first: HashMap<Vec<u8>, usize>,
    /// Offset at which each name in lower case was last written.
    last: HashMap<Vec<u8>, usize>,
}

impl Writer {
    /// Begins a message with a header and a question.
    pub fn new(id: u16, flags: u16, name: &Name, kind: u16, class: u16) -> Self {
        let mut octets = Vec::new();
        for field in [id, flags, 1, 0, 0, 0] {
            octets.extend(field.to_be_bytes());
        }
        let marks = Marks::default();
        let mut writer = Self { octets, marks, first: HashMap::new(), last: HashMap::new() };
        writer.name(name, Compression::None);
        writer.number(kind);
        writer.number(class);
        writer
    }

    /// Begins an answer to a question for an address of `name`.
    pub fn answer(name: &str) -> Self {
        Self::new(7, ANSWER, &name.into(), A, IN)
    }

    /// Replaces one of the header's counts: 0 of questions, 1 of answers, 2 and 3 of the rest.
    pub fn set_count(&mut self, section: usize, count: u16) {
        self.octets[4 + 2 * section..6 + 2 * section].copy_from_slice(&count.to_be_bytes());
    }

    /// Returns one of the header's counts.
    pub fn count(&self, section: usize) -> u16 {
        u16::from_be_bytes([self.octets[4 + 2 * section], self.octets[5 + 2 * section]])
    }

    pub fn number(&mut self, number: u16) {
        self.octets.extend(number.to_be_bytes());
    }

    pub fn pointer(&mut self, target: usize) {
        self.marks.labels.push(self.octets.len());
        self.number(0xc000 | target as u16);
    }

    pub fn name(&mut self, name: &Name, compression: Compression) {
        let start = self.octets.len();
        let lower = Name(name.0.iter().map(|label| label.to_ascii_lowercase()).collect());
        let whole = lower.wire();
        if let (Compression::Whole, Some(at)) = (compression, self.last.get(&whole)) {
            let at = *at;
            self.pointer(at);
            self.remember(whole, start);
            return;
        }
        for (index, label) in name.0.iter().enumerate() {
            let suffix = Name(lower.0[index..].to_vec()).wire();
            if let (true, Some(at)) = (compression != Compression::None, self.first.get(&suffix)) {
                let at = *at;
                self.pointer(at);
                self.remember(whole, start);
                return;
            }
            let at = self.octets.len();
            if at < 0x4000 {
                self.first.entry(suffix).or_insert(at);
            }
            self.marks.labels.push(at);
            self.octets.push(label.len() as u8);
            self.octets.extend(label);
        }
        self.octets.push(0);
        self.remember(whole, start);
    }

    fn remember(&mut self, name: Vec<u8>, start: usize) {
        if start < 0x4000 {
            self.last.insert(name, start);
        }
    }

    /// Writes type, class and time to live, and the data with its length.
    pub fn rest(&mut self, kind: u16, class: u16, ttl: u32, data: &Data, compression: Compression) {
        self.number(kind);
        self.number(class);
        self.octets.extend(ttl.to_be_bytes());
        let start = self.octets.len();
        self.marks.lengths.push(start);
        self.number(0);
        match data {
            Data::A(address) => self.octets.extend(address.octets()),
            Data::Aaaa(address) => self.octets.extend(address.octets()),
            Data::Name(before, name) => {
                self.octets.extend(before);
                self.name(name, compression);
            }
            Data::Names(names, after) => {
                for name in names {
                    self.name(name, compression);
                }
                self.octets.extend(after);
            }
            Data::Opaque(octets) => self.octets.extend(octets),
            Data::Service(priority, target, parameters) => {
                self.number(*priority);
                self.name(target, Compression::None);
                for (key, value) in parameters {
                    self.number(*key);
                    self.marks.lengths.push(self.octets.len());
                    self.number(value.len() as u16);
                    self.octets.extend(value);
                }
            }
        }
        let length = (self.octets.len() - start - 2) as u16;
        self.octets[start..start + 2].copy_from_slice(&length.to_be_bytes());
    }

    /// Writes a record of a section: 1 for answers, 2 for authorities, 3 for the rest.
    pub fn record(&mut self, section: usize, record: &Record, compression: Compression) {
        self.marks.records.push(self.octets.len());
        self.name(&record.owner, compression);
        self.rest(record.kind, record.class, record.ttl, &record.data, compression);
        self.set_count(section, self.count(section) + 1);
    }

    /// Returns the message with further answers.
    pub fn with(mut self, records: &[Record]) -> Self {
        for record in records {
            self.record(1, record, Compression::Suffix);
        }
        self
    }
}
