//! Fate of a frame.

use intune_filter_ebpf::packet::{TCP, UDP};

/// Fate of a frame: the action of the program that judged it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fate {
    /// The frame goes on its way.
    Passed,
    /// The frame is dropped.
    Dropped,
    /// An answer is sent back, these octets.
    Answered(Vec<u8>),
}

/// Octets of a UDP header.
const UDP_HEADER: usize = 8;
/// Octets of a TCP header at least.
const TCP_HEADER: usize = 20;
/// Octets of the length before a message over TCP.
const PREFIX: usize = 2;
/// The flag FIN.
const FIN: u8 = 1;

impl Fate {
    /// Text of the fate; a DNS message that is sent back is told by its response code.
    #[must_use]
    pub fn text(&self) -> &'static str {
        match self {
            Self::Passed => "passed",
            Self::Dropped => "dropped",
            Self::Answered(frame) => match message(frame).map(|message| message[3] & 0xf) {
                Some(5) => "answered REFUSED",
                Some(3) => "answered NXDOMAIN",
                Some(0) => "answered without data",
                _ => "answered",
            },
        }
    }
}

/// Returns the DNS message of a frame from port 53, which over TCP ends the connection.
#[must_use]
pub fn message(frame: &[u8]) -> Option<&[u8]> {
    let (protocol, datagram) =
        transport(frame).filter(|(_, octets)| octets.starts_with(&[0, 53]))?;
    let header = match protocol {
        TCP if datagram[13] & FIN != 0 => tcp_header(datagram) + PREFIX,
        TCP => return None,
        _ => UDP_HEADER,
    };
    datagram.get(header..).filter(|message| message.len() > 12)
}

/// Returns the answer to a query's frame with this message: headers as they came, but for ports,
/// flags and length, since the kernel's writer alone turns them.
#[must_use]
pub fn answer(query: &[u8], message: &[u8]) -> Option<Vec<u8>> {
    let (protocol, datagram) = transport(query)?;
    let ports = [datagram.get(2..4)?, datagram.get(..2)?].concat();
    let headers = query.get(..query.len() - datagram.len())?;
    let length = u16::try_from(message.len()).ok()?;
    if protocol == TCP {
        let mut header = datagram.get(..tcp_header(datagram))?.to_vec();
        header[..4].copy_from_slice(&ports);
        header[13] |= FIN;
        return Some([headers, &header, &length.to_be_bytes(), message].concat());
    }
    let length = (length + UDP_HEADER as u16).to_be_bytes();
    Some([headers, &ports, &length, &[0; 2], message].concat())
}

/// Returns protocol and octets of the UDP datagram or TCP segment in a frame without IP options and
/// extensions.
fn transport(frame: &[u8]) -> Option<(u8, &[u8])> {
    let tag = if frame.get(12..14)? == [0x81, 0] { 4 } else { 0 };
    let ip = frame.get(14 + tag..)?;
    let (protocol, header) = match ip.first()? >> 4 {
        4 => (*ip.get(9)?, 4 * usize::from(ip[0] & 0xf)),
        _ => (*ip.get(6)?, 40),
    };
    let least = match protocol {
        UDP => UDP_HEADER,
        TCP => TCP_HEADER,
        _ => return None,
    };
    ip.get(header..).filter(|octets| octets.len() >= least).map(|octets| (protocol, octets))
}

fn tcp_header(segment: &[u8]) -> usize {
    4 * usize::from(segment[12] >> 4)
}
