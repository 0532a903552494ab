//! Judges the packets of a capture one after the other, with the capture's time as clock.

use std::{collections::HashMap, io::Read, net::IpAddr};

use intune_filter_ebpf::abi::{Explanation, Reason, TransportProtocol};
use ipnet::{IpNet, Ipv4Net, Ipv6Net};

use super::{
    bounds,
    error::{CaptureError, Fault},
    frame::{Frame, Transport, frame_of},
    names::NamesOfCapture,
    reader::{Captured, read},
    rows::{Denial, Ends, Key, Packet, Rows},
    sides::{Sides, ZonesOfAddresses},
};
use crate::{report::CapturedVerdicts, simulation::Simulation, system::route::Way};

/// Greatest step of the clock from one packet to the next, in nanoseconds: a day.
const STEP: u64 = 86_400_000_000_000;

/// Device of packets that come from no zone and by no known route, far from those of interfaces.
const OUTSIDE: u32 = (1 << 30) + (1 << 29);

/// Port of DNS.
const DNS: u16 = 53;

/// What a capture is followed by.
pub(crate) struct Follower {
    simulation: Simulation,
    names: NamesOfCapture,
    zones: ZonesOfAddresses,
    rows: Rows,
    verdicts: CapturedVerdicts,
    devices: HashMap<IpAddr, u32>,
    begin: Option<u64>,
    last: u64,
    base: u64,
}

impl Follower {
    /// Begins with what the simulation knows, and the names behind it.
    pub(crate) fn new(
        mut simulation: Simulation,
        names: impl Iterator<Item = (IpAddr, String)>,
        on: Option<String>,
    ) -> Self {
        if simulation.tables.devices.is_empty() {
            // Whatever is no client's is outside, and answers come from there.
            let everything = [IpNet::from(Ipv4Net::default()), IpNet::from(Ipv6Net::default())];
            for to in everything {
                let (is_local, device, router) = (false, OUTSIDE, None);
                simulation.add_way(&Way { to, is_local, device, router });
            }
        }
        let names = NamesOfCapture::new(&simulation, names);
        let base = simulation.tables.now.get();
        let (rows, verdicts) = Default::default();
        let zones = ZonesOfAddresses::new(on);
        let (devices, begin, last) = Default::default();
        Self { simulation, names, zones, rows, verdicts, devices, begin, last, base }
    }

    fn take(&mut self, packet: &Captured<'_>) -> Result<(), Fault> {
        self.verdicts.packets += 1;
        self.verdicts.octets = self.verdicts.octets.saturating_add(packet.octets.len() as u64);
        self.advance(packet.time);
        if self.verdicts.packets.is_multiple_of(bounds::INTERVAL) {
            self.verdicts.forgotten += bounds::enforce(&self.simulation.tables);
        }
        let Some(frame) = frame_of(packet)? else {
            self.verdicts.other += 1;
            return Ok(());
        };
        if frame.captured < frame.octets.len() {
            self.verdicts.cut += 1;
        }
        let sides = self.zones.sides(&self.simulation, &frame);
        if sides == Sides::default() {
            self.verdicts.outside += 1;
            return Ok(());
        }
        self.judge(&frame, sides);
        Ok(())
    }

    /// Sets the clock. It never goes back, and takes no leaps: a capture's times are anyone's.
    fn advance(&mut self, time: u64) {
        let begin = *self.begin.get_or_insert(time);
        let since = time.saturating_sub(begin);
        if since > self.last && since - self.last <= STEP {
            self.last = since;
            self.simulation.tables.now.set(self.base.saturating_add(since));
        }
    }

    fn judge(&mut self, frame: &Frame, sides: Sides) {
        let transport = frame.transport();
        let from = sides.from.and_then(|at| self.simulation.zones.get(at).cloned());
        let to = sides.to.and_then(|at| self.simulation.zones.get(at).cloned());
        let mut sender = None;
        if let Some(zone) = &from {
            if let Some(mac) = frame.mac {
                self.simulation.know_neighbour(frame.source, mac, bounds::ADDRESSES);
            }
            let Ok(told) = self.simulation.send_untagged(zone, &frame.octets) else { return };
            self.count(frame, &transport, &told, false);
            sender = Some((zone.clone(), told));
        }
        let passes = sender.as_ref().is_none_or(|(_, told)| !told.denies());
        if let (Some(zone), true) = (&to, passes) {
            let came_by = match &sender {
                Some((from, _)) => from.device,
                None => self.device_of(frame.source),
            };
            if transport.protocol == 17 && transport.source_port == DNS {
                self.names.note(self.simulation.tables.now.get(), transport.payload);
            }
            let Ok(told) = self.simulation.arrive(zone, came_by, &frame.octets) else { return };
            for (event, message) in self.simulation.tables.answers.take() {
                self.names.learn(&self.simulation, &event, &message);
            }
            self.count(frame, &transport, &told, true);
        }
        self.verdicts.segments += self.simulation.tables.segments.borrow().len() as u64;
        self.simulation.forget_records();
    }

