//! Fate of a frame.

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

/// Returns the DNS message of a frame with a UDP datagram from port 53.
#[must_use]
pub fn message(frame: &[u8]) -> Option<&[u8]> {
    let udp = udp(frame).filter(|udp| udp.starts_with(&[0, 53]))?;
    udp.get(UDP_HEADER..).filter(|message| message.len() > 12)
}

/// Returns the answer to a query's frame with this message: headers as they came, but for ports and
/// length, since the kernel's writer alone turns them.
#[must_use]
pub fn answer(query: &[u8], message: &[u8]) -> Option<Vec<u8>> {
    let udp = udp(query)?;
    let length = u16::try_from(UDP_HEADER + message.len()).ok()?.to_be_bytes();
    let ports = [udp.get(2..4)?, udp.get(..2)?].concat();
    let headers = query.get(..query.len() - udp.len())?;
    Some([headers, &ports, &length, &[0; 2], message].concat())
}

/// Returns the UDP datagram of a frame without options and extensions.
fn udp(frame: &[u8]) -> Option<&[u8]> {
    let tag = if frame.get(12..14)? == [0x81, 0] { 4 } else { 0 };
    let ip = frame.get(14 + tag..)?;
    let (protocol, header) = match ip.first()? >> 4 {
        4 => (ip.get(9)?, 4 * usize::from(ip[0] & 0xf)),
        _ => (ip.get(6)?, 40),
    };
    if *protocol == 17 { ip.get(header..).filter(|udp| udp.len() >= UDP_HEADER) } else { None }
}
