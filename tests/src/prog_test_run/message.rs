//! Builds DNS messages, octet by octet: whole ones, and every kind of broken one.

/// Type of an IPv4 address.
pub const A: u16 = 1;
/// Type of an alias.
pub const CNAME: u16 = 5;
/// Type of an IPv6 address.
pub const AAAA: u16 = 28;
/// Type of the EDNS pseudo record.
pub const OPT: u16 = 41;
/// Octets of a header; the question begins behind it.
pub const HEADER: usize = 12;
/// A compressed name: that of the question.
pub const QUESTION: [u8; 2] = [0xc0, HEADER as u8];

const INTERNET: u16 = 1;
const RECURSION_DESIRED: u16 = 0x0100;
const ANSWER: u16 = 0x8180;

/// Sections that hold records, by the place of their count in the header.
#[derive(Clone, Copy, Debug)]
pub enum Section {
    /// The answer section.
    Answer = 6,
    /// The authority section.
    Authority = 8,
    /// The additional section.
    Additional = 10,
}

/// A message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message(Vec<u8>);

/// A name as labels.
#[must_use]
pub fn name(text: &str) -> Vec<u8> {
    let mut octets = Vec::new();
    for label in text.split('.').filter(|label| !label.is_empty()) {
        octets.push(u8::try_from(label.len()).expect("a short label"));
        octets.extend(label.as_bytes());
    }
    octets.push(0);
    octets
}

impl Message {
    /// A query with one question.
    #[must_use]
    pub fn query(id: u16, name: &str, kind: u16) -> Self {
        Self::header(id, RECURSION_DESIRED).question(&self::name(name), kind)
    }

    /// A header alone.
    #[must_use]
    pub fn header(id: u16, flags: u16) -> Self {
        Self([&id.to_be_bytes()[..], &flags.to_be_bytes(), &[0; 8]].concat())
    }

    /// Adds a question.
    #[must_use]
    pub fn question(mut self, name: &[u8], kind: u16) -> Self {
        self.0.extend(name);
        self.0.extend(kind.to_be_bytes());
        self.0.extend(INTERNET.to_be_bytes());
        self.count(4, 1)
    }

    /// The beginning of its positive answer: the header and the question.
    #[must_use]
    pub fn answered(&self) -> Self {
        let mut octets = self.0.clone();
        octets[2..4].copy_from_slice(&ANSWER.to_be_bytes());
        Self(octets)
    }

    /// Adds a record of the class IN.
    #[must_use]
    pub fn record(self, section: Section, owner: &[u8], kind: u16, ttl: u32, data: &[u8]) -> Self {
        self.record_of(section, owner, kind, INTERNET, ttl, data)
    }

    /// Adds a record of any class.
    #[must_use]
    pub fn record_of(
        mut self,
        section: Section,
        owner: &[u8],
        kind: u16,
        class: u16,
        ttl: u32,
        data: &[u8],
    ) -> Self {
        self.0.extend(owner);
        self.0.extend(kind.to_be_bytes());
        self.0.extend(class.to_be_bytes());
        self.0.extend(ttl.to_be_bytes());
        self.0.extend(u16::try_from(data.len()).expect("short data").to_be_bytes());
        self.0.extend(data);
        self.count(section as usize, 1)
    }

    /// Adds an address to the answer section.
    #[must_use]
    pub fn address(self, owner: &[u8], ttl: u32, address: std::net::IpAddr) -> Self {
        match address {
            std::net::IpAddr::V4(v4) => self.record(Section::Answer, owner, A, ttl, &v4.octets()),
            std::net::IpAddr::V6(v6) => {
                self.record(Section::Answer, owner, AAAA, ttl, &v6.octets())
            }
        }
    }

    /// Adds an alias to the answer section.
    #[must_use]
    pub fn alias(self, owner: &[u8], target: &[u8]) -> Self {
        self.record(Section::Answer, owner, CNAME, 300, target)
    }

    /// Adds the EDNS record: payload size, flags, options.
    #[must_use]
    pub fn edns(self, size: u16, flags: u16, options: &[u8]) -> Self {
        self.record_of(Section::Additional, &[0], OPT, size, u32::from(flags), options)
    }

    /// Adds to the count at an offset of the header.
    #[must_use]
    pub fn count(mut self, at: usize, more: u16) -> Self {
        let count = u16::from_be_bytes([self.0[at], self.0[at + 1]]).wrapping_add(more);
        self.0[at..at + 2].copy_from_slice(&count.to_be_bytes());
        self
    }

    /// Sets the flags and the response code.
    #[must_use]
    pub fn flags(mut self, flags: u16) -> Self {
        self.0[2..4].copy_from_slice(&flags.to_be_bytes());
        self
    }

    /// Sets the identification.
    #[must_use]
    pub fn id(mut self, id: u16) -> Self {
        self.0[..2].copy_from_slice(&id.to_be_bytes());
        self
    }

    /// Puts other octets at an offset.
    #[must_use]
    pub fn with(mut self, at: usize, octets: &[u8]) -> Self {
        self.0[at..at + octets.len()].copy_from_slice(octets);
        self
    }

    /// Adds octets behind everything.
    #[must_use]
    pub fn followed_by(mut self, octets: &[u8]) -> Self {
        self.0.extend(octets);
        self
    }

    /// Its first octets.
    #[must_use]
    pub fn cut(mut self, length: usize) -> Self {
        self.0.truncate(length);
        self
    }

    /// Its octets.
    #[must_use]
    pub fn octets(&self) -> &[u8] {
        &self.0
    }
}
