//! Copies the pinned maps into the tables of the host, over which the logic runs without the kernel.

use std::{
    collections::{HashMap, HashSet},
    os::fd::AsFd as _,
};

use anyhow::{Context as _, Result};
use aya::{
    Pod,
    maps::{Array, LpmTrie, MapData},
};
use intune_filter_ebpf::{
    abi::{
        Client, ClientKey, DeviceZone, EdgeKey, GATEWAY_WORDS, Glob, MacKey, NameNode, OwnKey,
        PORT_CLASSES, ResolverDevice, RuleMask, V4, V6, ZONE_ELEMENTS, gateway_port, source_check,
    },
    host::{PolicyMaps, Tables, Trie},
};

use super::{Pins, syscall};
use crate::policy::octets_of_key;

impl Pins {
    /// The maps of the policy in force.
    ///
    /// # Errors
    /// A map cannot be read.
    pub fn policy_maps(&self) -> Result<PolicyMaps> {
        let slot = self.active()?.generation & 1;
        let half = GATEWAY_WORDS / 2;
        let (first, _) = gateway_port(slot, 0);
        let mut gateway_ports = HashSet::new();
        let words = self.array::<u64>("GATEWAY_PORTS")?.into_iter();
        let words = words.filter(|(at, bits)| *bits != 0 && (first..first + half).contains(at));
        for (at, bits) in words {
            let open = (0..u64::BITS).filter(|bit| bits >> bit & 1 != 0);
            gateway_ports.extend(open.map(|bit| (at - first) * u64::BITS + bit));
        }
        let checks = self.array::<u32>("SOURCE_CHECKS")?.into_iter();
        let first = source_check(slot, 0);
        let zone_of = |at: u32| u16::try_from(at.checked_sub(first)?).ok();
        let source_checks = checks
            .filter_map(|(at, passes)| Some((zone_of(at)?, passes)))
            .filter(|(zone, _)| usize::from(*zone) < ZONE_ELEMENTS)
            .collect();
        let mut classes = self.array::<RuleMask>("PORT_CLASSES")?;
        classes.retain(|(at, _)| at / PORT_CLASSES == slot);
        classes.sort_unstable_by_key(|(at, _)| *at);
        Ok(PolicyMaps {
            clients4: self.trie::<ClientKey<V4>, Client>("CLIENTS4", slot)?,
            clients6: self.trie::<ClientKey<V6>, Client>("CLIENTS6", slot)?,
            nets4: self.trie::<V4, RuleMask>("NETS4", slot)?,
            nets6: self.trie::<V6, RuleMask>("NETS6", slot)?,
            answers4: self.trie::<V4, u32>("ANSWER_ACL4", slot)?,
            answers6: self.trie::<V6, u32>("ANSWER_ACL6", slot)?,
            ports: self.ports(slot)?,
            port_classes: classes.into_iter().map(|(_, rules)| rules).collect(),
            edges: self.hash::<EdgeKey, NameNode>("EDGES", slot)?.into_iter().collect(),
            globs: self.globs(slot)?,
            servers: self.hash::<V6, u32>("SERVERS", slot)?.into_iter().collect(),
            gateway_ports,
            source_checks,
            group_macs: self
                .hash::<MacKey, u32>("GROUP_MACS", slot)?
                .into_iter()
                .map(|(key, _)| key)
                .collect(),
            settings: self.settings()?,
        })
    }

    /// Copies what the kernel knows beside the policy and what it has learned: zones and their devices,
    /// the gateway's addresses, the devices of resolvers.
    ///
    /// # Errors
    /// A map cannot be read.
    pub fn copy_site(&self, tables: &mut Tables) -> Result<()> {
        tables.active.set(self.active()?);
        tables.zones = self.zones()?.into_iter().collect();
        let devices = self.array::<u32>("ZONE_DEVICES")?.into_iter();
        let devices = devices.filter(|(_, device)| *device != 0);
        tables.devices = devices.map(|(zone, device)| (zone as u16, device)).collect();
        let own = self.elements::<V6, u32>("OWN_ADDRESSES")?;
        tables.own_addresses = own.into_iter().map(|(address, _)| address).collect();
        let on_device = self.elements::<OwnKey, u32>("OWN_ON_DEVICE")?;
        tables.own_on_device = on_device.into_iter().map(|(key, _)| key).collect();
        let resolvers = self.elements::<ResolverDevice, u32>("RESOLVER_DEVICES")?;
        tables.resolver_devices = resolvers.into_iter().collect::<HashMap<_, _>>().into();
        let senders = self.elements::<DeviceZone, u32>("DEVICE_ZONES")?;
        tables.device_zones = senders.into_iter().collect::<HashMap<_, _>>().into();
        Ok(())
    }

    fn trie<K: Pod + octets_of_key::Octets, V: Pod>(
        &self,
        name: &str,
        slot: u32,
    ) -> Result<Trie<V>> {
        let mut trie = Trie::default();
        let Some(map) = self.inner::<LpmTrie<MapData, K, V>>(name, slot)? else { return Ok(trie) };
        for entry in map.iter() {
            let (key, value) = entry?;
            trie.insert(key.prefix_len(), &key.data().octets(), value);
        }
        Ok(trie)
    }

    fn hash<K: Pod, V: Pod>(&self, name: &str, slot: u32) -> Result<Vec<(K, V)>> {
        let Some(map) = self.inner_data(name, slot)? else { return Ok(Vec::new()) };
        syscall::elements(map.fd().as_fd()).with_context(|| format!("cannot read {name}"))
    }

    fn array<V: Pod>(&self, name: &str) -> Result<Vec<(u32, V)>> {
        // The typed handle checks the size of the values.
        let typed: Array<MapData, V> = self.map(name)?;
        drop(typed);
        let map = self.data(name)?;
        syscall::elements(map.fd().as_fd()).with_context(|| format!("cannot read {name}"))
    }

    fn ports(&self, slot: u32) -> Result<Vec<u8>> {
        let mut words = self.hash::<u32, u64>("PORTS", slot)?;
        words.sort_unstable_by_key(|(at, _)| *at);
        Ok(words.into_iter().flat_map(|(_, eight)| eight.to_le_bytes()).collect())
    }

    fn globs(&self, slot: u32) -> Result<Vec<Glob>> {
        let mut globs = self.hash::<u32, Glob>("GLOBS", slot)?;
        globs.sort_unstable_by_key(|(number, _)| *number);
        Ok(globs.into_iter().map(|(_, glob)| glob).collect())
    }
}
