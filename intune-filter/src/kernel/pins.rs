//! Reads pinned maps by their types, with or without a daemon.

use std::{net::IpAddr, os::fd::AsFd as _, path::Path, time::Duration};

use anyhow::{Context as _, Result};
use aya::{
    Pod,
    maps::{Array, ArrayOfMaps, HashMap, LpmTrie, Map, MapData, MapType},
};
use intune_filter_ebpf::abi::{
    Active, Client, ClientKey, DeviceZone, Host, RuleMask, Settings, Title, V4, V6, ZoneKey,
    nat64_length, port_class, port_class_at,
};
use ipnet::IpNet;

use super::{
    attached::{is_linked, is_on},
    directory::{Hook, PinDirectory, entries},
    syscall,
};
use crate::{
    policy::Nat64,
    system::{Interface, Mode},
};

/// Pins of an instance.
#[derive(Clone, Debug)]
pub struct Pins {
    directory: PinDirectory,
}

/// Fill level of a map.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Usage {
    /// Elements in the map.
    pub entries: u64,
    /// Capacity in elements.
    pub capacity: u64,
}

/// Prefix of clients in one zone, with its group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ClientEntry {
    /// Number of the zone.
    pub zone: u32,
    /// Prefix of the sources.
    pub network: IpNet,
    /// Group and its settings.
    pub client: Client,
}

impl Pins {
    /// Opens the pins under `root`, or `None` if nothing is pinned there. Pins of another layout
    /// are an error.
    ///
    /// # Errors
    /// The directory cannot be read, or has pins of another layout.
    pub fn open(root: &Path) -> Result<Option<Self>> {
        let directory = PinDirectory::new(root);
        directory.refuse_other_layouts()?;
        Ok(directory.has_pins().then_some(Self { directory }))
    }

    pub(super) const fn new(directory: PinDirectory) -> Self {
        Self { directory }
    }

    /// Returns the directory of the pins.
    #[must_use]
    pub const fn directory(&self) -> &PinDirectory {
        &self.directory
    }

    /// A pinned map, of no type yet.
    ///
    /// # Errors
    /// It is not pinned.
    pub fn data(&self, name: &str) -> Result<MapData> {
        let path = self.directory.map(name);
        MapData::from_pin(&path)
            .with_context(|| format!("cannot open the pinned map {}", path.display()))
    }

    /// A pinned map.
    ///
    /// # Errors
    /// It is not pinned, or of another kind.
    pub fn map<M>(&self, name: &str) -> Result<M>
    where
        M: TryFrom<Map>,
        M::Error: std::error::Error + Send + Sync + 'static,
    {
        Map::from_map_data(self.data(name)?)?
            .try_into()
            .with_context(|| format!("the pinned map {name} is of another type"))
    }

    /// A policy's map out of an array of maps; `None` if that slot is empty.
    ///
    /// # Errors
    /// A map is not pinned, or of another kind.
    pub fn inner<M>(&self, name: &str, slot: u32) -> Result<Option<M>>
    where
        M: TryFrom<Map>,
        M::Error: std::error::Error + Send + Sync + 'static,
    {
        let Some(data) = self.inner_data(name, slot)? else { return Ok(None) };
        Map::from_map_data(data)?
            .try_into()
            .map(Some)
            .with_context(|| format!("the maps in {name} are of another type"))
    }

    pub(super) fn inner_data(&self, name: &str, slot: u32) -> Result<Option<MapData>> {
        Ok(self.map::<ArrayOfMaps<MapData>>(name)?.get(&slot, 0).ok())
    }

    /// Every element of a pinned hash map.
    ///
    /// # Errors
    /// The map cannot be read.
    pub fn elements<K: Pod, V: Pod>(&self, name: &str) -> Result<Vec<(K, V)>> {
        // The typed handle checks the sizes of keys and values.
        let map = self.data(name)?;
        let typed: HashMap<MapData, K, V> = self.map(name)?;
        drop(typed);
        syscall::elements(map.fd().as_fd()).with_context(|| format!("cannot read the map {name}"))
    }

    /// Which policy is in force.
    ///
    /// # Errors
    /// The map cannot be read.
    pub fn active(&self) -> Result<Active> {
        Ok(self.map::<Array<_, Active>>("ACTIVE")?.get(&0, 0)?)
    }

    /// The switches of the policy in force.
    ///
    /// # Errors
    /// The map cannot be read.
    pub fn settings(&self) -> Result<Settings> {
        let slot = self.active()?.generation & 1;
        Ok(self.map::<Array<_, Settings>>("SETTINGS")?.get(&slot, 0)?)
    }

    /// How long the warm-up goes on, at a time of CLOCK_BOOTTIME in nanoseconds.
    ///
    /// # Errors
    /// The map cannot be read.
    pub fn warm_up_left(&self, now: u64) -> Result<Option<Duration>> {
        let left = self.settings()?.warm_up_until.saturating_sub(now);
        Ok((left > 0).then(|| Duration::from_nanos(left)))
    }

