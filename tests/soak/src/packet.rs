//! Packets that the soak sends: what each is, as the model sees it, and its frame.

use std::{fmt, net::IpAddr};

use intune_filter_tests::prog_test_run::{Datagram, Flags};

/// Content of a packet, seen from the client: its own port and the remote's.
#[derive(Clone, Debug)]
pub enum What {
    /// UDP.
    Udp {
        /// The client's port.
        local: u16,
        /// The remote's port.
        remote: u16,
    },
    /// A TCP segment.
    Tcp {
        /// The client's port.
        local: u16,
        /// The remote's port.
        remote: u16,
        /// Its flags.
        flags: Flags,
    },
    /// An echo request.
    Echo {
        /// Its identifier.
        id: u16,
    },
    /// A fragment of a UDP message.
    Fragments {
        /// The client's port, in the first one.
        local: u16,
        /// The remote's port, in the first one.
        remote: u16,
        /// The datagram's identification.
        id: u16,
        /// Offset, in units of eight octets.
        offset: u16,
        /// Whether more fragments follow.
        more: bool,
    },
    /// An ICMP error about a UDP message that the client sent.
    Unreachable {
        /// The client's port.
        local: u16,
        /// The remote's port.
        remote: u16,
    },
    /// Another protocol than TCP, UDP and ICMP.
    Protocol(u8),
    /// A UDP message behind a loose source route, or a routing header.
    SourceRoute,
    /// UDP whose length says more than there is.
    Cut,
    /// A later fragment of a datagram whose first one was never sent.
    Orphan {
        /// The datagram's identification.
        id: u16,
    },
    /// An answer of a trusted resolver without a query.
    Answer {
        /// The client's port.
        local: u16,
        /// The message.
        message: Vec<u8>,
    },
}

impl What {
    /// Whether the packet is broken, so that no sender may send it.
    #[must_use]
    pub const fn is_broken(&self) -> bool {
        matches!(self, Self::SourceRoute | Self::Cut | Self::Orphan { .. })
    }

    /// Whether the packet is DNS by the remote's port, or by that of its first fragment.
    #[must_use]
    pub const fn is_of_dns(&self) -> bool {
        matches!(
            self,
            Self::Answer { .. }
                | Self::Udp { remote: 53, .. }
                | Self::Tcp { remote: 53, .. }
                | Self::Fragments { remote: 53, .. }
        )
    }
}

/// A packet.
#[derive(Clone, Debug)]
pub struct Packet {
    /// From where.
    pub source: IpAddr,
    /// To where.
    pub destination: IpAddr,
    /// Whether the packet goes to a client, and not from one.
    pub to_client: bool,
    /// Content.
    pub what: What,
}

/// Octets by which a tag is found, whatever stands before it.
const MAGIC: [u8; 8] = *b"\x8fsoaked\x8f";
/// Octets of a tag.
const TAG: usize = 16;

impl Packet {
    /// One from a client.
    #[must_use]
    pub const fn new(source: IpAddr, destination: IpAddr, what: What) -> Self {
        Self { source, destination, to_client: false, what }
    }

    /// The client.
    #[must_use]
    pub const fn client(&self) -> IpAddr {
        if self.to_client { self.destination } else { self.source }
    }

    /// Packet of the conversation in the other direction.
    #[must_use]
    pub fn reversed(&self, what: What) -> Self {
        Self {
            source: self.destination,
            destination: self.source,
            to_client: !self.to_client,
            what,
        }
    }

