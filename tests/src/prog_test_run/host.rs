//! The host's maps in place of the kernel's: the tables' site without root, namespaces or programs.

use std::{
    cell::RefCell,
    collections::{BTreeMap, HashMap},
    fmt::Debug,
    net::IpAddr,
};

use anyhow::{Context as _, Result};
use intune_filter::{
    config::Config,
    kernel::{Devices, OwnAddresses, ZoneMap, sender_elements},
    policy::{Policy, compile},
};
use intune_filter_ebpf::{
    abi::{
        Active, Counted, DEVICE_LAYER3, Explanation, Flow, FlowKey, FragmentVerdict, Host, Limits,
        OwnKey, Pending, PendingKey, RULES, ResolverDevice, RuleMask, Settings, Stream, StreamRead,
        V4, V6, ZoneKey,
    },
    host::{self, Tables},
    packet::BarePacket,
    verdict::{self, Action, Verdict},
};

use super::{
    Addresses, Bed,
    datagram::ETHERNET,
    fate::{self, Fate},
    filter::{HookPoint, ROOM},
    host_routes::{set_neighbour, wire},
    site::{self, LAN, OTHER, VLAN_DEVICE, WAN},
    state::{Event, State, now},
};

/// Broadcast address of the network of [`LAN`].
const BROADCAST: &str = "10.20.0.255";

/// Makes the tables of two policies with the same zones, for interfaces of these indices.
pub fn tables(policies: [&Policy; 2], active: Active, index: impl Fn(&str) -> u32) -> Tables {
    let mut tables = Tables::default();
    tables.policies = policies.map(host::PolicyMaps::from);
    tables.active.set(active);
    tables.zones = zones(policies[0], &index).into_iter().map(zone_entry).collect();
    let devices = devices(policies[0], &index);
    set_senders(&mut tables, &devices);
    tables.devices = devices.into_iter().map(device_entry).collect();
    wire(&mut tables, &index);
    set_own_addresses(&mut tables, &own_addresses(index(LAN)));
    tables
}

/// Place of a frame, for the host's build.
pub fn place(place: HookPoint, index: impl Fn(&str) -> u32) -> verdict::Arrival {
    let (interface, came_by) = match place {
        HookPoint::Ingress(interface) => (interface, index(interface)),
        HookPoint::Egress(interface) => (interface, index(WAN)),
        HookPoint::EgressFrom(interface, from) => (interface, index(from)),
        HookPoint::EgressOfGateway(interface) => (interface, 0),
    };
    verdict::Arrival { ifindex: index(interface), stripped_tag: None, came_by }
}

/// Forgets whatever the programs remember. Counters stay.
pub fn clear(tables: &Tables) {
    tables.hosts4.borrow_mut().clear();
    tables.hosts6.borrow_mut().clear();
    tables.flows4.borrow_mut().clear();
    tables.flows6.borrow_mut().clear();
    tables.new_flows4.borrow_mut().clear();
    tables.new_flows6.borrow_mut().clear();
    tables.pending.borrow_mut().clear();
    tables.fragments.borrow_mut().clear();
    tables.limits.borrow_mut().clear();
    tables.streams.borrow_mut().clear();
    tables.streams_read.borrow_mut().clear();
    tables.denied.borrow_mut().clear();
    tables.queries.borrow_mut().clear();
    tables.untaught.borrow_mut().clear();
    tables.answers.borrow_mut().clear();
    tables.flow_events.borrow_mut().clear();
    tables.segments.borrow_mut().clear();
}

/// The host's maps, and the policy in force.
#[derive(Debug)]
pub struct HostBed {
    tables: Tables,
    policy: Policy,
    /// Whether frames are judged without their Ethernet headers.
    pub(super) layer3: bool,
}

impl HostBed {
    /// Wires the site; no policy is in force yet.
    pub fn new(config: &Config) -> Result<Self> {
        let mut tables = Tables::default();
        wire(&mut tables, &interface);
        let broadcast: IpAddr = BROADCAST.parse()?;
        tables.local_routes.insert(broadcast.into(), interface(LAN));
        for who in Addresses::both() {
            tables.local_routes.insert(who.gateway.into(), interface(LAN));
        }
        tables.active.set(Active { generation: 0, reserved: 0, seed: 7 });
        tables.hosts_capacity = ROOM as usize;
        let policy = compile(config, &site::catalogue(), &site::rule_bits())?;
        Ok(Self { tables, policy, layer3: false })
    }

