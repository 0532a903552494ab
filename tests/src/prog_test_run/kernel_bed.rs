//! The loaded programs as what judges tables of packets.

use std::{net::IpAddr, process::Command};

use anyhow::Result;
use aya::maps::{Array, HashMap, MapData};
use intune_filter::{
    config::Config,
    kernel::{Devices, OwnAddresses, ZoneMap},
    policy::Policy,
};
use intune_filter_ebpf::abi::{
    Active, Explanation, Flow, FlowKey, FragmentKey, FragmentVerdict, Host, Limits, Pending,
    PendingKey, Settings, Stream, StreamRead, V4, V6,
};

use crate::namespace::run;

use super::{
    Bed, IngressHook, LoadedFilter,
    datagram::ETHERNET,
    fate::Fate,
    filter::HookPoint,
    program, site,
    state::{Event, State},
};

/// Changes the namespace that the test runs in.
fn ip(line: &str) -> Result<()> {
    run(Command::new("ip").args(line.split(' '))).map(drop)
}

impl Bed for LoadedFilter {
    fn policy(&self) -> &Policy {
        self.policy()
    }

    fn install_warming(&mut self, config: &Config, until: u64) -> Result<()> {
        self.install_warming(config, until)
    }

    fn index(&self, interface: &str) -> Result<u32> {
        program::index(interface)
    }

    fn zones(&self) -> Result<ZoneMap> {
        self.zones()
    }

    fn devices(&self) -> Result<Devices> {
        self.devices()
    }

    fn set_zones(&mut self, zones: &ZoneMap) -> Result<()> {
        Self::set_zones(self, zones)
    }

    fn set_devices(&mut self, devices: &Devices) -> Result<()> {
        self.kernel().set_devices(devices)
    }

    fn set_own_addresses(&mut self, own: &OwnAddresses) -> Result<()> {
        self.kernel().set_own_addresses(own)
    }

    fn set_neighbour(&mut self, address: IpAddr, mac: [u8; 6]) -> Result<()> {
        let mac = mac.map(|octet| format!("{octet:02x}")).join(":");
        ip(&format!("neigh replace {address} lladdr {mac} nud permanent dev {}", site::LAN))
    }

    fn set_router(&mut self, address: IpAddr, router: IpAddr) -> Result<()> {
        ip(&format!("route replace {address} via {router} dev {}", site::LAN))
    }

    fn change_settings(&mut self, change: &dyn Fn(&mut Settings)) -> Result<()> {
        let slot = self.pins().active()?.generation & 1;
        let mut map: Array<MapData, Settings> = self.pins().map("SETTINGS")?;
        let mut settings = map.get(&slot, 0)?;
        change(&mut settings);
        Ok(map.set(slot, settings, 0)?)
    }

    fn active(&self) -> Result<Active> {
        self.pins().active()
    }

    fn taken_off(&self) -> usize {
        if self.hook() == IngressHook::Layer3 { ETHERNET } else { 0 }
    }

    fn takes(&self, point: HookPoint, frame: &[u8]) -> bool {
        self.takes(point, frame)
    }

    fn judge(&self, point: HookPoint, frame: &[u8]) -> Result<Fate> {
        self.judge(point, frame)
    }

    fn explain(&self, interface: &str, frame: &[u8]) -> Result<Explanation> {
        self.explain(interface, frame)
    }

    fn counted(&self) -> Result<State> {
        self.counted()
    }

    fn state(&self) -> Result<State> {
        self.state()
    }

    fn events(&mut self) -> Vec<Event> {
        self.events()
    }

    fn clear(&mut self) -> Result<()> {
        self.clear()
    }

    fn forget_addresses(&self) -> Result<()> {
        self.forget_addresses()
    }

    fn forget_streams(&self) -> Result<()> {
        self.forget_streams()
    }

    fn learn(&self, address: IpAddr, rule: &str, seconds: i64) -> Result<()> {
        self.learn(address, rule, seconds)
    }

    fn note_read(&self, key: &FlowKey<V6>, read: StreamRead) -> Result<()> {
        let mut map: HashMap<MapData, FlowKey<V6>, StreamRead> = self.pins().map("STREAMS_READ")?;
        Ok(map.insert(key, read, 0)?)
    }

    fn hosts(&self) -> Result<Vec<(IpAddr, Host)>> {
        self.pins().hosts()
    }

    fn flows(&self, map: &str) -> Result<Vec<Flow>> {
        let four = self.pins().elements::<FlowKey<V4>, Flow>(&format!("{map}4"))?;
        let six = self.pins().elements::<FlowKey<V6>, Flow>(&format!("{map}6"))?;
        let (four, six) = (four.into_iter().map(|(_, flow)| flow), six.into_iter());
        Ok(four.chain(six.map(|(_, flow)| flow)).collect())
    }

    fn queries(&self) -> Result<Vec<(PendingKey, Pending)>> {
        self.pins().elements("DNS_PENDING")
    }

    fn streams(&self) -> Result<Vec<(FlowKey<V6>, Stream)>> {
        self.pins().elements("STREAMS")
    }

    fn fragments(&self) -> Result<Vec<FragmentVerdict>> {
        let all = self.pins().elements::<FragmentKey, FragmentVerdict>("FRAGMENTS")?;
        Ok(all.into_iter().map(|(_, verdict)| verdict).collect())
    }

    fn change_hosts(&self, change: &dyn Fn(&mut Host)) -> Result<()> {
        self.change::<V4, Host>("HOSTS4", change)?;
        self.change::<V6, Host>("HOSTS6", change)
    }

    fn change_flows(&self, change: &dyn Fn(&mut Flow)) -> Result<()> {
        for map in ["FLOWS4", "NEW_FLOWS4"] {
            self.change::<FlowKey<V4>, Flow>(map, change)?;
        }
        for map in ["FLOWS6", "NEW_FLOWS6"] {
            self.change::<FlowKey<V6>, Flow>(map, change)?;
        }
        Ok(())
    }

    fn change_queries(&self, change: &dyn Fn(&mut Pending)) -> Result<()> {
        self.change::<PendingKey, Pending>("DNS_PENDING", change)
    }

    fn change_streams(&self, change: &dyn Fn(&mut Stream)) -> Result<()> {
        self.change::<FlowKey<V6>, Stream>("STREAMS", change)
    }

    fn change_fragments(&self, change: &dyn Fn(&mut FragmentVerdict)) -> Result<()> {
        self.change::<FragmentKey, FragmentVerdict>("FRAGMENTS", change)
    }

    fn change_limits(&self, change: &dyn Fn(&mut Limits)) -> Result<()> {
        self.change_limits(change)
    }
}
