//! Builds frames: a datagram of either family, and everything that can be wrong with one.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use etherparse::{
    EtherType, Ethernet2Header, Icmpv4Header, Icmpv4Type, Icmpv6Header, Icmpv6Type, IpDscp, IpEcn,
    IpFragOffset, IpNumber, Ipv4Header, Ipv4Options, Ipv6Header, TcpHeader, UdpHeader,
};

/// Octets of an Ethernet header without tags.
pub const ETHERNET: usize = 14;
/// EtherType of a VLAN tag.
pub const TAG: u16 = 0x8100;
/// EtherType of an outer tag of two.
pub const SERVICE_TAG: u16 = 0x88a8;

/// Hardware address that frames come from.
pub const CLIENT_MAC: [u8; 6] = [0x02, 0, 0, 0, 0, 0x10];
/// Hardware address that frames go to.
pub const GATEWAY_MAC: [u8; 6] = [0x02, 0, 0, 0, 0, 0x01];

/// Flags of a TCP header.
#[derive(Clone, Copy, Debug, Default)]
pub struct Flags {
    /// SYN.
    pub syn: bool,
    /// ACK.
    pub ack: bool,
    /// FIN.
    pub fin: bool,
    /// RST.
    pub rst: bool,
    /// URG, with an urgent pointer to behind the first octet.
    pub urg: bool,
}

impl Flags {
    /// Opens a connection.
    pub const SYN: Self = Self { syn: true, ack: false, fin: false, rst: false, urg: false };
    /// Answers an opening.
    pub const SYN_ACK: Self = Self { ack: true, ..Self::SYN };
    /// Carries data.
    pub const ACK: Self = Self { syn: false, ..Self::SYN_ACK };
    /// Ends one direction.
    pub const FIN: Self = Self { fin: true, ..Self::ACK };
    /// Ends both at once.
    pub const RST: Self = Self { rst: true, ..Self::ACK };
    /// Carries data of which the first octet is urgent.
    pub const URG: Self = Self { urg: true, ..Self::ACK };
}

/// A datagram that becomes a frame.
#[derive(Clone, Debug)]
pub struct Datagram {
    source: IpAddr,
    destination: IpAddr,
    hop_limit: u8,
    class: u8,
    label: u16,
    tags: Vec<(u16, u16)>,
    options: Vec<u8>,
    extensions: Vec<(u8, Vec<u8>)>,
    identification: Option<u16>,
    fragment: (u16, bool),
    protocol: u8,
    payload: Vec<u8>,
}

impl Datagram {
    /// An empty one. Both addresses are of one family.
    #[must_use]
    pub fn new(source: impl Into<IpAddr>, destination: impl Into<IpAddr>) -> Self {
        let (source, destination) = (source.into(), destination.into());
        assert_eq!(source.is_ipv4(), destination.is_ipv4(), "{source} and {destination}");
        Self {
            source,
            destination,
            hop_limit: 64,
            class: 0,
            label: 0,
            tags: Vec::new(),
            options: Vec::new(),
            extensions: Vec::new(),
            identification: None,
            fragment: (0, false),
            protocol: 59,
            payload: Vec::new(),
        }
    }

    /// Sets the time to live or hop limit.
    #[must_use]
    pub const fn hop_limit(mut self, hop_limit: u8) -> Self {
        self.hop_limit = hop_limit;
        self
    }

    /// Sets the traffic class, of IPv4 the octet that is called type of service, and a number: the
    /// flow label, of IPv4 the identification.
    #[must_use]
    pub const fn label(mut self, class: u8, number: u16) -> Self {
        self.class = class;
        self.label = number;
        self
    }

    /// Puts a VLAN tag behind those that are there: an EtherType such as [`TAG`], and the tag
    /// control information.
    #[must_use]
    pub fn tag(mut self, ethertype: u16, control: u16) -> Self {
        self.tags.push((ethertype, control));
        self
    }

    /// Adds IPv4 options; filled up with zeros to a word.
    #[must_use]
    pub fn options(mut self, octets: &[u8]) -> Self {
        self.options.extend(octets);
        self.options.resize(self.options.len().next_multiple_of(4), 0);
        self
    }

    /// Puts an IPv6 extension header behind those that are there: its octets without the first,
    /// which names the next header.
    #[must_use]
    pub fn extension(mut self, kind: u8, octets: &[u8]) -> Self {
        self.extensions.push((kind, octets.to_vec()));
        self
    }

    /// Tells its fragments from those of others; said before [`Self::fragment`].
    #[must_use]
    pub const fn identification(mut self, identification: u16) -> Self {
        self.identification = Some(identification);
        self
    }

