//! TCP, UDP and ICMP headers, as far as a verdict needs them.

use super::{Fragment, HeaderError, Packet};
use crate::{
    abi::TransportProtocol,
    bytes::{be16, ne16},
};

/// IP protocol of ICMP.
pub const ICMP: u8 = 1;
/// IP protocol of IGMP.
pub const IGMP: u8 = 2;
/// IP protocol of TCP.
pub const TCP: u8 = TransportProtocol::Tcp.number();
/// IP protocol of UDP.
pub const UDP: u8 = TransportProtocol::Udp.number();
/// IP protocol of ICMPv6.
pub const ICMPV6: u8 = 58;
/// ICMP type of an echo reply (RFC 792).
pub const ICMP_ECHO_REPLY: u8 = 0;
/// ICMP type of an echo request (RFC 792).
pub const ICMP_ECHO_REQUEST: u8 = 8;
/// ICMPv6 type of an echo request (RFC 4443).
pub const ICMPV6_ECHO_REQUEST: u8 = 128;
/// ICMPv6 type of an echo reply (RFC 4443).
pub const ICMPV6_ECHO_REPLY: u8 = 129;
/// FIN among [`Transport::flags`].
pub const TCP_FIN: u8 = 1;
/// SYN among [`Transport::flags`].
pub const TCP_SYN: u8 = 2;
/// RST among [`Transport::flags`].
pub const TCP_RST: u8 = 4;
/// PSH among [`Transport::flags`].
pub const TCP_PSH: u8 = 8;
/// ACK among [`Transport::flags`].
pub const TCP_ACK: u8 = 16;
/// URG among [`Transport::flags`].
pub const TCP_URG: u8 = 32;

/// Transport header. All zero for protocols other than TCP, UDP and ICMP.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Transport {
    /// Source port, network byte order; for an ICMP echo, its identifier.
    pub source_port: u16,
    /// Destination port, network byte order; for an ICMP echo, its identifier.
    pub destination_port: u16,
    /// TCP flags, or the ICMP type.
    pub flags: u8,
    /// ICMP code.
    pub code: u8,
    /// Octets of the header.
    pub length: u32,
}

impl Transport {
    /// Reads the header at `offset`, of which the datagram holds `length` octets.
    ///
    /// # Errors
    ///
    /// [`HeaderError`] if the header is not whole, or states an impossible length.
    #[inline(always)]
    pub fn parse(
        packet: &impl Packet,
        protocol: u8,
        offset: u32,
        length: u32,
        fragment: Fragment,
    ) -> Result<Self, HeaderError> {
        let whole = fragment == Fragment::Whole;
        match protocol {
            TCP => {
                let header = header::<20>(packet, offset, length, fragment)?;
                let own = u32::from(header[12] >> 4) * 4;
                if own < 20 {
                    return Err(HeaderError::Malformed);
                }
                if own > length {
                    return Err(short(fragment));
                }
                Ok(Self { flags: header[13], length: own, ..ports(header) })
            }
            UDP => {
                let header = header::<8>(packet, offset, length, fragment)?;
                let own = u32::from(be16::<4, 8>(header));
                // The length of a fragmented datagram is that of all its fragments.
                if own < 8 || (whole && own > length) {
                    return Err(HeaderError::Malformed);
                }
                Ok(Self { length: 8, ..ports(header) })
            }
            ICMP | ICMPV6 => {
                let header = header::<8>(packet, offset, length, fragment)?;
                let identifier = ne16::<4, 8>(header);
                Ok(Self {
                    source_port: identifier,
                    destination_port: identifier,
                    flags: header[0],
                    code: header[1],
                    length: 8,
                })
            }
            _ => Ok(Self::default()),
        }
    }
}

#[inline(always)]
fn header<const N: usize>(
    packet: &impl Packet,
    offset: u32,
    length: u32,
    fragment: Fragment,
) -> Result<&[u8; N], HeaderError> {
    if length < N as u32 {
        return Err(short(fragment));
    }
    packet.at::<N>(offset).ok_or(HeaderError::Malformed)
}

/// Returns the error of a header that the packet cuts off: a first fragment that is too short hides
/// from filters what only a later one completes (RFC 1858, RFC 7112).
#[inline(always)]
const fn short(fragment: Fragment) -> HeaderError {
    match fragment {
        Fragment::First => HeaderError::Fragment,
        Fragment::Whole | Fragment::Later => HeaderError::Malformed,
    }
}

#[inline(always)]
fn ports<const N: usize>(header: &[u8; N]) -> Transport {
    Transport {
        source_port: ne16::<0, N>(header),
        destination_port: ne16::<2, N>(header),
        ..Transport::default()
    }
}
