//! Writes a policy into the maps, so that each packet is judged by either the old or the new
//! policy.

use std::{iter, os::fd::AsFd as _, panic::resume_unwind, thread};

use anyhow::{Context as _, Result};
use aya::{
    Pod,
    maps::{Array, ArrayOfMaps, HashMap, LpmTrie, Map, MapData, MapError, lpm_trie::Key},
};
use intune_filter_ebpf::abi::{
    Active, Client, GATEWAY_WORDS, Glob, NameNode, PORT_CLASSES, RuleMask, Settings, Title,
    ZONE_ELEMENTS, gateway_port, source_check,
};

use super::{
    Kernel, Pins,
    array::set_elements,
    definition::{MapDefinitions, inner_definition},
    group_counters::GroupCounters,
};
use crate::policy::{Policy, Prefix};

/// Set of inner maps that is not in force, to be filled.
struct Fresh<'a> {
    pins: Pins,
    maps: &'a MapDefinitions,
    slot: u32,
}

impl Kernel {
    /// Fills a fresh set of maps with a policy, less the rules of `without`, and makes it the one
    /// in force by a single write. Returns its generation. When this returns, no program works
    /// with the set before it any more.
    ///
    /// # Errors
    /// A map cannot be read or written.
    pub fn install(&self, policy: &Policy, without: RuleMask) -> Result<u32> {
        let pins = self.pins();
        let mut active_map: Array<MapData, Active> = pins.map("ACTIVE")?;
        let mut active = active_map.get(&0, 0)?;
        // Generation 0 means that no policy has been in force.
        active.generation = active.generation.wrapping_add(1).max(1);
        let slot = active.generation & 1;
        let groups = pins.groups()?;
        let mut counters = GroupCounters::open(&pins)?;
        let counted = counters.totals(slot ^ 1, &groups)?;
        counters.prepare(slot, policy, &counted)?;

        let fresh = Fresh { pins: self.pins(), maps: &self.maps, slot };
        let keep = !without;
        let keep_client = |client: Client| Client { rules: client.rules & keep, ..client };
        let keep_node = |node: NameNode| NameNode {
            exact: node.exact & keep,
            below: node.below & keep,
            under: node.under & keep,
            ..node
        };
        let ports = || policy.ports.as_chunks().0.iter().map(|eight| u64::from_le_bytes(*eight));
        let edges = || policy.edges.iter().map(|(key, node)| (*key, keep_node(*node)));
        let globs = || {
            let globs =
                policy.globs.iter().map(|glob| Glob { node: keep_node(glob.node), ..*glob });
            globs.enumerate().map(|(number, glob)| (number as u32, glob))
        };
        let macs = || policy.group_macs.iter().map(|key| (*key, 1_u32));
        let servers = || policy.servers.iter().map(|(address, bits)| (*address, *bits));
        // In parallel: replacing a map waits for running programs, so that all replacements wait
        // together.
        thread::scope(|scope| {
            let fills = [
                scope.spawn(|| fresh.trie("CLIENTS4", &policy.clients4, keep_client)),
                scope.spawn(|| fresh.trie("CLIENTS6", &policy.clients6, keep_client)),
                scope.spawn(|| fresh.trie("NETS4", &policy.nets4, |rules| rules & keep)),
                scope.spawn(|| fresh.trie("NETS6", &policy.nets6, |rules| rules & keep)),
                scope.spawn(|| fresh.trie("ANSWER_ACL4", &policy.answers4, |answer| answer)),
                scope.spawn(|| fresh.trie("ANSWER_ACL6", &policy.answers6, |answer| answer)),
                scope.spawn(|| fresh.array("PORTS", ports())),
                scope.spawn(|| fresh.hash("EDGES", edges())),
                scope.spawn(|| fresh.hash("GLOBS", globs())),
                scope.spawn(|| fresh.hash("SERVERS", servers())),
                scope.spawn(|| fresh.hash("GROUP_MACS", macs())),
            ];
            fills
                .map(|fill| fill.join().unwrap_or_else(|panic| resume_unwind(panic)))
                .into_iter()
                .collect::<Result<()>>()
        })?;
        let settings = Settings {
            root: keep_node(policy.settings.root),
            warm_up_rules: policy.settings.warm_up_rules & keep,
            limit_sets: pins.limit_sets()?,
            ..policy.settings
        };
        let classes = policy.port_classes.iter().map(|rules| *rules & keep);
        fill_slot(&pins, "PORT_CLASSES", slot, PORT_CLASSES, classes)?;
        let open = gateway_ports(slot, &policy.gateway_ports);
        fill_slot(&pins, "GATEWAY_PORTS", slot, GATEWAY_WORDS / 2, open.into_iter())?;
        check_sources(&pins, slot, &policy.source_checks)?;
        pins.map::<Array<MapData, Settings>>("SETTINGS")?.set(slot, settings, 0)?;

        self.count_hosts()?;
        self.set_infos("GROUP_TITLES", &policy.group_titles(), |_| true)?;
        active_map.set(0, active, 0).context("cannot put the policy into force")?;
        self.wait_for_programs()?;
        // Programs have counted under the policy before until now.
        counters.carry(slot, policy, &counters.totals(slot ^ 1, &groups)?)?;
        Ok(active.generation)
    }

