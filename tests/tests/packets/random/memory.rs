//! Memory of the kernel's maps and of the host's tables, in one form: without times, but for those
//! at which addresses expire.

use std::{collections::BTreeMap, fmt::Debug};

use anyhow::Result;
use aya::Pod;
use intune_filter_ebpf::{
    abi::{
        Address, Flow, FlowKey, FragmentKey, FragmentVerdict, Host, Pending, PendingKey, Stream,
        V4, V6,
    },
    host::Tables,
};
use intune_filter_tests::prog_test_run::LoadedFilter;

/// Longest time between the judgements of one frame.
const APART: u64 = 10_000_000_000;

/// Elements of maps or tables.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Memory {
    /// By map and key.
    elements: BTreeMap<String, String>,
    /// Of learned addresses.
    expiries: BTreeMap<String, u64>,
}

impl Memory {
    /// Elements of the kernel's maps.
    pub fn of_kernel(filter: &LoadedFilter) -> Result<Self> {
        fn read<K: Pod, V: Pod>(filter: &LoadedFilter, names: &[&str]) -> Result<Vec<(K, V)>> {
            let mut all = Vec::new();
            for name in names {
                all.extend(filter.pins().elements::<K, V>(name)?);
            }
            Ok(all)
        }
        let mut memory = Self::default();
        memory.add_hosts(read::<V4, Host>(filter, &["HOSTS4"])?);
        memory.add_hosts(read::<V6, Host>(filter, &["HOSTS6"])?);
        memory.add_flows("answered", read::<FlowKey<V4>, Flow>(filter, &["FLOWS4"])?);
        memory.add_flows("answered", read::<FlowKey<V6>, Flow>(filter, &["FLOWS6"])?);
        memory.add_flows("new", read::<FlowKey<V4>, Flow>(filter, &["NEW_FLOWS4"])?);
        memory.add_flows("new", read::<FlowKey<V6>, Flow>(filter, &["NEW_FLOWS6"])?);
        memory.add_queries(read(filter, &["DNS_PENDING"])?);
        memory.add_streams(read(filter, &["STREAMS"])?);
        memory.add_fragments(read(filter, &["FRAGMENTS"])?);
        Ok(memory)
    }

    /// Elements of the host's tables.
    pub fn of_host(tables: &Tables) -> Self {
        fn all<K: Copy, V: Copy>(
            map: &std::cell::RefCell<std::collections::HashMap<K, V>>,
        ) -> Vec<(K, V)> {
            map.borrow().iter().map(|(key, value)| (*key, *value)).collect()
        }
        let mut memory = Self::default();
        memory.add_hosts(all(&tables.hosts4));
        memory.add_hosts(all(&tables.hosts6));
        memory.add_flows("answered", all(&tables.flows4));
        memory.add_flows("answered", all(&tables.flows6));
        memory.add_flows("new", all(&tables.new_flows4));
        memory.add_flows("new", all(&tables.new_flows6));
        memory.add_queries(all(&tables.pending));
        memory.add_streams(all(&tables.streams));
        memory.add_fragments(all(&tables.fragments));
        memory
    }

    /// Differences between the two.
    pub fn difference(&self, other: &Self) -> Option<String> {
        let differs = |(key, value): (&String, &String)| {
            let there = other.elements.get(key);
            (there != Some(value)).then(|| format!("{key}: {value} is {there:?}"))
        };
        if let Some(difference) = self.elements.iter().find_map(differs) {
            return Some(difference);
        }
        if let Some(key) = other.elements.keys().find(|key| !self.elements.contains_key(*key)) {
            return Some(format!("{key} is there alone"));
        }
        self.expiries.iter().find_map(|(key, expiry)| {
            let there = other.expiries.get(key).copied().unwrap_or_default();
            (expiry.abs_diff(there) > APART).then(|| format!("{key} expires {expiry} and {there}"))
        })
    }

    /// Number of elements.
    pub fn len(&self) -> usize {
        self.elements.len()
    }

    fn add(&mut self, map: &str, key: impl Debug, value: impl Debug) {
        self.elements.insert(format!("{map} {key:?}"), format!("{value:?}"));
    }

    fn add_hosts<A: Address + Debug>(&mut self, hosts: Vec<(A, Host)>) {
        for (address, host) in hosts {
            self.add("host", address, host.rules);
            self.expiries.insert(format!("{address:?}"), host.expires);
        }
    }

    fn add_flows<A: Debug>(&mut self, map: &str, flows: Vec<(FlowKey<A>, Flow)>) {
        for (key, flow) in flows {
            self.add(map, key, Flow { opened: 0, last_seen: 0, ..flow });
        }
    }

    fn add_queries(&mut self, queries: Vec<(PendingKey, Pending)>) {
        for (key, query) in queries {
            self.add("query", key, Pending { asked: 0, ..query });
        }
    }

    fn add_streams(&mut self, streams: Vec<(FlowKey<V6>, Stream)>) {
        for (key, stream) in streams {
            let punted = u64::from(stream.punted != 0);
            self.add("stream", key, Stream { opened: 0, last_seen: 0, punted, ..stream });
        }
    }

    fn add_fragments(&mut self, fragments: Vec<(FragmentKey, FragmentVerdict)>) {
        for (key, verdict) in fragments {
            self.add("datagram", key, FragmentVerdict { seen: 0, ..verdict });
        }
    }
}
