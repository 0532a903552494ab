//! Makes Ethernet frames of captured packets, whatever the link type, and finds their addresses.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::{error::Fault, reader::Captured};

/// Octets of a packet at most: an IP packet behind an Ethernet header with a tag.
const LONGEST: usize = 65_535 + 40 + 18;

/// EtherTypes.
const IPV4: u16 = 0x0800;
const IPV6: u16 = 0x86dd;
const VLANS: [u16; 2] = [0x8100, 0x88a8];

/// Octets of an Ethernet header.
pub(super) const ETHERNET: usize = 14;

/// Hardware addresses of a frame whose own are not known.
const UNKNOWN: [u8; 12] = [2, 0, 0, 0, 0, 2, 2, 0, 0, 0, 0, 1];

/// Packet as an untagged Ethernet frame.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Frame {
    /// Octets, with zeros for those that were not captured.
    pub octets: Vec<u8>,
    /// VLAN tag; `None` if there is none, or the link type has none.
    pub vlan: Option<u16>,
    /// Sender's and receiver's addresses.
    pub source: IpAddr,
    /// Address of the receiver.
    pub destination: IpAddr,
    /// Sender's hardware address, if it is known.
    pub mac: Option<[u8; 6]>,
    /// Whether the host that captured has sent the packet; `None` if the link type does not tell.
    pub is_outgoing: Option<bool>,
    /// Number of octets that were captured.
    pub captured: usize,
}

/// Makes the frame of a packet; `None` of one that is no IP.
pub(super) fn frame_of(packet: &Captured<'_>) -> Result<Option<Frame>, Fault> {
    let octets = packet.octets;
    let parts = match packet.link {
        1 => ethernet(octets),
        101 | 228 | 229 => raw(octets),
        113 => sll(octets),
        276 => sll2(octets),
        other => return Err(Fault::LinkType(other)),
    };
    let Some(parts) = parts else { return Ok(None) };
    let Some((source, destination)) = addresses(parts.ethertype, parts.ip) else { return Ok(None) };
    let missing = packet.length.saturating_sub(octets.len());
    let mut frame = Vec::with_capacity(ETHERNET + parts.ip.len());
    frame.extend_from_slice(&parts.macs);
    frame.extend_from_slice(&parts.ethertype.to_be_bytes());
    frame.extend_from_slice(parts.ip);
    let captured = frame.len();
    frame.resize(captured.saturating_add(missing).min(LONGEST).max(captured), 0);
    Ok(Some(Frame {
        octets: frame,
        vlan: parts.vlan,
        source,
        destination,
        mac: parts.mac,
        is_outgoing: parts.is_outgoing,
        captured,
    }))
}

struct Parts<'a> {
    macs: [u8; 12],
    mac: Option<[u8; 6]>,
    vlan: Option<u16>,
    ethertype: u16,
    ip: &'a [u8],
    is_outgoing: Option<bool>,
}

fn ethernet(octets: &[u8]) -> Option<Parts<'_>> {
    let (macs, rest) = octets.split_first_chunk::<12>()?;
    let (_, mac) = macs.split_last_chunk::<6>()?;
    let (ethertype, vlan, ip) = tags(rest)?;
    Some(Parts { macs: *macs, mac: Some(*mac), vlan, ethertype, ip, is_outgoing: None })
}

/// Reads tags and the EtherType behind them: the outermost counts, as for the filter.
fn tags(octets: &[u8]) -> Option<(u16, Option<u16>, &[u8])> {
    let (ethertype, rest) = octets.split_first_chunk::<2>()?;
    let ethertype = u16::from_be_bytes(*ethertype);
    if !VLANS.contains(&ethertype) {
        return Some((ethertype, None, rest));
    }
    let (tag, rest) = rest.split_first_chunk::<2>()?;
    let (ethertype, rest) = rest.split_first_chunk::<2>()?;
    let vlan = u16::from_be_bytes(*tag) & 0xfff;
    Some((u16::from_be_bytes(*ethertype), (vlan != 0).then_some(vlan), rest))
}

fn raw(octets: &[u8]) -> Option<Parts<'_>> {
    let ethertype = match octets.first()? >> 4 {
        4 => IPV4,
        6 => IPV6,
        _ => return None,
    };
    Some(Parts { macs: UNKNOWN, mac: None, vlan: None, ethertype, ip: octets, is_outgoing: None })
}