    /// Writes elements of `RULE_TITLES` or `GROUP_TITLES`, those that `which` picks by their number.
    ///
    /// # Errors
    /// The map cannot be written.
    pub fn set_infos(&self, map: &str, infos: &[Title], which: impl Fn(u32) -> bool) -> Result<()> {
        let mut array: Array<MapData, Title> = self.pins().map(map)?;
        for (number, info) in (0..array.len()).zip(infos).filter(|(number, _)| which(*number)) {
            array.set(number, *info, 0).with_context(|| format!("cannot write {map}"))?;
        }
        Ok(())
    }
}

/// Makes these the senders that each zone lets pass, in the set that is not in force.
fn check_sources(pins: &Pins, slot: u32, zones: &[(u32, u32)]) -> Result<()> {
    let zones = zones.iter().filter(|(zone, _)| (*zone as usize) < ZONE_ELEMENTS);
    let checks = zones.map(|(zone, passes)| (source_check(slot, *zone), *passes));
    set_elements(pins, "SOURCE_CHECKS", checks)
}

/// Returns the words of `GATEWAY_PORTS` in a slot that has exactly these ports open.
fn gateway_ports(slot: u32, ports: &[u32]) -> Vec<u64> {
    let (first, _) = gateway_port(slot, 0);
    let mut words = vec![0_u64; GATEWAY_WORDS as usize / 2];
    for port in ports {
        let (word, bit) = gateway_port(slot, *port);
        if let Some(word) = words.get_mut((word - first) as usize) {
            *word |= bit;
        }
    }
    words
}

/// Puts values into the slot that is not in force, of an array with `room` elements for each; those
/// that are left over are zero.
fn fill_slot<V: Pod + Default + PartialEq>(
    pins: &Pins,
    name: &str,
    slot: u32,
    room: u32,
    values: impl Iterator<Item = V>,
) -> Result<()> {
    let values = values.chain(iter::repeat_with(V::default));
    set_elements(pins, name, (slot * room..(slot + 1) * room).zip(values))
}

impl Fresh<'_> {
    fn trie<K: Pod, V: Pod>(
        &self,
        name: &str,
        prefixes: &[Prefix<K, V>],
        value: impl Fn(V) -> V,
    ) -> Result<()> {
        self.fill(name, Some(prefixes.len()), |map| {
            let mut trie = LpmTrie::<&mut MapData, K, V>::try_from(map)?;
            prefixes.iter().try_for_each(|prefix| {
                trie.insert(&Key::new(prefix.length, prefix.key), value(prefix.value), 0)
            })
        })
    }

    fn hash<K: Pod, V: Pod>(
        &self,
        name: &str,
        elements: impl ExactSizeIterator<Item = (K, V)>,
    ) -> Result<()> {
        self.fill(name, Some(elements.len()), |map| {
            let mut hash = HashMap::<&mut MapData, K, V>::try_from(map)?;
            elements.into_iter().try_for_each(|(key, value)| hash.insert(key, value, 0))
        })
    }

    /// Elements of a new array are zero: only the others are written.
    fn array<V: Pod + Default + PartialEq>(
        &self,
        name: &str,
        values: impl Iterator<Item = V>,
    ) -> Result<()> {
        self.fill(name, None, |map| {
            let mut array = Array::<&mut MapData, V>::try_from(map)?;
            (0_u32..)
                .zip(values)
                .filter(|(_, value)| *value != V::default())
                .try_for_each(|(index, value)| array.set(index, value, 0))
        })
    }

    /// Creates an inner map as the object defines it, with room for `elements` if its size is free,
    /// fills it, and puts it into the slot that is not in force.
    fn fill(
        &self,
        name: &str,
        elements: Option<usize>,
        fill: impl FnOnce(&mut Map) -> Result<(), MapError>,
    ) -> Result<()> {
        let definition = inner_definition(self.maps, name)?;
        let room = match elements {
            Some(elements) => u32::try_from(elements.max(1)).context("too many elements")?,
            None => definition.room,
        };
        let template = aya_obj::Map::new_from_params(
            definition.kind,
            definition.key,
            definition.value,
            room,
            definition.flags,
        );
        let data = MapData::create(template, name, None)
            .with_context(|| format!("cannot make a map for {name}"))?;
        let inner = MapData::from_fd(data.fd().as_fd().try_clone_to_owned()?)?;
        fill(&mut Map::from_map_data(data)?).with_context(|| format!("cannot fill {name}"))?;
        self.outer(name)?
            .set(self.slot, &inner, 0)
            .with_context(|| format!("cannot put a new map into {name}"))
    }

    fn outer(&self, name: &str) -> Result<ArrayOfMaps<MapData>> {
        self.pins.map(name)
    }
}
