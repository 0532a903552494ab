//! Writes captures: pcap and pcapng, of every link type that is read.

/// Packet of a capture: its time in microseconds, and its octets.
pub type Captured = (u64, Vec<u8>);

/// Link types.
pub const ETHERNET: u16 = 1;
/// Raw IP.
pub const RAW: u16 = 101;
/// Linux cooked capture.
pub const SLL: u16 = 113;
/// Its second version.
pub const SLL2: u16 = 276;

/// Writes a pcap file, in one byte order or the other.
#[must_use]
pub fn pcap(link: u16, packets: &[Captured], is_big: bool) -> Vec<u8> {
    let long = |number: u32| if is_big { number.to_be_bytes() } else { number.to_le_bytes() };
    let short = |number: u16| if is_big { number.to_be_bytes() } else { number.to_le_bytes() };
    let mut file = long(0xa1b2_c3d4).to_vec();
    file.extend([short(2), short(4)].concat());
    file.extend([long(0), long(0), long(262_144), long(link.into())].concat());
    for (time, octets) in packets {
        let (seconds, rest) = (time / 1_000_000, time % 1_000_000);
        file.extend([long(seconds as u32), long(rest as u32)].concat());
        file.extend([long(octets.len() as u32), long(octets.len() as u32)].concat());
        file.extend(octets);
    }
    file
}

/// Writes a pcapng file with one interface.
#[must_use]
pub fn pcapng(link: u16, packets: &[Captured]) -> Vec<u8> {
    let mut file = block(
        0x0a0d_0d0a,
        &[&0x1a2b_3c4d_u32.to_le_bytes()[..], &[1, 0, 0, 0], &u64::MAX.to_le_bytes()].concat(),
    );
    file.extend(block(1, &[&link.to_le_bytes()[..], &[0; 2], &262_144_u32.to_le_bytes()].concat()));
    for (time, octets) in packets {
        let (high, low) = ((time >> 32) as u32, *time as u32);
        let length = (octets.len() as u32).to_le_bytes();
        let mut body = [&[0; 4][..], &high.to_le_bytes(), &low.to_le_bytes()].concat();
        body.extend([&length[..], &length, octets].concat());
        file.extend(block(6, &body));
    }
    file
}

fn block(kind: u32, body: &[u8]) -> Vec<u8> {
    let padded = body.len().next_multiple_of(4);
    let length = (padded as u32 + 12).to_le_bytes();
    let padding = vec![0; padded - body.len()];
    [&kind.to_le_bytes()[..], &length, body, &padding, &length].concat()
}

/// Puts an Ethernet frame into the headers of a link type; `outgoing` as the host that captures sees it.
#[must_use]
pub fn linked(link: u16, frame: &[u8], outgoing: bool) -> Vec<u8> {
    let (macs, rest) = frame.split_at(12);
    let (protocol, packet) = rest.split_at(2);
    let kind: u8 = if outgoing { 4 } else { 0 };
    match link {
        RAW => packet.to_vec(),
        SLL => [&[0, kind, 0, 1, 0, 6][..], &macs[6..], &[0, 0], protocol, packet].concat(),
        SLL2 => {
            let header = [protocol, &[0, 0, 0, 0, 0, 2, 0, 1, kind, 6], &macs[6..], &[0, 0]];
            [&header.concat()[..], packet].concat()
        }
        _ => frame.to_vec(),
    }
}
