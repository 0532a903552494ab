//! Reads packets from a capture: pcap or pcapng, a record at a time.

use std::io::Read;

use pcap_parser::{
    Block, Linktype, PcapBlockOwned, PcapError, create_reader, traits::PcapNGPacketBlock as _,
};

use super::error::{CaptureError, Fault};

/// Octets of a record at most: packets have fewer than a quarter of that.
const RECORD: usize = 1 << 20;

/// Interfaces of a capture at most.
const INTERFACES: usize = 4096;

/// Nanoseconds in a second.
const SECOND: u128 = 1_000_000_000;

/// Packet of a capture.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Captured<'a> {
    /// Time since 1970 in nanoseconds.
    pub time: u64,
    /// Number of the link type.
    pub link: i32,
    /// Octets that were captured.
    pub octets: &'a [u8],
    /// Octets that the packet had.
    pub length: usize,
}

/// Interface of a pcapng section.
#[derive(Clone, Copy, Debug)]
struct Interface {
    link: i32,
    snap: u32,
    units: u64,
    offset: i64,
}

/// Reads a capture to its end.
///
/// # Errors
/// The capture cannot be read on; what comes before was taken.
pub(super) fn read(
    source: impl Read + Send,
    mut take: impl FnMut(Captured<'_>) -> Result<(), Fault>,
) -> Result<(), CaptureError> {
    let at = |offset: usize, fault| CaptureError { offset: offset as u64, fault };
    let mut reader = create_reader(RECORD, source).map_err(|error| {
        at(
            0,
            match error {
                PcapError::Eof => Fault::Empty,
                PcapError::Incomplete(_) | PcapError::UnexpectedEof => Fault::Truncated,
                PcapError::ReadError => Fault::Unreadable,
                _ => Fault::NoCapture,
            },
        )
    })?;
    let mut state = State::default();
    loop {
        let offset = reader.consumed();
        let next = match reader.next() {
            Ok((length, block)) => {
                state.take(&block, &mut take).map_err(|fault| at(offset, fault))?;
                Next::Consume(length)
            }
            Err(PcapError::Eof) => return Ok(()),
            Err(PcapError::Incomplete(_)) => Next::Refill,
            Err(PcapError::UnexpectedEof) => return Err(at(offset, Fault::Truncated)),
            Err(PcapError::BufferTooSmall) => return Err(at(offset, Fault::TooLong)),
            Err(PcapError::ReadError) => return Err(at(offset, Fault::Unreadable)),
            Err(_) => return Err(at(offset, Fault::Malformed)),
        };
        match next {
            Next::Consume(0) => return Err(at(offset, Fault::Malformed)),
            Next::Consume(length) => reader.consume(length),
            Next::Refill => {
                let (before, was_exhausted) = (reader.data().len(), reader.reader_exhausted());
                reader.refill().map_err(|_| at(offset, Fault::Unreadable))?;
                if reader.data().len() == before && was_exhausted {
                    return Err(at(
                        offset,
                        if before == 0 { return Ok(()) } else { Fault::Truncated },
                    ));
                }
                if reader.data().len() == before && !reader.reader_exhausted() {
                    return Err(at(offset, Fault::TooLong));
                }
            }
        }
    }
}

enum Next {
    Consume(usize),
    Refill,
}

#[derive(Default)]
struct State {
    /// Link type of a pcap file, and fractions of its seconds.
    legacy: Option<(i32, u64)>,
    interfaces: Vec<Interface>,
}

impl State {
    fn take(
        &mut self,
        block: &PcapBlockOwned<'_>,
        take: &mut impl FnMut(Captured<'_>) -> Result<(), Fault>,
    ) -> Result<(), Fault> {
        match block {
            PcapBlockOwned::LegacyHeader(header) => {
                let fraction = if header.is_nanosecond_precision() { 1 } else { 1000 };
                self.legacy = Some((header.network.0, fraction));
            }
            PcapBlockOwned::Legacy(packet) => {
                let (link, fraction) = self.legacy.ok_or(Fault::Malformed)?;
                let time = u64::from(packet.ts_sec).saturating_mul(SECOND as u64);
                let time = time.saturating_add(u64::from(packet.ts_usec).saturating_mul(fraction));
                let (octets, length) = (packet.data, packet.origlen as usize);
                take(Captured { time, link, octets, length })?;
            }
            PcapBlockOwned::NG(Block::SectionHeader(_)) => self.interfaces.clear(),
            PcapBlockOwned::NG(Block::InterfaceDescription(interface)) => {
                if self.interfaces.len() == INTERFACES {
                    return Err(Fault::TooManyInterfaces);
                }
                let Linktype(link) = interface.linktype;
                let units = interface.ts_resolution().filter(|units| *units > 0);
                let units = units.ok_or(Fault::Malformed)?;
                let (snap, offset) = (interface.snaplen, interface.ts_offset());
                self.interfaces.push(Interface { link, snap, units, offset });
            }
            PcapBlockOwned::NG(Block::EnhancedPacket(packet)) => {
                let at = usize::try_from(packet.if_id).map_err(|_| Fault::NoInterface)?;
                let interface = self.interfaces.get(at).ok_or(Fault::NoInterface)?;
                let units = u64::from(packet.ts_high) << 32 | u64::from(packet.ts_low);
                let octets = packet.packet_data();
                let (time, link) = (interface.time(units), interface.link);
                take(Captured { time, link, octets, length: packet.origlen as usize })?;
            }
            PcapBlockOwned::NG(Block::SimplePacket(packet)) => {
                let interface = self.interfaces.first().ok_or(Fault::NoInterface)?;
                let length = packet.origlen as usize;
                let snap = if interface.snap == 0 { length } else { interface.snap as usize };
                let octets = packet.data.get(..length.min(snap)).unwrap_or(packet.data);
                // Such packets have no time: that of the one before goes on.
                take(Captured { time: 0, link: interface.link, octets, length })?;
            }
            PcapBlockOwned::NG(_) => {}
        }
        Ok(())
    }
}

impl Interface {
    fn time(&self, units: u64) -> u64 {
        let nanoseconds = u128::from(units) * SECOND / u128::from(self.units.max(1));
        let offset = i128::from(self.offset) * SECOND as i128;
        let time = i128::try_from(nanoseconds).unwrap_or(i128::MAX).saturating_add(offset);
        u64::try_from(time.max(0)).unwrap_or(u64::MAX)
    }
}
