//! Interface of the judges of the tables of packets: the loaded programs, or the host's maps.

use std::net::IpAddr;

use anyhow::Result;
use intune_filter::{
    config::Config,
    kernel::{Devices, OwnAddresses, ZoneMap},
    policy::Policy,
};
use intune_filter_ebpf::abi::{
    Active, Explanation, Flow, FlowKey, FragmentVerdict, Host, Limits, Pending, PendingKey,
    Settings, Stream, StreamRead, V6,
};

use super::{
    fate::Fate,
    filter::HookPoint,
    state::{Event, State},
};

/// Something that judges frames by a policy, and shows what it counts, remembers and reports.
pub trait Bed {
    /// Policy in force.
    fn policy(&self) -> &Policy;
    /// Puts a configuration into force with a warm-up that ends at a time of CLOCK_BOOTTIME, in
    /// nanoseconds.
    fn install_warming(&mut self, config: &Config, until: u64) -> Result<()>;
    /// Index of an interface of the site.
    fn index(&self, interface: &str) -> Result<u32>;
    /// Zones of the policy.
    fn zones(&self) -> Result<ZoneMap>;
    /// Devices of the zones of the policy.
    fn devices(&self) -> Result<Devices>;
    /// Makes these the zones.
    fn set_zones(&mut self, zones: &ZoneMap) -> Result<()>;
    /// Makes these the devices of the zones.
    fn set_devices(&mut self, devices: &Devices) -> Result<()>;
    /// Makes these the gateway's own addresses.
    fn set_own_addresses(&mut self, own: &OwnAddresses) -> Result<()>;
    /// Makes this the hardware address of a neighbour on [`super::site::LAN`].
    fn set_neighbour(&mut self, address: IpAddr, mac: [u8; 6]) -> Result<()>;
    /// Has the routes lead to an address by a router on [`super::site::LAN`].
    fn set_router(&mut self, address: IpAddr, router: IpAddr) -> Result<()>;
    /// Changes the settings of the policy in force.
    fn change_settings(&mut self, change: &dyn Fn(&mut Settings)) -> Result<()>;
    /// Generation of the policy in force.
    fn active(&self) -> Result<Active>;

    /// Octets of frames that are not judged: the Ethernet header, at layer 3.
    fn taken_off(&self) -> usize {
        0
    }
    /// Whether a frame can be judged here.
    fn takes(&self, point: HookPoint, frame: &[u8]) -> bool;
    /// Judges a frame now.
    fn judge(&self, point: HookPoint, frame: &[u8]) -> Result<Fate>;
    /// Says how a frame that comes in would be judged, and changes nothing.
    fn explain(&self, interface: &str, frame: &[u8]) -> Result<Explanation>;
    /// Counters, without elements.
    fn counted(&self) -> Result<State>;
    /// Counters and elements of maps.
    fn state(&self) -> Result<State>;
    /// Takes the events that wait.
    fn events(&mut self) -> Vec<Event>;

    /// Forgets addresses, flows, queries and events. Counters stay.
    fn clear(&mut self) -> Result<()>;
    /// Forgets addresses.
    fn forget_addresses(&self) -> Result<()>;
    /// Forgets connections to resolvers.
    fn forget_streams(&self) -> Result<()>;
    /// Makes an address one that names of a rule have led to, for some seconds from now on; less
    /// than none is as long ago.
    fn learn(&self, address: IpAddr, rule: &str, seconds: i64) -> Result<()>;
    /// Notes how far userspace has read a connection.
    fn note_read(&self, key: &FlowKey<V6>, read: StreamRead) -> Result<()>;

    /// Learned addresses.
    fn hosts(&self) -> Result<Vec<(IpAddr, Host)>>;
    /// Flows of both families: `FLOWS` or `NEW_FLOWS`.
    fn flows(&self, map: &str) -> Result<Vec<Flow>>;
    /// Recorded queries.
    fn queries(&self) -> Result<Vec<(PendingKey, Pending)>>;
    /// Followed connections to resolvers.
    fn streams(&self) -> Result<Vec<(FlowKey<V6>, Stream)>>;
    /// Fragmented datagrams.
    fn fragments(&self) -> Result<Vec<FragmentVerdict>>;

    /// Changes every learned address.
    fn change_hosts(&self, change: &dyn Fn(&mut Host)) -> Result<()>;
    /// Changes every flow.
    fn change_flows(&self, change: &dyn Fn(&mut Flow)) -> Result<()>;
    /// Changes every recorded query.
    fn change_queries(&self, change: &dyn Fn(&mut Pending)) -> Result<()>;
    /// Changes every followed connection.
    fn change_streams(&self, change: &dyn Fn(&mut Stream)) -> Result<()>;
    /// Changes what is known of every fragmented datagram.
    fn change_fragments(&self, change: &dyn Fn(&mut FragmentVerdict)) -> Result<()>;
    /// Changes what clients and zones have begun.
    fn change_limits(&self, change: &dyn Fn(&mut Limits)) -> Result<()>;

    /// Puts a configuration into force.
    fn install(&mut self, config: &Config) -> Result<()> {
        self.install_warming(config, 0)
    }

    /// Number of a rule in force, `SERVICE/RULE`.
    fn rule(&self, id: &str) -> u8 {
        let found = self.policy().rules.iter().find(|(_, rule)| rule.id.to_string() == id);
        *found.unwrap_or_else(|| panic!("no rule {id}")).0
    }

    /// Name of a rule in force, by its number.
    fn rule_name(&self, number: u8) -> String {
        let rule = self.policy().rules.get(&number);
        rule.map_or_else(|| format!("rule {number}"), |rule| rule.id.to_string())
    }

    /// Number of a group.
    fn group(&self, name: &str) -> u8 {
        let found = self.policy().groups.iter().position(|group| group.name == name);
        found.unwrap_or_else(|| panic!("no group {name}")) as u8
    }
}