    /// The names of the rules, `SERVICE/RULE`, by number.
    ///
    /// # Errors
    /// The map cannot be read.
    pub fn rules(&self) -> Result<Vec<Option<String>>> {
        self.infos("RULE_TITLES")
    }

    /// The names of the groups, by number.
    ///
    /// # Errors
    /// The map cannot be read.
    pub fn groups(&self) -> Result<Vec<Option<String>>> {
        self.infos("GROUP_TITLES")
    }

    fn infos(&self, name: &str) -> Result<Vec<Option<String>>> {
        let map: Array<_, Title> = self.map(name)?;
        (0..map.len()).map(|number| Ok(text_of(&map.get(&number, 0)?))).collect()
    }

    /// Every learned address.
    ///
    /// # Errors
    /// A map cannot be read.
    pub fn hosts(&self) -> Result<Vec<(IpAddr, Host)>> {
        let four = self.elements::<V4, Host>("HOSTS4")?;
        let six = self.elements::<V6, Host>("HOSTS6")?;
        Ok(four
            .into_iter()
            .map(|(address, host)| (IpAddr::V4(address.into()), host))
            .chain(six.into_iter().map(|(address, host)| (IpAddr::V6(address.into()), host)))
            .collect())
    }

    /// What is known of one learned address.
    ///
    /// # Errors
    /// The map cannot be read.
    pub fn host(&self, address: IpAddr) -> Result<Option<Host>> {
        let found = match address {
            IpAddr::V4(v4) => self.map::<HashMap<_, V4, Host>>("HOSTS4")?.get(&v4.into(), 0),
            IpAddr::V6(v6) => self.map::<HashMap<_, V6, Host>>("HOSTS6")?.get(&v6.into(), 0),
        };
        found_or_none(found)
    }

    /// Elements of `CLIENT_LIMITS` that programs use: as many as there are, as a power of two.
    ///
    /// # Errors
    /// The map cannot be read.
    pub fn limit_sets(&self) -> Result<u32> {
        let elements = self.data("CLIENT_LIMITS")?.info()?.max_entries();
        Ok(1 << elements.max(1).ilog2())
    }

    /// The zones in force.
    ///
    /// # Errors
    /// The map cannot be read.
    pub fn zones(&self) -> Result<Vec<(ZoneKey, u32)>> {
        self.elements("ZONES")
    }

    /// The zone that a device sends from, if there is but one.
    ///
    /// # Errors
    /// The map cannot be read.
    pub fn zone_of_device(&self, device: u32) -> Result<Option<u32>> {
        let senders = self.elements::<DeviceZone, u32>("DEVICE_ZONES")?;
        let mut zones = senders.into_iter().filter(|(key, _)| key.device == device);
        let first = zones.next().map(|(_, zone)| zone);
        Ok(first.filter(|_| zones.next().is_none()))
    }

    /// The clients of the policy in force.
    ///
    /// # Errors
    /// A map cannot be read.
    pub fn clients(&self) -> Result<Vec<ClientEntry>> {
        let slot = self.active()?.generation & 1;
        let mut clients = Vec::new();
        if let Some(map) =
            self.inner::<LpmTrie<MapData, ClientKey<V4>, Client>>("CLIENTS4", slot)?
        {
            for entry in map.iter() {
                let (key, client) = entry?;
                let data = key.data();
                let (zone, address) = (data.zone, IpAddr::V4(data.address.into()));
                clients.extend(client_entry(zone, address, key.prefix_len(), client));
            }
        }
        if let Some(map) =
            self.inner::<LpmTrie<MapData, ClientKey<V6>, Client>>("CLIENTS6", slot)?
        {
            for entry in map.iter() {
                let (key, client) = entry?;
                let data = key.data();
                let (zone, address) = (data.zone, IpAddr::V6(data.address.into()));
                clients.extend(client_entry(zone, address, key.prefix_len(), client));
            }
        }
        Ok(clients)
    }

    /// The networks of the policy in force, with their rules.
    ///
    /// # Errors
    /// A map cannot be read.
    pub fn networks(&self) -> Result<Vec<(IpNet, RuleMask)>> {
        let slot = self.active()?.generation & 1;
        let mut networks = Vec::new();
        if let Some(map) = self.inner::<LpmTrie<MapData, V4, RuleMask>>("NETS4", slot)? {
            for entry in map.iter() {
                let (key, rules) = entry?;
                let address = IpAddr::V4(key.data().into());
                networks.extend(network(address, key.prefix_len()).map(|net| (net, rules)));
            }
        }
        if let Some(map) = self.inner::<LpmTrie<MapData, V6, RuleMask>>("NETS6", slot)? {
            for entry in map.iter() {
                let (key, rules) = entry?;
                let address = IpAddr::V6(key.data().into());
                networks.extend(network(address, key.prefix_len()).map(|net| (net, rules)));
            }
        }
        Ok(networks)
    }