    /// Makes it a fragment at an offset in units of eight octets: of IPv6 by an extension header.
    #[must_use]
    pub fn fragment(mut self, offset: u16, more: bool) -> Self {
        if self.source.is_ipv6() {
            let [high, low] = (offset << 3 | u16::from(more)).to_be_bytes();
            let [first, second] = self.identification.unwrap_or(0x1234).to_be_bytes();
            return self.extension(44, &[0, high, low, 0, 0, first, second]);
        }
        self.fragment = (offset, more);
        self
    }

    /// Carries these octets of this protocol.
    #[must_use]
    pub fn raw(mut self, protocol: u8, payload: &[u8]) -> Self {
        (self.protocol, self.payload) = (protocol, payload.to_vec());
        self
    }

    /// Carries a TCP segment with a few octets of data, of a connection on which each side has sent
    /// no more than its SYN, with such data.
    #[must_use]
    pub fn tcp(self, source_port: u16, destination_port: u16, flags: Flags) -> Self {
        const DATA: &[u8] = b"data";
        const FIRST: u32 = 1;
        const NEXT: u32 = FIRST + 1 + DATA.len() as u32;
        let sequence = if flags.syn { FIRST } else { NEXT };
        let acknowledgment = if flags.ack { NEXT } else { 0 };
        self.segment([source_port, destination_port], flags, [sequence, acknowledgment], DATA)
    }

    /// Carries a TCP segment: source and destination port, flags, sequence and acknowledgment
    /// number, data.
    #[must_use]
    pub fn segment(self, ports: [u16; 2], flags: Flags, numbers: [u32; 2], data: &[u8]) -> Self {
        self.segment_with(&[], ports, flags, numbers, data)
    }

    /// A TCP segment with options, padded with zeros.
    #[must_use]
    pub fn segment_with(
        self,
        options: &[u8],
        ports: [u16; 2],
        flags: Flags,
        numbers: [u32; 2],
        data: &[u8],
    ) -> Self {
        let mut header = TcpHeader::new(ports[0], ports[1], numbers[0], 1024);
        header.acknowledgment_number = numbers[1];
        (header.syn, header.ack) = (flags.syn, flags.ack);
        (header.fin, header.rst) = (flags.fin, flags.rst);
        header.set_options_raw(options).expect("a few options");
        (header.urg, header.urgent_pointer) = (flags.urg, u16::from(flags.urg));
        header.checksum = match (self.source, self.destination) {
            (IpAddr::V4(source), IpAddr::V4(destination)) => {
                header.calc_checksum_ipv4_raw(source.octets(), destination.octets(), data)
            }
            _ => {
                let (source, destination) = (octets6(self.source), octets6(self.destination));
                header.calc_checksum_ipv6_raw(source, destination, data)
            }
        }
        .expect("a short segment");
        let octets = [header.to_bytes().as_slice(), data].concat();
        self.raw(IpNumber::TCP.0, &octets)
    }

    /// Carries a UDP message.
    #[must_use]
    pub fn udp(self, source_port: u16, destination_port: u16, message: &[u8]) -> Self {
        let header = UdpHeader::without_ipv4_checksum(source_port, destination_port, message.len());
        let mut header = header.expect("a short message");
        header.checksum = match (self.source, self.destination) {
            (IpAddr::V4(source), IpAddr::V4(destination)) => {
                header.calc_checksum_ipv4_raw(source.octets(), destination.octets(), message)
            }
            _ => {
                let (source, destination) = (octets6(self.source), octets6(self.destination));
                header.calc_checksum_ipv6_raw(source, destination, message)
            }
        }
        .expect("a short message");
        self.raw(IpNumber::UDP.0, &[&header.to_bytes(), message].concat())
    }

    /// Carries a message of the family's ICMP: type, code, the four octets behind the checksum,
    /// and the rest.
    #[must_use]
    pub fn icmp(self, kind: u8, code: u8, four: [u8; 4], rest: &[u8]) -> Self {
        if self.source.is_ipv4() {
            let kind = Icmpv4Type::Unknown { type_u8: kind, code_u8: code, bytes5to8: four };
            let header = Icmpv4Header::with_checksum(kind, rest).to_bytes();
            return self.raw(IpNumber::ICMP.0, &[header.as_slice(), rest].concat());
        }
        let kind = Icmpv6Type::Unknown { type_u8: kind, code_u8: code, bytes5to8: four };
        let (source, destination) = (octets6(self.source), octets6(self.destination));
        let header = Icmpv6Header::with_checksum(kind, source, destination, rest);
        let header = header.expect("a short message").to_bytes();
        self.raw(IpNumber::IPV6_ICMP.0, &[header.as_slice(), rest].concat())
    }

    /// Carries an echo request.
    #[must_use]
    pub fn echo_request(self, identifier: u16) -> Self {
        let kind = if self.source.is_ipv4() { 8 } else { 128 };
        self.echo(kind, identifier)
    }

