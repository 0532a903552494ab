//! TCP segments as octets: made by hand, and read from frames that were seen.

use std::net::IpAddr;

use anyhow::{Context as _, Result};
use etherparse::{
    EtherType, Ethernet2Header, IpNumber, Ipv4Header, Ipv6Header, NetSlice, SlicedPacket,
    TcpHeader, TransportSlice,
};

/// FIN.
pub const FIN: u8 = 1;
/// SYN.
pub const SYN: u8 = 2;
/// RST.
pub const RST: u8 = 4;
/// PSH.
pub const PSH: u8 = 8;
/// ACK.
pub const ACK: u8 = 16;
/// URG.
pub const URG: u8 = 32;

/// A segment in its frame.
#[derive(Clone, Debug)]
pub struct Segment<'a> {
    /// Link-layer addresses: from, to.
    pub link: [[u8; 6]; 2],
    /// Addresses: from, to.
    pub addresses: [IpAddr; 2],
    /// Ports: from, to.
    pub ports: [u16; 2],
    /// Sequence number.
    pub sequence: u32,
    /// Acknowledgement number.
    pub acknowledgement: u32,
    /// Flags.
    pub flags: u8,
    /// Window.
    pub window: u16,
    /// Urgent pointer.
    pub urgent: u16,
    /// Options, a multiple of four octets.
    pub options: &'a [u8],
    /// Data.
    pub data: &'a [u8],
    /// A number by which it is known again: the identification of IPv4, the flow label of IPv6.
    pub number: u16,
    /// Hop limit.
    pub hops: u8,
    /// Whether its checksum is wrong.
    pub damaged: bool,
}

impl Segment<'_> {
    /// The frame.
    pub fn frame(&self) -> Result<Vec<u8>> {
        let [source_port, destination_port] = self.ports;
        let is = |flag| self.flags & flag != 0;
        let mut tcp = TcpHeader {
            acknowledgment_number: self.acknowledgement,
            fin: is(FIN),
            syn: is(SYN),
            rst: is(RST),
            psh: is(PSH),
            ack: is(ACK),
            urg: is(URG),
            urgent_pointer: self.urgent,
            ..TcpHeader::new(source_port, destination_port, self.sequence, self.window)
        };
        tcp.set_options_raw(self.options)?;
        let length = tcp.header_len() + self.data.len();
        let [source, destination] = self.link;
        let mut ethernet = Ethernet2Header { source, destination, ether_type: EtherType::IPV4 };
        let mut frame = Vec::with_capacity(128 + length);
        match self.addresses {
            [IpAddr::V4(from), IpAddr::V4(to)] => {
                let (from, to) = (from.octets(), to.octets());
                let mut ip = Ipv4Header::new(length as u16, self.hops, IpNumber::TCP, from, to)?;
                ip.identification = self.number;
                ip.dont_fragment = false;
                ip.header_checksum = ip.calc_header_checksum();
                tcp.checksum = tcp.calc_checksum_ipv4(&ip, self.data)?;
                ethernet.write(&mut frame)?;
                ip.write(&mut frame)?;
            }
            [IpAddr::V6(from), IpAddr::V6(to)] => {
                let ip = Ipv6Header {
                    flow_label: u32::from(self.number).try_into()?,
                    payload_length: length as u16,
                    next_header: IpNumber::TCP,
                    hop_limit: self.hops,
                    source: from.octets(),
                    destination: to.octets(),
                    ..Ipv6Header::default()
                };
                tcp.checksum = tcp.calc_checksum_ipv6(&ip, self.data)?;
                ethernet.ether_type = EtherType::IPV6;
                ethernet.write(&mut frame)?;
                ip.write(&mut frame)?;
            }
            _ => anyhow::bail!("addresses of two families"),
        }
        tcp.checksum ^= u16::from(self.damaged) << 3;
        tcp.write(&mut frame)?;
        frame.extend(self.data);
        Ok(frame)
    }
}

