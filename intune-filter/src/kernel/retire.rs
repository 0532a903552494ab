//! Taking back what learned addresses and flows have of rules that are gone or were narrowed.
//!
//! The kernel writes into the same elements while this reads and writes them: what it adds to an
//! element in between is lost. Whoever calls this then asserts again what the kernel has reported
//! since: see [`Kernel::assert_host`].

use std::{collections::HashSet, hash::Hash, net::IpAddr, os::fd::AsFd as _, sync::PoisonError};

use anyhow::{Context as _, Result};
use aya::{
    Pod,
    maps::{HashMap, MapData, MapError, Queue},
};
use aya_obj::generated::BPF_EXIST;
use intune_filter_ebpf::abi::{Address, Flow, FlowKey, Host, V4, V6, flow_flags};

use super::{Kernel, flows::wide, pins::found_or_none, syscall};

/// The flow maps, by address family.
const FLOWS4: [&str; 2] = ["FLOWS4", "NEW_FLOWS4"];
const FLOWS6: [&str; 2] = ["FLOWS6", "NEW_FLOWS6"];

/// The tables of learned addresses, each with the queue of its addresses.
const HOSTS4: [&str; 2] = ["HOSTS4", "HOSTS_ORDER4"];
const HOSTS6: [&str; 2] = ["HOSTS6", "HOSTS_ORDER6"];

/// Flows without a rule of their own.
const UNRULED: u8 = flow_flags::UNRULED | flow_flags::AUDITED | flow_flags::INBOUND;

impl Kernel {
    /// Takes rules away from every learned address, and ends the flows that they opened.
    pub fn clear_rules(&self, mask: u64) -> Result<()> {
        if mask == 0 {
            return Ok(());
        }
        self.change_hosts(|_, host| Host { rules: host.rules & !mask, ..*host })?;
        let ruled = |flow: &Flow| {
            flow.flags & UNRULED == 0
                && 1_u64.checked_shl(flow.rule.into()).unwrap_or(0) & mask != 0
        };
        self.end_flows(|_, flow| ruled(flow))
    }

    /// Takes rules of `mask` away from the learned addresses that no name vouches for any more, and
    /// makes the others live no longer than their names: `vouched` tells the rules of an address's
    /// names, and when the last of these expires.
    pub fn narrow_rules(&self, mask: u64, vouched: impl Fn(IpAddr) -> (u64, u64)) -> Result<()> {
        if mask == 0 {
            return Ok(());
        }
        self.change_hosts(|address, host| {
            if host.rules & mask == 0 {
                return *host;
            }
            let (by_names, until) = vouched(address);
            let rules = host.rules & (!mask | by_names);
            // Of rules that no known name has given, it is not known until when they were.
            let expires =
                if rules & !by_names == 0 { host.expires.min(until) } else { host.expires };
            Host { rules, expires }
        })
    }

    /// Ends the flows of zones.
    pub fn end_flows_of_zones(&self, zones: &[u32]) -> Result<()> {
        if zones.is_empty() {
            return Ok(());
        }
        self.end_flows(|zone, _| zones.contains(&u32::from(zone)))
    }

    /// Sees to it that an address has rules until a time, at least. One that is not there, and for
    /// which there is no room, stays away, as it does where the kernel learns it.
    pub fn assert_host(&self, address: IpAddr, rules: u64, expires: u64) -> Result<()> {
        match address {
            IpAddr::V4(v4) => self.assert_in(HOSTS4, V4::from(v4), rules, expires),
            IpAddr::V6(v6) => self.assert_in(HOSTS6, V6::from(v6), rules, expires),
        }
    }

    /// Removes addresses that expired before `before`, or, from a map that is three quarters
    /// full, before `crowded`. One that the kernel refreshes meanwhile is put back. Returns how
    /// many were removed.
    pub fn remove_expired_hosts(&self, before: u64, crowded: u64) -> Result<usize> {
        Ok(self.remove_expired::<V4>("HOSTS4", before, crowded)?
            + self.remove_expired::<V6>("HOSTS6", before, crowded)?)
    }

    fn change_hosts(&self, change: impl Fn(IpAddr, &Host) -> Host) -> Result<()> {
        self.change_map::<V4>("HOSTS4", |key, host| change(IpAddr::V4(key.into()), host))?;
        self.change_map::<V6>("HOSTS6", |key, host| change(IpAddr::V6(key.into()), host))
    }

    fn change_map<K: Pod>(&self, name: &str, change: impl Fn(K, &Host) -> Host) -> Result<()> {
        let pins = self.pins();
        let mut map: HashMap<MapData, K, Host> = pins.map(name)?;
        for (key, host) in pins.elements::<K, Host>(name)? {
            if change(key, &host) == host {
                continue;
            }
            // Read again: it may have grown since the batch.
            let Some(host) = found_or_none(map.get(&key, 0))? else { continue };
            let host = change(key, &host);
            if host.rules == 0 {
                // Gone already is as good.
                let _ = map.remove(&key);
            } else {
                map.insert(key, host, 0).with_context(|| format!("cannot change {name}"))?;
            }
        }
        Ok(())
    }

