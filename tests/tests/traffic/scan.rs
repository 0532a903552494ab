//! A client that scans what is behind the gateway, with everything that a packet can be made of:
//! nothing that policy denies arrives there.

use std::{net::IpAddr, time::Duration};

use anyhow::{Context as _, Result, ensure};
use etherparse::{NetSlice, SlicedPacket};
use intune_filter_tests::{
    network::{CLIENT, GATEWAY, WAN},
    prog_test_run::{
        Datagram, Flags,
        datagram::{SERVICE_TAG, TAG, patched},
    },
    site::{self, CONFIG, MODES, in_mode},
    testbed::{Setup, Testbed},
    wire::{Tap, Wire},
};

/// An address of the service `printer`, and its port; and one without a host next to it.
const PRINTER: [&str; 2] = ["192.0.2.5", "2001:db8:9100::5"];
const NOBODY: [&str; 2] = ["192.0.2.80", "2001:db8:9101::5"];
/// Addresses that look like the gateway's or its link's, and are forwarded like any other.
const LOOKALIKES: [&[&str]; 2] = [
    &["169.254.169.254", "169.254.0.1"],
    &["::ffff:10.20.0.1", "::ffff:203.0.113.53", "::ffff:169.254.169.254"],
];
const PORT: u16 = 631;
/// Port of the packet that ends a scan: allowed, and from a port that no probe has.
const LAST: u16 = 9;
/// Octets of its TCP segment.
const SEGMENT: usize = 24;

const SOURCE_PORTS: [u16; 8] = [20, 53, 67, 68, 443, 547, 631, 40_000];
const PORTS: [u16; 10] = [0, 22, 53, 67, 80, 443, 547, 853, 7680, 65_535];

fn flags() -> [Flags; 9] {
    let all = Flags { syn: true, ack: true, fin: true, rst: true, urg: true };
    let syn_fin = Flags { fin: true, ..Flags::SYN };
    let fin = Flags { ack: false, ..Flags::FIN };
    let rst = Flags { ack: false, ..Flags::RST };
    [Flags::default(), Flags::SYN, Flags::ACK, Flags::SYN_ACK, fin, rst, Flags::FIN, syn_fin, all]
}

/// Packets that policy denies, from a client of one family.
fn probes(family: usize) -> Result<Vec<Vec<u8>>> {
    let (client, gateway) = (CLIENT[family], GATEWAY[family]);
    let printer: IpAddr = PRINTER[family].parse()?;
    let nobody: IpAddr = NOBODY[family].parse()?;
    let to = |destination| Datagram::new(client, destination);
    let mut probes = Vec::new();
    // Ports, from ports that careless filters let through, with every kind of flag.
    for source in SOURCE_PORTS {
        for (destination, port) in PORTS
            .iter()
            .flat_map(|port| [(printer, *port), (nobody, *port)])
            .chain([(nobody, PORT)])
        {
            probes.push(to(destination).udp(source, port, b"probe"));
            for flags in flags() {
                probes.push(to(destination).tcp(source, port, flags));
            }
        }
        // The allowed port belongs to TCP.
        probes.push(to(printer).udp(source, PORT, b"probe"));
    }
    // Other protocols, and ICMP that is no echo.
    let icmp = if family == 0 { 1 } else { 58 };
    for protocol in (0..=255).filter(|protocol| ![6, 17, icmp].contains(protocol)) {
        // Of IPv6 some of them are extension headers, made of what follows.
        probes.push(to(printer).raw(protocol, &[0; 40]));
        probes.push(to(nobody).raw(protocol, &[0; 40]));
    }
    let request = if family == 0 { 8 } else { 128 };
    for kind in (0..=255).filter(|kind| *kind != request) {
        probes.push(to(printer).icmp(kind, 0, [0, 1, 0, 1], &[0x45; 48]));
    }
    probes.push(to(nobody).echo_request(1));
    // Sources that are not the client's.
    let sources: [&str; 5] = [
        ["10.20.1.10", "127.0.0.1", "224.0.0.1", "255.255.255.255", "192.0.2.5"],
        ["fd00:21::10", "::1", "ff02::1", "2001:db8:53::53", "fe80::10"],
    ][family];
    for source in sources {
        let source: IpAddr = source.parse()?;
        probes.push(Datagram::new(source, printer).tcp(1, PORT, Flags::SYN));
        probes.push(Datagram::new(source, nobody).udp(53, 80, b"probe"));
    }
    probes.push(Datagram::new(gateway, nobody).tcp(1, 443, Flags::SYN));
    for address in LOOKALIKES[family] {
        let address: IpAddr = address.parse()?;
        probes.push(to(address).tcp(1, 80, Flags::SYN));
        probes.push(to(address).udp(1, 53, b"probe"));
        probes.push(to(address).udp(1, 4500, b"probe"));
        probes.push(to(address).echo_request(1));
        probes.push(to(address).raw(47, &[0; 8]));
    }
    probes.extend(fragments(family, client, printer));
    probes.extend(headers(family, client, printer));
    let mut frames: Vec<Vec<u8>> = probes.iter().map(Datagram::frame).collect();
    // Within VLANs that nothing is configured for.
    for tags in [&[(TAG, 5)][..], &[(SERVICE_TAG, 5), (TAG, 6)]] {
        let datagram = to(nobody).tcp(1, 443, Flags::SYN);
        let tagged = tags.iter().fold(datagram, |datagram, (kind, id)| datagram.tag(*kind, *id));
        frames.push(tagged.frame());
    }
    Ok(frames)
}

