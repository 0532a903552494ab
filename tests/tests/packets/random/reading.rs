//! Frames, read by another library than the filter's own.

use std::net::IpAddr;

use etherparse::{LaxNetSlice, LaxSlicedPacket};

pub const TCP: u8 = 6;
pub const UDP: u8 = 17;

/// Fields of a frame that matter here.
#[derive(Debug)]
pub struct Reading {
    pub vlan: u16,
    pub source: IpAddr,
    pub destination: IpAddr,
    pub protocol: u8,
    pub payload: Vec<u8>,
    /// Of a fragment.
    pub fragment: Option<Fragment>,
}

/// Position of a fragment in its datagram.
#[derive(Clone, Copy, Debug)]
pub struct Fragment {
    pub id: u32,
    pub is_first: bool,
}

/// A flow, as its client sees it; of echoes both ports are the identifier.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Flow {
    pub vlan: u16,
    pub protocol: u8,
    pub client: IpAddr,
    pub client_port: u16,
    pub remote: IpAddr,
    pub remote_port: u16,
}

impl Reading {
    /// Reads a frame; `None` without an IP header.
    pub fn of(frame: &[u8]) -> Option<Self> {
        // The library takes this type for a tag's; to Linux it is unknown.
        const FOREIGN_TAG: [u8; 2] = [0x91, 0];
        let is_tagged = matches!(frame.get(12..14)?, [0x81, 0] | [0x88, 0xa8]);
        if frame.get(if is_tagged { 16..18 } else { 12..14 })? == FOREIGN_TAG {
            return None;
        }
        let packet = LaxSlicedPacket::from_ethernet(frame).ok()?;
        let vlan = packet.vlan_ids().first().map_or(0, |id| id.value());
        Self::of_slices(packet.net?, frame, vlan)
    }

    fn of_slices(slices: LaxNetSlice<'_>, octets: &[u8], vlan: u16) -> Option<Self> {
        match slices {
            LaxNetSlice::Ipv4(ip) => {
                let header = ip.header();
                let (offset, more) = (header.fragments_offset().value(), header.more_fragments());
                Some(Self {
                    vlan,
                    source: header.source_addr().into(),
                    destination: header.destination_addr().into(),
                    protocol: ip.payload().ip_number.0,
                    payload: ip.payload().payload.to_vec(),
                    fragment: (offset != 0 || more).then_some(Fragment {
                        id: header.identification().into(),
                        is_first: offset == 0,
                    }),
                })
            }
            LaxNetSlice::Ipv6(ip) => {
                let header = ip.header();
                let behind = octets.windows(40).position(|window| window == header.slice())? + 40;
                let payload = octets.get(behind..)?;
                let payload = payload.get(..header.payload_length().into()).unwrap_or(payload);
                let (protocol, payload, fragment) =
                    behind_extensions(header.next_header().0, payload)?;
                Some(Self {
                    vlan,
                    source: header.source_addr().into(),
                    destination: header.destination_addr().into(),
                    protocol,
                    payload: payload.to_vec(),
                    fragment,
                })
            }
            LaxNetSlice::Arp(_) => None,
        }
    }

    /// The datagram that an ICMP error quotes.
    pub fn quoted(&self) -> Option<Self> {
        let octets = self.payload.get(8..)?;
        let packet = LaxSlicedPacket::from_ip(octets).ok()?;
        let reading = Self::of_slices(packet.net?, octets, self.vlan)?;
        // What its length says is of no use: it was cut.
        let header = if reading.source.is_ipv4() { usize::from(octets[0] & 15) * 4 } else { 40 };
        let payload = octets.get(header..)?.to_vec();
        Some(Self { payload, ..reading })
    }

    /// Whether it is a fragment other than a first one.
    pub fn is_later(&self) -> bool {
        self.fragment.is_some_and(|fragment| !fragment.is_first)
    }

    /// The destination port.
    pub fn port(&self) -> Option<u16> {
        self.be16(2)
    }

    pub fn be16(&self, offset: usize) -> Option<u16> {
        Some(u16::from_be_bytes(*self.payload.get(offset..)?.first_chunk()?))
    }

    /// The flow that it belongs to, from its client or to it.
    pub fn flow(&self, from_client: bool) -> Option<Flow> {
        let echo = matches!((self.protocol, self.payload.first()?), (1, 0 | 8) | (58, 128 | 129));
        let (one, other) = if echo {
            (self.be16(4)?, self.be16(4)?)
        } else if matches!(self.protocol, TCP | UDP) {
            (self.be16(0)?, self.be16(2)?)
        } else {
            return None;
        };
        let ((client, client_port), (remote, remote_port)) = if from_client {
            ((self.source, one), (self.destination, other))
        } else {
            ((self.destination, other), (self.source, one))
        };
        let (vlan, protocol) = (self.vlan, self.protocol);
        let flow = Flow { vlan, protocol, client, client_port, remote, remote_port };
        (!self.is_later()).then_some(flow)
    }
}

/// Payload behind IPv6 extension headers, and its fragment (RFC 8200, section 4; RFC 4302; the
/// headers of RFC 6275, 7401 and 5533 look alike).
fn behind_extensions(mut next: u8, mut payload: &[u8]) -> Option<(u8, &[u8], Option<Fragment>)> {
    let mut fragment = None;
    loop {
        let octets = |unit: usize, more: usize| Some((usize::from(*payload.get(1)?) + more) * unit);
        let length = match next {
            0 | 43 | 60 | 135 | 139 | 140 => octets(8, 1)?,
            51 => octets(4, 2)?,
            44 => 8,
            _ => return Some((next, payload, fragment)),
        };
        if next == 44 {
            let field = u16::from_be_bytes(*payload.get(2..)?.first_chunk()?);
            let id = u32::from_be_bytes(*payload.get(4..)?.first_chunk()?);
            let is_first = field >> 3 == 0;
            // An atomic fragment is a whole datagram (RFC 6946).
            fragment = (!is_first || field & 1 != 0).then_some(Fragment { id, is_first });
        }
        next = *payload.first()?;
        payload = payload.get(length..)?;
        if fragment.is_some_and(|fragment| !fragment.is_first) {
            // No header begins here, whatever the next one is called.
            return Some((next, payload, fragment));
        }
    }
}