    /// The NAT64 prefixes of the policy in force.
    ///
    /// # Errors
    /// The map cannot be read.
    pub fn nat64(&self) -> Result<Nat64> {
        let slot = self.active()?.generation & 1;
        let mut prefixes = Vec::new();
        if let Some(map) = self.inner::<LpmTrie<MapData, V6, u32>>("ANSWER_ACL6", slot)? {
            for entry in map.iter() {
                let (key, answer) = entry?;
                if nat64_length(answer) == key.prefix_len()
                    && let Some(IpNet::V6(prefix)) =
                        network(IpAddr::V6(key.data().into()), key.prefix_len())
                {
                    prefixes.push(prefix);
                }
            }
        }
        Ok(Nat64::new(prefixes))
    }

    /// The rules of the policy in force that a port belongs to.
    ///
    /// # Errors
    /// The map cannot be read.
    pub fn port(&self, index: u32) -> Result<RuleMask> {
        let slot = self.active()?.generation & 1;
        let ports = self.inner::<Array<MapData, u64>>("PORTS", slot)?;
        let Some(ports) = ports else { return Ok(RuleMask::EMPTY) };
        let classes: Array<MapData, RuleMask> = self.map("PORT_CLASSES")?;
        let (word, shift) = port_class(index);
        let class = (ports.get(&word, 0)? >> shift) as u8;
        Ok(classes.get(&port_class_at(slot, class), 0)?)
    }

    /// How full the maps are that can fill up, by name. Those of a policy cannot: each policy brings
    /// maps of its own size.
    ///
    /// # Errors
    /// A map cannot be read.
    pub fn usage(&self) -> Result<Vec<(String, Usage)>> {
        let mut names = entries(&self.directory.maps())?;
        names.sort();
        let mut usages = Vec::with_capacity(names.len());
        for name in names {
            let map = self.data(&name)?;
            if map.info()?.map_type()? != MapType::ArrayOfMaps {
                usages.extend(usage_of(&map)?.map(|usage| (name, usage)));
            }
        }
        Ok(usages)
    }

    /// Whether a link, which knows its interface by index, is pinned for it; filters know none.
    ///
    /// # Errors
    /// A link is pinned that cannot be read.
    pub fn is_linked(&self, interface: &Interface) -> Result<bool> {
        let mut linked = false;
        for hook in Hook::ALL {
            linked |= is_linked(&self.directory, interface, hook)?;
        }
        Ok(linked)
    }

    /// Where packets from an interface's clients are judged; `None` unless those to them are too.
    ///
    /// # Errors
    /// A link is pinned that cannot be read.
    pub fn enforced(&self, interface: &Interface) -> Result<Option<Mode>> {
        let on = |hook: Hook| {
            anyhow::Ok(hook.is_for(&interface.link) && is_on(&self.directory, interface, hook)?)
        };
        Ok(if !(on(Hook::Egress)? || on(Hook::EgressL3)?) {
            None
        } else if on(Hook::TcIngress)? || on(Hook::TcIngressL3)? {
            Some(Mode::Tc)
        } else if on(Hook::Ingress)? {
            interface.xdp.map(|(_, mode)| mode)
        } else {
            None
        })
    }
}

fn usage_of(map: &MapData) -> Result<Option<Usage>> {
    let info = map.info()?;
    if !matches!(info.map_type()?, MapType::Hash | MapType::LruHash | MapType::LpmTrie) {
        return Ok(None);
    }
    let (key, value) = (info.key_size() as usize, info.value_size() as usize);
    let entries = syscall::count_elements(map.fd().as_fd(), key, value)?;
    Ok(Some(Usage { entries, capacity: u64::from(info.max_entries()) }))
}

/// Turns a missing key into `None`, and keeps other errors.
pub(super) fn found_or_none<T>(found: Result<T, aya::maps::MapError>) -> Result<Option<T>> {
    match found {
        Ok(value) => Ok(Some(value)),
        Err(aya::maps::MapError::KeyNotFound) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

fn text_of(info: &Title) -> Option<String> {
    let text: Vec<u8> = info.text.iter().copied().take_while(|octet| *octet != 0).collect();
    (!text.is_empty()).then(|| String::from_utf8_lossy(&text).into_owned())
}

fn client_entry(zone: u32, address: IpAddr, bits: u32, client: Client) -> Option<ClientEntry> {
    // Prefix lengths include the zone's bits.
    let network = network(address, bits.checked_sub(u32::BITS)?)?;
    Some(ClientEntry { zone, network, client })
}

fn network(address: IpAddr, bits: u32) -> Option<IpNet> {
    IpNet::new(address, u8::try_from(bits).ok()?).ok()
}