/// A denied connection in fragments: its port in none, in the second one, or overwritten there.
fn fragments(family: usize, client: IpAddr, printer: IpAddr) -> Vec<Datagram> {
    let whole = Datagram::new(client, printer).tcp(1, 80, Flags::SYN).packet();
    let segment = whole[if family == 0 { 20 } else { 40 }..].to_vec();
    let piece = |offset: u16, more, octets: &[u8]| {
        Datagram::new(client, printer).fragment(offset, more).raw(6, octets)
    };
    vec![
        // Tiny: eight octets hold the ports, and not the flags.
        piece(0, true, &segment[..8]),
        piece(1, false, &segment[8..]),
        piece(0, true, &segment[..16]),
        piece(2, false, &segment[16..]),
        // The rest first.
        piece(3, false, b"the rest"),
        piece(0, true, &segment[..24]),
        // Only later ones.
        piece(5, true, &[7; 64]),
        piece(1000, false, &[7; 64]),
        piece(8191, false, &[7; 64]),
    ]
}

/// A denied connection behind options and extension headers.
fn headers(family: usize, client: IpAddr, printer: IpAddr) -> Vec<Datagram> {
    let to = || Datagram::new(client, printer);
    let end = |datagram: Datagram| datagram.tcp(1, 80, Flags::SYN);
    if family == 0 {
        // Loose and strict source routes, a record of the route, a time stamp, no option at all.
        let routes: [&[u8]; 5] = [
            &[131, 7, 4, 192, 0, 2, 6],
            &[137, 7, 4, 192, 0, 2, 6],
            &[7, 7, 4, 0, 0, 0, 0],
            &[68, 8, 5, 0, 0, 0, 0, 0],
            &[1, 1, 1, 0],
        ];
        return routes.map(|route| end(to().options(route))).into();
    }
    let padding = [0, 1, 4, 0, 0, 0, 0];
    let routing =
        |kind| [2, kind, 1, 0, 0, 0, 0, 0x20, 1, 13, 184, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 9];
    let many = (0..9).fold(to(), |datagram, _| datagram.extension(60, &padding));
    vec![
        end(to().extension(0, &padding)),
        end(to().extension(60, &padding)),
        end(to().extension(0, &padding).extension(60, &padding)),
        end(to().extension(43, &routing(0))),
        end(to().extension(43, &routing(4))),
        end(many),
        // An atomic fragment is a whole packet.
        end(to().fragment(0, false)),
        end(to().extension(60, &padding).fragment(0, false)),
    ]
}