/// A segment that was seen.
#[derive(Clone, Debug)]
pub struct Seen {
    /// Addresses: from, to.
    pub addresses: [IpAddr; 2],
    /// Ports: from, to.
    pub ports: [u16; 2],
    /// Sequence number.
    pub sequence: u32,
    /// Acknowledgement number.
    pub acknowledgement: u32,
    /// Flags.
    pub flags: u8,
    /// The time stamp of who has sent it.
    pub stamp: Option<u32>,
    /// Data.
    pub data: Vec<u8>,
    /// The number by which it is known again.
    pub number: u16,
}

impl Seen {
    /// Reads a frame; `None` if it is no TCP.
    pub fn read(frame: &[u8]) -> Result<Option<Self>> {
        let sliced = SlicedPacket::from_ethernet(frame).context("a frame that does not parse")?;
        let Some(TransportSlice::Tcp(tcp)) = sliced.transport else { return Ok(None) };
        let (addresses, number) = match sliced.net {
            Some(NetSlice::Ipv4(ip)) => {
                let ip = ip.header();
                let addresses = [ip.source_addr(), ip.destination_addr()].map(IpAddr::V4);
                (addresses, ip.identification())
            }
            Some(NetSlice::Ipv6(ip)) => {
                let ip = ip.header();
                let addresses = [ip.source_addr(), ip.destination_addr()].map(IpAddr::V6);
                (addresses, ip.flow_label().value() as u16)
            }
            _ => return Ok(None),
        };
        let flags = [
            (tcp.fin(), FIN),
            (tcp.syn(), SYN),
            (tcp.rst(), RST),
            (tcp.psh(), PSH),
            (tcp.ack(), ACK),
            (tcp.urg(), URG),
        ];
        let stamp = tcp.options_iterator().find_map(|option| match option {
            Ok(etherparse::TcpOptionElement::Timestamp(stamp, _)) => Some(stamp),
            _ => None,
        });
        Ok(Some(Self {
            addresses,
            ports: [tcp.source_port(), tcp.destination_port()],
            sequence: tcp.sequence_number(),
            acknowledgement: tcp.acknowledgment_number(),
            flags: flags.iter().map(|(set, flag)| if *set { *flag } else { 0 }).sum(),
            stamp,
            data: tcp.payload().to_vec(),
            number,
        }))
    }

    /// Whether it has a flag.
    #[must_use]
    pub const fn has(&self, flag: u8) -> bool {
        self.flags & flag != 0
    }
}

/// Flags as letters.
#[must_use]
pub fn letters(flags: u8) -> String {
    let all = [(SYN, 'S'), (FIN, 'F'), (RST, 'R'), (PSH, 'P'), (URG, 'U'), (ACK, '.')];
    all.iter().filter(|(flag, _)| flags & flag != 0).map(|(_, letter)| letter).collect()
}

#[test]
fn a_segment_is_read_as_it_was_made() -> Result<()> {
    for [from, to] in [["10.0.0.1", "192.0.2.1"], ["fd00::1", "2001:db8::1"]] {
        let segment = Segment {
            link: [[2, 0, 0, 0, 0, 1], [2, 0, 0, 0, 0, 2]],
            addresses: [from.parse()?, to.parse()?],
            ports: [4711, 53],
            sequence: 0xffff_fff0,
            acknowledgement: 7,
            flags: ACK | PSH | URG,
            window: 1000,
            urgent: 2,
            options: &[1, 1, 8, 10, 0, 0, 0, 9, 0, 0, 0, 0],
            data: b"octets",
            number: 0xbeef,
            hops: 64,
            damaged: false,
        };
        let seen = Seen::read(&segment.frame()?)?.context("a segment")?;
        anyhow::ensure!(seen.addresses == segment.addresses && seen.ports == segment.ports);
        anyhow::ensure!(seen.sequence == segment.sequence && seen.flags == segment.flags);
        anyhow::ensure!(seen.data == segment.data && seen.number == segment.number);
        anyhow::ensure!(seen.stamp == Some(9) && letters(seen.flags) == "PU.");
    }
    Ok(())
}