    /// Carries an echo reply.
    #[must_use]
    pub fn echo_reply(self, identifier: u16) -> Self {
        let kind = if self.source.is_ipv4() { 0 } else { 129 };
        self.echo(kind, identifier)
    }

    fn echo(self, kind: u8, identifier: u16) -> Self {
        let [high, low] = identifier.to_be_bytes();
        self.icmp(kind, 0, [high, low, 0, 1], b"ping")
    }

    /// Carries the ICMP error "port unreachable" about another datagram.
    #[must_use]
    pub fn unreachable(self, about: &Self) -> Self {
        let (kind, code) = if self.source.is_ipv4() { (3, 3) } else { (1, 4) };
        self.icmp(kind, code, [0; 4], &about.packet())
    }

    /// The frame, from the client's hardware address to the gateway's.
    #[must_use]
    pub fn frame(&self) -> Vec<u8> {
        let ip = if self.source.is_ipv4() { EtherType::IPV4 } else { EtherType::IPV6 };
        let mut kinds = self.tags.iter().map(|(kind, _)| EtherType(*kind)).chain([ip]);
        let header = Ethernet2Header {
            source: CLIENT_MAC,
            destination: GATEWAY_MAC,
            ether_type: kinds.next().unwrap_or(ip),
        };
        let mut frame = header.to_bytes().to_vec();
        for ((_, control), next) in self.tags.iter().zip(kinds) {
            frame.extend(control.to_be_bytes());
            frame.extend(next.0.to_be_bytes());
        }
        frame.extend(self.packet());
        frame
    }

    /// The datagram itself.
    #[must_use]
    pub fn packet(&self) -> Vec<u8> {
        match (self.source, self.destination) {
            (IpAddr::V4(source), IpAddr::V4(destination)) => self.packet4(source, destination),
            (source, destination) => self.packet6(octets6(source), octets6(destination)),
        }
    }

    fn packet4(&self, source: Ipv4Addr, destination: Ipv4Addr) -> Vec<u8> {
        let protocol = IpNumber(self.protocol);
        let (source, destination) = (source.octets(), destination.octets());
        let length = u16::try_from(self.payload.len()).expect("a short payload");
        let header = Ipv4Header::new(length, self.hop_limit, protocol, source, destination);
        let mut header = header.expect("a short payload");
        header.identification = self.identification.unwrap_or(self.label);
        header.dscp = IpDscp::try_new(self.class >> 2).expect("6 bits");
        header.ecn = IpEcn::try_new(self.class & 3).expect("2 bits");
        let (offset, more) = self.fragment;
        header.fragment_offset = IpFragOffset::try_new(offset).expect("13 bits");
        header.more_fragments = more;
        header.dont_fragment = offset == 0 && !more;
        header.options = Ipv4Options::try_from(&self.options[..]).expect("at most 40 octets");
        header.set_payload_len(self.payload.len()).expect("a short payload");
        header.header_checksum = header.calc_header_checksum();
        [header.to_bytes().as_slice(), &self.payload].concat()
    }

    fn packet6(&self, source: [u8; 16], destination: [u8; 16]) -> Vec<u8> {
        let mut kinds = self.extensions.iter().map(|(kind, _)| *kind).chain([self.protocol]);
        let next_header = IpNumber(kinds.next().unwrap_or(self.protocol));
        let mut payload = Vec::new();
        for ((_, octets), next) in self.extensions.iter().zip(kinds) {
            payload.push(next);
            payload.extend(octets);
        }
        payload.extend(&self.payload);
        let header = Ipv6Header {
            traffic_class: self.class,
            flow_label: u32::from(self.label).try_into().expect("16 bits"),
            payload_length: u16::try_from(payload.len()).expect("a short payload"),
            next_header,
            hop_limit: self.hop_limit,
            source,
            destination,
        };
        [header.to_bytes().as_slice(), &payload].concat()
    }
}

/// A frame that carries something else than IP.
#[must_use]
pub fn frame_of(ethertype: u16, payload: &[u8]) -> Vec<u8> {
    let header = Ethernet2Header {
        source: CLIENT_MAC,
        destination: GATEWAY_MAC,
        ether_type: EtherType(ethertype),
    };
    [&header.to_bytes(), payload].concat()
}

/// The frame with other octets at an offset.
#[must_use]
pub fn patched(mut frame: Vec<u8>, offset: usize, octets: &[u8]) -> Vec<u8> {
    frame[offset..offset + octets.len()].copy_from_slice(octets);
    frame
}

fn octets6(address: IpAddr) -> [u8; 16] {
    match address {
        IpAddr::V4(v4) => v4.to_ipv6_mapped().octets(),
        IpAddr::V6(v6) => Ipv6Addr::octets(&v6),
    }
}