    fn end_flows(&self, ends: impl Fn(u16, &Flow) -> bool) -> Result<()> {
        for name in FLOWS4 {
            self.end_flows_in::<V4>(name, &ends)?;
        }
        for name in FLOWS6 {
            self.end_flows_in::<V6>(name, &ends)?;
        }
        Ok(())
    }

    fn end_flows_in<A: Address>(&self, name: &str, ends: impl Fn(u16, &Flow) -> bool) -> Result<()>
    where
        FlowKey<A>: Pod,
    {
        let pins = self.pins();
        let mut map: HashMap<MapData, FlowKey<A>, Flow> = pins.map(name)?;
        let mut ended = Vec::new();
        for (key, flow) in pins.elements::<FlowKey<A>, Flow>(name)? {
            // Evicted already is as good.
            if ends(key.zone, &flow) && map.remove(&key).is_ok() {
                ended.push((wide(&key), flow));
            }
        }
        self.revoked.lock().unwrap_or_else(PoisonError::into_inner).extend(ended);
        Ok(())
    }

    fn assert_in<K: Pod>(
        &self,
        [name, order]: [&str; 2],
        key: K,
        rules: u64,
        expires: u64,
    ) -> Result<()> {
        let mut map: HashMap<MapData, K, Host> = self.pins().map(name)?;
        let found = found_or_none(map.get(&key, 0))?;
        let host = found.unwrap_or_default();
        if host.rules & rules == rules && host.expires >= expires {
            return Ok(());
        }
        let host = Host { rules: host.rules | rules, expires: host.expires.max(expires) };
        match map.insert(key, host, 0) {
            Err(MapError::SyscallError(error))
                if error.io_error.raw_os_error() == Some(libc::E2BIG) =>
            {
                log::debug!("no room in {name} for an address that was to be kept");
                return Ok(());
            }
            result => result.with_context(|| format!("cannot change {name}"))?,
        }
        if found.is_none() {
            // In its turn, like one that the kernel has learned.
            let mut order: Queue<MapData, K> = self.pins().map(order)?;
            order.push(key, BPF_EXIST.into()).context("cannot queue a learned address")?;
        }
        Ok(())
    }

    /// Brings the queues in which the kernel looks for addresses that make room back in step with
    /// the tables: each address stands there once, and nothing else does. Whatever is removed
    /// leaves its place in the queue behind, and what comes back has a second one; a queue that is
    /// full of those pushes out addresses, for which nothing would ever look again.
    pub fn reorder_hosts(&self) -> Result<()> {
        self.reorder::<V4>(HOSTS4)?;
        self.reorder::<V6>(HOSTS6)
    }

    fn reorder<K: Pod + Default + Eq + Hash>(&self, [name, order]: [&str; 2]) -> Result<()> {
        let pins = self.pins();
        let map: HashMap<MapData, K, Host> = pins.map(name)?;
        let mut order: Queue<MapData, K> = pins.map(order)?;
        let mut unseen: HashSet<K> =
            pins.elements::<K, Host>(name)?.into_iter().map(|(key, _)| key).collect();
        let mut seen = HashSet::new();
        // The queue goes round once, so that hardly anything is missing from it at any time. No
        // name leads to the unspecified address: where that comes round, all was seen.
        let mark = K::default();
        order.push(mark, BPF_EXIST.into())?;
        for _ in 0..=2 * u64::from(order.capacity()) {
            match order.pop(0) {
                Err(MapError::ElementNotFound) => break,
                Ok(key) if key == mark => break,
                // What was learned since is in the table all the same.
                Ok(key)
                    if unseen.remove(&key) || !seen.contains(&key) && map.get(&key, 0).is_ok() =>
                {
                    order.push(key, BPF_EXIST.into())?;
                    seen.insert(key);
                }
                Ok(_) => {}
                Err(error) => return Err(error.into()),
            }
        }
        for key in unseen {
            order.push(key, BPF_EXIST.into())?;
        }
        Ok(())
    }

    fn remove_expired<K: Pod>(&self, name: &str, before: u64, crowded: u64) -> Result<usize> {
        let pins = self.pins();
        let data = pins.data(name)?;
        let mut map: HashMap<MapData, K, Host> = pins.map(name)?;
        let hosts = pins.elements::<K, Host>(name)?;
        let is_crowded = hosts.len() as u64 * 4 >= u64::from(data.info()?.max_entries()) * 3;
        let before = if is_crowded { crowded.max(before) } else { before };
        let mut removed = 0;
        for (key, host) in hosts {
            if host.expires >= before {
                continue;
            }
            let Some(host) = syscall::take_element::<K, Host>(data.fd().as_fd(), &key)? else {
                continue;
            };
            if host.expires >= before {
                // Unless the kernel has put it there anew, with more to say.
                let _ = map.insert(key, host, u64::from(aya_obj::generated::BPF_NOEXIST));
            } else {
                removed += 1;
            }
        }
        Ok(removed)
    }
}