    fn verdict(&self, at: HookPoint, frame: &[u8]) -> Result<Verdict> {
        self.tables.now.set(now()?);
        let is_ingress = matches!(at, HookPoint::Ingress(_));
        let at = place(at, interface);
        if self.layer3 {
            let octets = frame.get(ETHERNET..).context("the frame has an Ethernet header")?;
            let ethertype = u16::from_be_bytes([frame[12], frame[13]]);
            let packet = BarePacket { octets, ethertype };
            return Ok(if is_ingress {
                self.tables.ingress_layer3(packet, at)
            } else {
                self.tables.egress_layer3(packet, at)
            });
        }
        Ok(if is_ingress { self.tables.ingress(frame, at) } else { self.tables.egress(frame, at) })
    }

    fn slot(&self) -> usize {
        (self.tables.active.get().generation & 1) as usize
    }
}

/// Runs something over tables, and gives these fields their values back.
macro_rules! undone {
    ($tables:expr, $run:expr, $($field:ident)*) => {{
        $(let $field = $tables.$field.borrow().clone();)*
        let result = $run;
        $($tables.$field.replace($field);)*
        result
    }};
}

impl Bed for HostBed {
    fn policy(&self) -> &Policy {
        &self.policy
    }

    fn install_warming(&mut self, config: &Config, until: u64) -> Result<()> {
        self.policy = compile(config, &site::catalogue(), &self.policy.rule_bits())?;
        self.policy.settings.warm_up_until = until;
        self.set_zones(&self.zones()?)?;
        let devices = self.devices()?;
        self.set_devices(&devices)?;
        set_senders(&mut self.tables, &devices);
        self.set_own_addresses(&own_addresses(interface(LAN)))?;
        let answers = site::resolver_devices(config, |name| Ok(interface(name)))?.into_iter();
        let keys = answers.map(|(device, to)| ResolverDevice { device, resolver: to.into() });
        self.tables.resolver_devices = RefCell::new(keys.map(|key| (key, 1)).collect());
        let active = self.tables.active.get();
        // 0 is "none yet".
        let generation = active.generation.wrapping_add(1).max(1);
        self.tables.policies[(generation & 1) as usize] = host::PolicyMaps::from(&self.policy);
        self.tables.active.set(Active { generation, ..active });
        Ok(())
    }

    fn index(&self, name: &str) -> Result<u32> {
        Ok(interface(name))
    }

    fn zones(&self) -> Result<ZoneMap> {
        Ok(zones(&self.policy, interface))
    }

    fn devices(&self) -> Result<Devices> {
        let layer3 = if self.layer3 { DEVICE_LAYER3 } else { 0 };
        let devices = devices(&self.policy, interface).into_iter();
        Ok(devices.map(|(zone, device)| (zone, device | layer3)).collect())
    }

    fn set_zones(&mut self, zones: &ZoneMap) -> Result<()> {
        self.tables.zones =
            zones.iter().map(|(segment, zone)| zone_entry((*segment, *zone))).collect();
        Ok(())
    }

    fn set_devices(&mut self, devices: &Devices) -> Result<()> {
        let entries = devices.iter().map(|(zone, device)| device_entry((*zone, *device)));
        self.tables.devices = entries.collect();
        let gone = devices.values().map(|device| device & !DEVICE_LAYER3);
        self.tables.gone = gone.filter(|device| *device > INTERFACES).collect();
        Ok(())
    }

    fn set_own_addresses(&mut self, own: &OwnAddresses) -> Result<()> {
        set_own_addresses(&mut self.tables, own);
        Ok(())
    }

    fn set_neighbour(&mut self, address: IpAddr, mac: [u8; 6]) -> Result<()> {
        set_neighbour(&mut self.tables, address, mac);
        Ok(())
    }

    fn set_router(&mut self, address: IpAddr, router: IpAddr) -> Result<()> {
        self.tables.next_hops.insert(address.into(), router.into());
        Ok(())
    }

    fn change_settings(&mut self, change: &dyn Fn(&mut Settings)) -> Result<()> {
        let slot = self.slot();
        change(&mut self.tables.policies[slot].settings);
        Ok(())
    }

    fn active(&self) -> Result<Active> {
        Ok(self.tables.active.get())
    }

    fn taken_off(&self) -> usize {
        if self.layer3 { ETHERNET } else { 0 }
    }

    fn takes(&self, _: HookPoint, _: &[u8]) -> bool {
        true
    }

    fn judge(&self, point: HookPoint, frame: &[u8]) -> Result<Fate> {
        Ok(match self.verdict(point, frame)?.action {
            Action::Pass => Fate::Passed,
            Action::Drop => Fate::Dropped,
            Action::Refuse => {
                let answer = fate::answer(frame, &self.tables.refusal());
                Fate::Answered(answer.context("a refused frame that is no datagram")?)
            }
            // Resets and errors are written by what exists in the kernel alone.
            Action::Reject => Fate::Answered(Vec::new()),
        })
    }