/// Linux cooked capture: type, hardware type, address length, address, protocol.
fn sll(octets: &[u8]) -> Option<Parts<'_>> {
    let (header, ip) = octets.split_first_chunk::<16>()?;
    let [t0, t1, _, _, l0, l1, a, b, c, d, e, f, _, _, p0, p1] = *header;
    let known = u16::from_be_bytes([l0, l1]) == 6;
    Some(cooked(u16::from_be_bytes([t0, t1]), known.then_some([a, b, c, d, e, f]), [p0, p1], ip))
}

/// Its second version: protocol, reserved, interface, hardware type, type, address length, address.
fn sll2(octets: &[u8]) -> Option<Parts<'_>> {
    let (header, ip) = octets.split_first_chunk::<20>()?;
    let [p0, p1, _, _, _, _, _, _, _, _, kind, length, a, b, c, d, e, f, _, _] = *header;
    Some(cooked(kind.into(), (length == 6).then_some([a, b, c, d, e, f]), [p0, p1], ip))
}

fn cooked(kind: u16, mac: Option<[u8; 6]>, protocol: [u8; 2], ip: &[u8]) -> Parts<'_> {
    const OUTGOING: u16 = 4;
    let mut macs = UNKNOWN;
    if let (Some(mac), Some((_, source))) = (mac, macs.split_last_chunk_mut::<6>()) {
        *source = mac;
    }
    let tagged = [&protocol[..], ip.get(..4).unwrap_or_default()].concat();
    let (ethertype, vlan, ip) = match tags(&tagged) {
        Some((ethertype, vlan @ Some(_), _)) => (ethertype, vlan, ip.get(4..).unwrap_or_default()),
        _ => (u16::from_be_bytes(protocol), None, ip),
    };
    Parts { macs, mac, vlan, ethertype, ip, is_outgoing: Some(kind == OUTGOING) }
}

fn addresses(ethertype: u16, ip: &[u8]) -> Option<(IpAddr, IpAddr)> {
    match ethertype {
        IPV4 => {
            let at = |at: usize| Some(Ipv4Addr::from(*ip.get(at..)?.first_chunk::<4>()?));
            Some((at(12)?.into(), at(16)?.into()))
        }
        IPV6 => {
            let at = |at: usize| Some(Ipv6Addr::from(*ip.get(at..)?.first_chunk::<16>()?));
            Some((at(8)?.into(), at(24)?.into()))
        }
        _ => None,
    }
}

/// Ports and DNS message of a frame's packet.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Transport<'a> {
    /// IP protocol behind extension headers that are simple.
    pub protocol: u8,
    /// Port of the sender; 0 without ports.
    pub source_port: u16,
    /// Port of the receiver; 0 without ports.
    pub destination_port: u16,
    /// Payload of a UDP datagram.
    pub payload: &'a [u8],
}

impl Frame {
    /// Reads the transport header, for the summary alone: the filter's logic reads for itself.
    pub(super) fn transport(&self) -> Transport<'_> {
        self.read_transport().unwrap_or_default()
    }

    fn read_transport(&self) -> Option<Transport<'_>> {
        let ip = self.octets.get(ETHERNET..self.captured)?;
        let (protocol, rest) = match self.source {
            IpAddr::V4(_) => {
                let length = usize::from(ip.first()? & 0xf) * 4;
                let fragment = u16::from_be_bytes(*ip.get(6..)?.first_chunk::<2>()?) & 0x1fff;
                if fragment != 0 {
                    return Some(Transport { protocol: *ip.get(9)?, ..Transport::default() });
                }
                (*ip.get(9)?, ip.get(length..)?)
            }
            IpAddr::V6(_) => (*ip.get(6)?, ip.get(40..)?),
        };
        if !matches!(protocol, 6 | 17) {
            return Some(Transport { protocol, ..Transport::default() });
        }
        let port = |at: usize| Some(u16::from_be_bytes(*rest.get(at..)?.first_chunk::<2>()?));
        let payload = if protocol == 17 { rest.get(8..).unwrap_or_default() } else { &[] };
        Some(Transport { protocol, source_port: port(0)?, destination_port: port(2)?, payload })
    }
}