    /// Its frame with a tag in it.
    #[must_use]
    pub fn frame(&self, tag: u64) -> Vec<u8> {
        let payload = tagged(tag);
        let datagram = Datagram::new(self.source, self.destination);
        let ports = |local, remote| if self.to_client { (remote, local) } else { (local, remote) };
        match &self.what {
            What::Udp { local, remote } => {
                let (from, to) = ports(*local, *remote);
                datagram.udp(from, to, &payload)
            }
            What::Tcp { local, remote, flags } => {
                let (from, to) = ports(*local, *remote);
                datagram.segment([from, to], *flags, [1, 0], &payload)
            }
            What::Echo { id } => {
                let [high, low] = id.to_be_bytes();
                let kind = if self.source.is_ipv4() { 8 } else { 128 };
                datagram.icmp(kind, 0, [high, low, 0, 1], &payload)
            }
            What::Fragments { local, remote, id, offset, more } => {
                fragment(datagram, (*local, *remote), *id, (*offset, *more), &payload)
            }
            What::Orphan { id } => fragment(datagram, (0, 0), *id, (3, false), &payload),
            What::Unreachable { local, remote } => {
                let about = Datagram::new(self.destination, self.source);
                datagram.unreachable(&about.udp(*local, *remote, &payload))
            }
            What::Protocol(protocol) => datagram.raw(*protocol, &payload),
            What::SourceRoute if self.source.is_ipv4() => {
                datagram.options(&[131, 7, 4, 192, 0, 2, 1]).udp(1, 443, &payload)
            }
            What::SourceRoute => {
                datagram.extension(43, &[0, 0, 1, 0, 0, 0, 0]).udp(1, 443, &payload)
            }
            What::Cut => {
                let whole = [&[0, 1, 1, 187, 0x7f, 0xff, 0, 0][..], &payload].concat();
                datagram.raw(17, &whole)
            }
            What::Answer { local, message } => {
                datagram.udp(53, *local, &[&message[..], &payload].concat())
            }
        }
        .frame()
    }
}

/// A fragment of a UDP message of 56 octets: the first has the header and a tag, each other a tag.
fn fragment(
    datagram: Datagram,
    (local, remote): (u16, u16),
    id: u16,
    (offset, more): (u16, bool),
    tag: &[u8],
) -> Datagram {
    let header = [local.to_be_bytes(), remote.to_be_bytes(), [0, 56], [0, 0]].concat();
    let payload = if offset == 0 { [&header[..], tag].concat() } else { tag.to_vec() };
    datagram.identification(id).fragment(offset, more).raw(17, &payload)
}

fn tagged(tag: u64) -> Vec<u8> {
    [MAGIC, tag.to_be_bytes()].concat()
}

/// The tag of a frame, if it has one.
#[must_use]
pub fn tag_of(frame: &[u8]) -> Option<u64> {
    let at = frame.windows(MAGIC.len()).position(|window| window == MAGIC)?;
    let tag = frame.get(at + MAGIC.len()..at + TAG)?;
    Some(u64::from_be_bytes(tag.try_into().ok()?))
}

impl fmt::Display for Packet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let direction = if self.to_client { "to client" } else { "from client" };
        write!(f, "{} -> {} {:?} ({direction})", self.source, self.destination, self.what)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_frame_carries_its_tag() {
        let all = [
            What::Udp { local: 1, remote: 2 },
            What::Tcp { local: 1, remote: 2, flags: Flags::SYN },
            What::Echo { id: 7 },
            What::Fragments { local: 1, remote: 2, id: 9, offset: 0, more: true },
            What::Fragments { local: 1, remote: 2, id: 9, offset: 3, more: false },
            What::Unreachable { local: 1, remote: 2 },
            What::Protocol(47),
            What::SourceRoute,
            What::Cut,
            What::Orphan { id: 3 },
            What::Answer { local: 5, message: vec![1, 2, 3] },
        ];
        for (source, destination) in [("10.0.0.1", "192.0.2.1"), ("fd00::1", "2001:db8::1")] {
            for (number, what) in (1..).zip(all.clone()) {
                let packet =
                    Packet::new(source.parse().unwrap(), destination.parse().unwrap(), what);
                assert_eq!(tag_of(&packet.frame(number)), Some(number), "{packet}");
            }
        }
        assert_eq!(tag_of(b"nothing"), None);
    }
}
