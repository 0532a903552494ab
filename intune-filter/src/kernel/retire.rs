//! Taking back what learned addresses and flows have of rules that are gone or were narrowed.
//!
//! The kernel writes into the same elements while this reads and writes them: what it adds to an
//! element in between is lost. Whoever calls this then asserts again what the kernel has reported
//! since: see [`Kernel::assert_host`].

use std::{net::IpAddr, os::fd::AsFd as _, sync::PoisonError};

use anyhow::{Context as _, Result};
use aya::{
    Pod,
    maps::{HashMap, MapData},
};
use intune_filter_ebpf::abi::{Address, Flow, FlowKey, Host, V4, V6, flow_flags};

use super::{Kernel, flows::wide, pins::found_or_none, syscall};

/// The flow maps, by address family.
const FLOWS4: [&str; 2] = ["FLOWS4", "NEW_FLOWS4"];
const FLOWS6: [&str; 2] = ["FLOWS6", "NEW_FLOWS6"];

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

    /// Sees to it that an address has rules until a time, at least.
    pub fn assert_host(&self, address: IpAddr, rules: u64, expires: u64) -> Result<()> {
        match address {
            IpAddr::V4(v4) => self.assert_in("HOSTS4", V4::from(v4), rules, expires),
            IpAddr::V6(v6) => self.assert_in("HOSTS6", V6::from(v6), rules, expires),
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

    fn assert_in<K: Pod>(&self, name: &str, key: K, rules: u64, expires: u64) -> Result<()> {
        let mut map: HashMap<MapData, K, Host> = self.pins().map(name)?;
        let host = found_or_none(map.get(&key, 0))?.unwrap_or_default();
        if host.rules & rules == rules && host.expires >= expires {
            return Ok(());
        }
        let host = Host { rules: host.rules | rules, expires: host.expires.max(expires) };
        map.insert(key, host, 0).with_context(|| format!("cannot change {name}"))
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