/// Sends the probes; what arrives behind the gateway, but for what ends the scan.
fn scan(testbed: &Testbed, family: usize) -> Result<(usize, Vec<String>)> {
    let network = &testbed.network;
    let mac = network.lan_address()?;
    let tap = network.internet.run(|| Tap::open(WAN))?;
    let wire = network.client.run(|| Wire::open(WAN))?;
    let probes = probes(family)?;
    let printer: IpAddr = PRINTER[family].parse()?;
    let last = Datagram::new(CLIENT[family], printer).tcp(LAST, PORT, Flags::SYN).frame();
    let last = patched(last, 0, &mac);
    let mut arrived = Vec::new();
    // In portions: what a tap has no room for would be lost without a word.
    for portion in probes.chunks(20) {
        for probe in portion {
            wire.send(&patched(probe.clone(), 0, &mac))?;
        }
        wire.send(&last)?;
        loop {
            let frame = tap.wait(Duration::from_secs(5))?.context("the last packet is missing")?;
            if frame.ends_with(&last[last.len() - SEGMENT..]) {
                break;
            }
            let Some((destination, ports)) = destination(&frame) else { continue };
            // The client resets what is answered to the packet before: from and to the same ports.
            if destination == printer && ports == Some((LAST, PORT)) {
                continue;
            }
            let scanned = [&[PRINTER[family], NOBODY[family]], LOOKALIKES[family]].concat();
            if scanned.iter().any(|address| address.parse() == Ok(destination)) {
                arrived.push(format!("{destination} {ports:?}: {frame:02x?}"));
            }
        }
    }
    Ok((probes.len(), arrived))
}

/// Destination of a packet, and its ports if it has any.
fn destination(frame: &[u8]) -> Option<(IpAddr, Option<(u16, u16)>)> {
    use etherparse::TransportSlice::{Tcp, Udp};

    let packet = SlicedPacket::from_ethernet(frame).ok()?;
    let address = match packet.net? {
        NetSlice::Ipv4(ip) => ip.header().destination_addr().into(),
        NetSlice::Ipv6(ip) => ip.header().destination_addr().into(),
        NetSlice::Arp(_) => return None,
    };
    let ports = match packet.transport {
        Some(Tcp(tcp)) => Some((tcp.source_port(), tcp.destination_port())),
        Some(Udp(udp)) => Some((udp.source_port(), udp.destination_port())),
        _ => None,
    };
    Some((address, ports))
}

#[test]
fn nothing_that_policy_denies_arrives() -> Result<()> {
    for mode in MODES {
        let config = in_mode(CONFIG, mode);
        let mut testbed = Testbed::create(&Setup { config, ..site::setup() })?;
        testbed.filter.start()?;
        for family in 0..2 {
            let (sent, arrived) = scan(&testbed, family)?;
            println!("{mode}, family {family}: {sent} probes, {} arrived", arrived.len());
            ensure!(arrived.is_empty(), "{mode}: arrived:\n{}", arrived.join("\n"));
        }
    }
    Ok(())
}

/// The control: without the filter most of the probes arrive.
#[test]
fn without_the_filter_the_probes_arrive() -> Result<()> {
    let testbed = Testbed::create(&site::setup())?;
    for (family, lookalikes) in LOOKALIKES.into_iter().enumerate() {
        let (sent, arrived) = scan(&testbed, family)?;
        println!("no filter, family {family}: {sent} probes, {} packets arrived", arrived.len());
        ensure!(arrived.len() > sent / 2, "only {} of {sent} arrived", arrived.len());
        for address in lookalikes {
            let forwarded = arrived.iter().any(|line| line.starts_with(&format!("{address} ")));
            ensure!(forwarded, "nothing arrives for {address}");
        }
    }
    Ok(())
}