    fn device_of(&mut self, source: IpAddr) -> u32 {
        if self.devices.len() >= bounds::ADDRESSES {
            self.devices.clear();
        }
        let simulation = &self.simulation;
        *self.devices.entry(source).or_insert_with(|| device_of(simulation, source))
    }

    fn count(
        &mut self,
        frame: &Frame,
        transport: &Transport<'_>,
        told: &Explanation,
        to_client: bool,
    ) {
        let (client, other) = if to_client {
            (frame.destination, frame.source)
        } else {
            (frame.source, frame.destination)
        };
        let passes = !told.denies();
        let Transport { source_port, destination_port, protocol, .. } = *transport;
        let ends: Ends = if to_client {
            (client, destination_port, other, source_port, protocol)
        } else {
            (client, source_port, other, destination_port, protocol)
        };
        // A flow that an audit has opened is one all the same, and stays what it is to the policy.
        let is_flow = told.reason == Reason::Flow;
        let before = self.rows.denial(&ends);
        let spared = before.filter(|denial| denial.audited && is_flow);
        let by_policy = !told.reason.denies() && spared.is_none();
        let reason = spared.map_or(told.reason.as_str(), |denial| denial.reason);
        let totals = &mut self.verdicts.totals;
        match (passes, by_policy) {
            (true, true) => totals.allowed += 1,
            (true, false) => totals.audited += 1,
            (false, _) => totals.denied += 1,
        }
        let is_dns = protocol == 17 && ends.3 == DNS;
        if to_client {
            // What answers a denied packet would not have come; what answers another one has its row.
            if is_flow || is_dns || before.is_some() {
                return;
            }
        } else {
            let denial = Denial { reason, audited: passes };
            self.rows.note(ends, (!by_policy).then_some(denial));
        }
        let asked = (is_dns && told.reason != Reason::Resolver)
            .then(|| NamesOfCapture::asked(transport.payload))
            .flatten();
        let name = asked.or_else(|| self.names.of(&self.simulation, other).map(str::to_owned));
        let names = |all: &[Option<String>], at: Option<u8>| {
            at.and_then(|at| all.get(usize::from(at)).cloned().flatten())
        };
        let mut packet = Packet {
            time: self.last,
            octets: frame.octets.len() as u64,
            reason,
            group: names(&self.simulation.groups, told.group),
            rule: names(&self.simulation.rules, told.rule),
        };
        if packet.group.is_none()
            && let Some(member) = self.simulation.group_of_client(client)
        {
            packet.group = Some(member);
        }
        let key = Key {
            client,
            address: name.is_none().then_some(other),
            name,
            protocol: word(protocol),
            port: matches!(protocol, 6 | 17).then_some(destination_port),
            to_client,
            verdict: [passes, by_policy],
            denial: (!by_policy).then_some(reason),
        };
        self.rows.count(key, packet);
    }
}

/// Returns the device that a packet from outside comes by; 0 of the gateway's own.
fn device_of(simulation: &Simulation, source: IpAddr) -> u32 {
    let tables = &simulation.tables;
    if tables.own_addresses.contains(&source.into()) {
        return 0;
    }
    let named = tables.resolver_devices.borrow();
    let named = named.keys().find(|key| key.resolver == source.into()).map(|key| key.device);
    named.or_else(|| simulation.device_towards(source)).unwrap_or(OUTSIDE)
}

fn word(protocol: u8) -> String {
    let known = TransportProtocol::ALL.into_iter().find(|one| one.number() == protocol);
    match (known, protocol) {
        (Some(known), _) => known.as_str().to_owned(),
        (None, 1 | 58) => "icmp".to_owned(),
        (None, other) => other.to_string(),
    }
}

/// Follows a capture to its end.
///
/// # Errors
/// The capture cannot be read on.
pub(crate) fn follow(
    mut follower: Follower,
    source: impl Read + Send,
) -> Result<CapturedVerdicts, CaptureError> {
    read(source, |packet| follower.take(&packet))?;
    let mut verdicts = follower.verdicts;
    verdicts.duration_ms = follower.last / 1_000_000;
    follower.rows.into(&mut verdicts);
    Ok(verdicts)
}
