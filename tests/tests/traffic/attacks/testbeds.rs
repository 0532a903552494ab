//! Means of the attacks: a testbed in each mode, and frames from the client's wire.

use std::{
    net::{IpAddr, SocketAddr, UdpSocket},
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use intune_filter_tests::{
    network::{GATEWAY, WAN},
    probe::probe,
    prog_test_run::{
        Datagram,
        datagram::{CLIENT_MAC, patched},
        live::stay,
    },
    site::{self, ANSWER, CONFIG, MODES, SILENCE, in_mode, tcp},
    testbed::{FOREIGN_PORT, Setup, Testbed},
    wire::Wire,
};

/// A service of UDP whose hosts need no name, of each family.
pub const SERVER: [&str; 2] = ["192.0.2.65", "2001:db8:9165::65"];
/// Its port.
pub const PORT: u16 = 5001;

/// The site's configuration with that service, and with other limits.
pub fn config(limits: &str) -> String {
    let config = CONFIG
        .replacen("limits: {queries: off, flows: off}\n", &format!("{limits}\n"), 1)
        .replacen("services: [web,", "services: [slow, web,", 1);
    format!(
        "{config}  - id: slow\n    title: Slow\n    cidrs: [192.0.2.64/29, \"2001:db8:9165::/64\"]\n    \
         udp: [{PORT}]\n"
    )
}

/// Runs an attack in each mode.
pub fn in_each_mode(config: &str, attack: impl Fn(&mut Testbed, &str) -> Result<()>) -> Result<()> {
    // Another CPU's newest entries are not yet where the kernel looks for some to evict.
    stay()?;
    for mode in MODES {
        let setup = Setup { config: in_mode(config, mode), ..site::setup() };
        let mut testbed = Testbed::create(&setup)?;
        testbed.filter.start()?;
        attack(&mut testbed, mode).with_context(|| format!("in {mode} mode"))?;
    }
    Ok(())
}

/// Gives the gateway another network than the client's.
pub fn wire_another_network(testbed: &Testbed) -> Result<()> {
    testbed.network.gateway.ip(&[
        "link add other type veth peer others",
        "link set other up",
        "link set others up",
        "address add 10.99.0.1/24 dev other",
        "address add fd00:99::1/64 dev other nodad",
    ])
}

/// The client's end of its wire.
pub struct Attacker<'a> {
    testbed: &'a Testbed,
    wire: Wire,
    gateway: [u8; 6],
    own: [u8; 6],
}

impl<'a> Attacker<'a> {
    pub fn new(testbed: &'a Testbed) -> Result<Self> {
        let network = &testbed.network;
        let wire = network.client.run(|| Wire::open(WAN))?;
        for gateway in GATEWAY {
            // The gateway gets to know the client, as it would any that it talks to.
            network.client.run(|| probe(tcp(gateway, FOREIGN_PORT), ANSWER));
        }
        let (gateway, own) = (network.lan_address()?, network.client_address()?);
        Ok(Self { testbed, wire, gateway, own })
    }

    /// Sends a frame with this datagram to the gateway.
    pub fn send(&self, datagram: &Datagram) -> Result<()> {
        self.send_frame(datagram.frame())
    }

    /// Sends a frame that has no destination yet, and the client's own source unless it has another.
    pub fn send_frame(&self, mut frame: Vec<u8>) -> Result<()> {
        if frame.get(6..12) == Some(&CLIENT_MAC[..]) {
            frame = patched(frame, 6, &self.own);
        }
        self.wire.send(&patched(frame, 0, &self.gateway))
    }

    /// Number of packets counted by these reasons.
    pub fn counted(&self, reasons: &[&str]) -> Result<u64> {
        let counters = self.testbed.filter.counters()?;
        Ok(reasons.iter().map(|reason| counters.get(reason)).sum())
    }

    /// Sends frames, by number, until the filter has judged a number of them for one of these
    /// reasons: frames without room on the way are lost before.
    pub fn flood(
        &self,
        reasons: &[&str],
        enough: u64,
        frame: impl Fn(u32) -> Vec<u8>,
    ) -> Result<()> {
        let (before, deadline) =
            (self.counted(reasons)?, Instant::now() + Duration::from_secs(120));
        let mut number = 0;
        loop {
            for _ in 0..1000 {
                self.send_frame(frame(number))?;
                number += 1;
            }
            let seen = self.counted(reasons)? - before;
            if seen >= enough {
                return Ok(());
            }
            ensure!(Instant::now() < deadline, "the filter has judged no more than {seen} frames");
        }
    }
}

/// A socket that takes what comes, from whomever, for as long as nothing may come.
pub fn bound(address: SocketAddr) -> Result<UdpSocket> {
    let socket = UdpSocket::bind(address)?;
    socket.set_read_timeout(Some(SILENCE))?;
    Ok(socket)
}

/// The unspecified address of a family.
pub fn any(family: usize) -> IpAddr {
    if family == 0 { [0; 4].into() } else { [0_u16; 8].into() }
}