    fn explain(&self, interface: &str, frame: &[u8]) -> Result<Explanation> {
        // Interfaces of the site have constant names.
        let name = if interface == LAN { LAN } else { OTHER };
        let verdict = undone!(
            self.tables, self.verdict(HookPoint::Ingress(name), frame)?,
            hosts4 hosts6 flows4 flows6 new_flows4 new_flows6 pending streams streams_read kept
            limits fragments counters rule_counters group_counters denied queries untaught flow_events answers segments
        );
        Explanation::unpack(verdict.explanation()).context("an explanation of an unknown form")
    }

    fn counted(&self) -> Result<State> {
        let (counters, rules) = (self.tables.counters.borrow(), self.tables.rule_counters.borrow());
        let of = |what: Counted| counters.get(&what.counter()).copied().unwrap_or_default();
        let of_rule = |rule: usize| rules.get(&(rule as u8)).copied().unwrap_or_default();
        Ok(State {
            counters: Counted::all().map(of).collect(),
            rule_counters: (0..RULES).map(of_rule).collect(),
            elements: BTreeMap::new(),
        })
    }

    fn state(&self) -> Result<State> {
        let mut elements = BTreeMap::new();
        let tables = &self.tables;
        dump("HOSTS4", &tables.hosts4, &mut elements);
        dump("HOSTS6", &tables.hosts6, &mut elements);
        dump("FLOWS4", &tables.flows4, &mut elements);
        dump("FLOWS6", &tables.flows6, &mut elements);
        dump("NEW_FLOWS4", &tables.new_flows4, &mut elements);
        dump("NEW_FLOWS6", &tables.new_flows6, &mut elements);
        dump("DNS_PENDING", &tables.pending, &mut elements);
        dump("STREAMS", &tables.streams, &mut elements);
        dump("CLIENT_LIMITS", &tables.limits, &mut elements);
        dump("FRAGMENTS", &tables.fragments, &mut elements);
        Ok(State { elements, ..self.counted()? })
    }

    fn events(&mut self) -> Vec<Event> {
        let tables = &self.tables;
        let mut events = Vec::new();
        events.extend(tables.answers.take().iter().map(|_| Event::Answer));
        events.extend(tables.segments.take().iter().map(|_| Event::Segment));
        events.extend(tables.untaught.take().iter().map(|_| Event::Untaught));
        events.extend(tables.queries.take().into_iter().map(Event::Query));
        events.extend(tables.denied.take().into_iter().map(Event::Denied));
        events.extend(tables.flow_events.take().into_iter().map(Event::Flow));
        events
    }

    fn clear(&mut self) -> Result<()> {
        clear(&self.tables);
        Ok(())
    }

    fn forget_addresses(&self) -> Result<()> {
        self.tables.hosts4.borrow_mut().clear();
        self.tables.hosts6.borrow_mut().clear();
        Ok(())
    }

    fn forget_streams(&self) -> Result<()> {
        self.tables.streams.borrow_mut().clear();
        self.tables.streams_read.borrow_mut().clear();
        Ok(())
    }

    fn learn(&self, address: IpAddr, rule: &str, seconds: i64) -> Result<()> {
        let expires = now()?.saturating_add_signed(seconds * 1_000_000_000);
        let host = Host::new(RuleMask::of(self.rule(rule)), expires, now()?, 0);
        match address {
            IpAddr::V4(v4) => self.tables.hosts4.borrow_mut().insert(V4::from(v4), host),
            IpAddr::V6(v6) => self.tables.hosts6.borrow_mut().insert(V6::from(v6), host),
        };
        Ok(())
    }

    fn note_read(&self, key: &FlowKey<V6>, read: StreamRead) -> Result<()> {
        self.tables.streams_read.borrow_mut().insert(*key, read);
        Ok(())
    }

    fn hosts(&self) -> Result<Vec<(IpAddr, Host)>> {
        let (four, six) = (self.tables.hosts4.borrow(), self.tables.hosts6.borrow());
        let four = four.iter().map(|(address, host)| (IpAddr::V4((*address).into()), *host));
        let six = six.iter().map(|(address, host)| (IpAddr::V6((*address).into()), *host));
        Ok(four.chain(six).collect())
    }

    fn flows(&self, map: &str) -> Result<Vec<Flow>> {
        let tables = &self.tables;
        let (four, six) = match map {
            "FLOWS" => (&tables.flows4, &tables.flows6),
            _ => (&tables.new_flows4, &tables.new_flows6),
        };
        Ok(four.borrow().values().chain(six.borrow().values()).copied().collect())
    }

    fn queries(&self) -> Result<Vec<(PendingKey, Pending)>> {
        let queries = self.tables.pending.borrow();
        Ok(queries.iter().map(|(key, query)| (*key, *query)).collect())
    }

    fn streams(&self) -> Result<Vec<(FlowKey<V6>, Stream)>> {
        let streams = self.tables.streams.borrow();
        Ok(streams.iter().map(|(key, stream)| (*key, *stream)).collect())
    }

    fn fragments(&self) -> Result<Vec<FragmentVerdict>> {
        Ok(self.tables.fragments.borrow().values().copied().collect())
    }

    fn change_hosts(&self, change: &dyn Fn(&mut Host)) -> Result<()> {
        self.tables.hosts4.borrow_mut().values_mut().for_each(change);
        self.tables.hosts6.borrow_mut().values_mut().for_each(change);
        Ok(())
    }

    fn change_flows(&self, change: &dyn Fn(&mut Flow)) -> Result<()> {
        self.tables.flows4.borrow_mut().values_mut().for_each(change);
        self.tables.flows6.borrow_mut().values_mut().for_each(change);
        self.tables.new_flows4.borrow_mut().values_mut().for_each(change);
        self.tables.new_flows6.borrow_mut().values_mut().for_each(change);
        Ok(())
    }

    fn change_queries(&self, change: &dyn Fn(&mut Pending)) -> Result<()> {
        self.tables.pending.borrow_mut().values_mut().for_each(change);
        Ok(())
    }

    fn change_streams(&self, change: &dyn Fn(&mut Stream)) -> Result<()> {
        self.tables.streams.borrow_mut().values_mut().for_each(change);
        Ok(())
    }

    fn change_fragments(&self, change: &dyn Fn(&mut FragmentVerdict)) -> Result<()> {
        self.tables.fragments.borrow_mut().values_mut().for_each(change);
        Ok(())
    }

    fn change_limits(&self, change: &dyn Fn(&mut Limits)) -> Result<()> {
        self.tables.limits.borrow_mut().values_mut().for_each(change);
        Ok(())
    }
}

/// Highest index of an interface of the site.
const INTERFACES: u32 = 4;

/// Index of an interface of the site.
fn interface(name: &str) -> u32 {
    match name {
        LAN => 1,
        OTHER => 2,
        VLAN_DEVICE => 3,
        _ => INTERFACES,
    }
}

fn zones(policy: &Policy, index: impl Fn(&str) -> u32) -> ZoneMap {
    let segment = |zone: &str, vlan: u16| (index(zone), u32::from(vlan));
    policy.zones.iter().map(|zone| (segment(&zone.interface, zone.vlan), zone.number)).collect()
}

fn set_senders(tables: &mut Tables, devices: &Devices) {
    let elements = sender_elements(&site::senders(devices));
    tables.device_zones = RefCell::new(elements.into_iter().collect());
}

fn devices(policy: &Policy, index: impl Fn(&str) -> u32) -> Devices {
    let name = |interface, vlan| if vlan == site::VLAN { VLAN_DEVICE } else { interface };
    let zones = policy.zones.iter();
    zones.map(|zone| (zone.number, index(name(&zone.interface, zone.vlan)))).collect()
}

const fn zone_entry(((ifindex, vlan), zone): ((u32, u32), u32)) -> (ZoneKey, u32) {
    (ZoneKey { ifindex, vlan }, zone)
}

const fn device_entry((zone, device): (u32, u32)) -> (u16, u32) {
    (zone as u16, device)
}

fn own_addresses(lan: u32) -> OwnAddresses {
    Addresses::both().map(|who| (lan, who.gateway)).into()
}

fn set_own_addresses(tables: &mut Tables, own: &OwnAddresses) {
    tables.own_addresses = own.iter().map(|(_, address)| IpAddr::into(*address)).collect();
    let on =
        |(device, address): &(u32, IpAddr)| OwnKey { device: *device, address: (*address).into() };
    tables.own_on_device = own.iter().map(on).collect();
}

fn dump<K: Debug, V: Debug>(
    name: &str,
    map: &RefCell<HashMap<K, V>>,
    into: &mut BTreeMap<String, String>,
) {
    for (key, value) in map.borrow().iter() {
        into.insert(format!("{name} {key:?}"), format!("{value:?}"));
    }
}
