//! Changes the tables of learned addresses, and keeps their queues in order.
//!
//! The kernel refreshes the same elements meanwhile. Rules and time that answers have added since
//! an element was read are never taken from it: see [`super::amend`].

use std::{collections::HashSet, hash::Hash, net::IpAddr};

use anyhow::{Context as _, Result, bail};
use aya::{
    Pod,
    maps::{Array, ArrayOfMaps, HashMap, MapData, MapError, Queue},
};
use aya_obj::generated::BPF_EXIST;
use intune_filter_ebpf::abi::{Active, Host, RuleMask, V4, V6};

use super::{Kernel, amend::Amended, pins::found_or_none};

/// Table of learned addresses, and the queue of its addresses.
const HOSTS4: [&str; 2] = ["HOSTS4", "HOSTS_ORDER4"];
const HOSTS6: [&str; 2] = ["HOSTS6", "HOSTS_ORDER6"];

/// Waits for running programs before giving up on an address that they keep refreshing.
const ROUNDS: usize = 100;

/// Versions of an address before and after a refresh. Before: 0 if the address was absent. After: 0
/// if others refreshed it at the same time.
pub type Refreshed = (u64, u64);

/// Tables of learned addresses, opened for many lookups.
pub struct HostTables {
    v4: HashMap<MapData, V4, Host>,
    v6: HashMap<MapData, V6, Host>,
}

impl HostTables {
    /// What is known of an address.
    ///
    /// # Errors
    /// The map cannot be read.
    pub fn get(&self, address: IpAddr) -> Result<Option<Host>> {
        found_or_none(match address {
            IpAddr::V4(v4) => self.v4.get(&v4.into(), 0),
            IpAddr::V6(v6) => self.v6.get(&v6.into(), 0),
        })
    }
}

impl Kernel {
    /// Opens the tables.
    ///
    /// # Errors
    /// A map is not there.
    pub fn host_tables(&self) -> Result<HostTables> {
        let pins = self.pins();
        Ok(HostTables { v4: pins.map(HOSTS4[0])?, v6: pins.map(HOSTS6[0])? })
    }

    /// Waits until no program runs that began before now: whatever it has written is there, and
    /// whatever it reports is in the ring.
    ///
    /// # Errors
    /// The map that is written for it cannot be.
    pub fn wait_for_programs(&self) -> Result<()> {
        // The kernel waits for programs whenever an inner map is replaced, here by itself.
        let pins = self.pins();
        let active = pins.map::<Array<MapData, Active>>("ACTIVE")?.get(&0, 0)?;
        let slot = active.generation & 1;
        let mut outer: ArrayOfMaps<MapData> = pins.map("SERVERS")?;
        let inner = outer.get(&slot, 0)?;
        outer.set(slot, &inner, 0).context("cannot wait for running programs")
    }

    /// Takes rules away from every learned address.
    ///
    /// # Errors
    /// A map cannot be read or written.
    pub fn take_from_hosts(&self, mask: RuleMask) -> Result<()> {
        if mask.is_empty() {
            return Ok(());
        }
        for (address, host) in self.pins().hosts()? {
            if host.rules.intersects(&mask) {
                self.take_from_host(address, !mask)?;
            }
        }
        Ok(())
    }

    /// Takes all rules but these away from an address, whatever happens to it meanwhile.
    fn take_from_host(&self, address: IpAddr, rules: RuleMask) -> Result<()> {
        for _ in 0..ROUNDS {
            if self.narrow_host(address, 0, rules, u64::MAX)?.is_some() {
                return Ok(());
            }
            self.wait_for_programs()?;
        }
        bail!("answers keep {address} busy, it has rules that are gone")
    }

    /// Takes all rules but `rules` away from an address, and has it expire at `until` at the
    /// latest; only while it has the `expected` version, unless that is 0. One that has no rules
    /// left is removed. Returns what is left of it; `None` if it was refreshed since, and nothing
    /// was done.
    ///
    /// # Errors
    /// The kernel's program does not run.
    pub fn narrow_host(
        &self,
        address: IpAddr,
        expected: u64,
        rules: RuleMask,
        until: u64,
    ) -> Result<Option<Host>> {
        let amender = self.amender()?;
        match amender.narrow(address, expected, rules, until)? {
            Amended::Done { host, .. } if host.rules.is_empty() => {
                // Without rules it is worth nothing. With the time zero, it goes unless an answer
                // has prolonged it meanwhile.
                if matches!(
                    amender.narrow(address, host.version, RuleMask::EMPTY, 0)?,
                    Amended::Done { .. }
                ) {
                    amender.remove(address, 1)?;
                }
                Ok(Some(host))
            }
            Amended::Done { host, .. } => Ok(Some(host)),
            // An absent address has nothing to lose.
            Amended::Absent => Ok(Some(Host::default())),
            _ => Ok(None),
        }
    }

    /// Sees to it that an address has rules until a time, at least. One that is not there, and for
    /// which there is no room, stays away, as it does where the kernel learns it. Returns its
    /// versions if it was refreshed for that.
    ///
    /// # Errors
    /// A map cannot be read, or the kernel's program does not run.
    pub fn ensure_host(
        &self,
        address: IpAddr,
        rules: RuleMask,
        expires: u64,
    ) -> Result<Option<Refreshed>> {
        let known = self.pins().host(address)?;
        if known.is_some_and(|host| host.rules & rules == rules && host.expires >= expires) {
            return Ok(None);
        }
        self.refresh_host(address, rules, expires)
    }

    /// Adds rules to an address and prolongs it, for the gateway itself. `None` if there is no room.
    ///
    /// # Errors
    /// The kernel's program does not run.
    pub fn refresh_host(
        &self,
        address: IpAddr,
        rules: RuleMask,
        expires: u64,
    ) -> Result<Option<Refreshed>> {
        self.refresh_host_of(address, rules, expires, 0)
    }

    /// Adds rules to an address and prolongs it, as an answer to an owner's question does. `None` if
    /// there is no room, or not for the owner.
    ///
    /// # Errors
    /// The kernel's program does not run.
    pub fn refresh_host_of(
        &self,
        address: IpAddr,
        rules: RuleMask,
        expires: u64,
        owner: u64,
    ) -> Result<Option<Refreshed>> {
        match self.amender()?.refresh(address, rules, expires, owner)? {
            Amended::Done { before, host } => Ok(Some((before, host.version))),
            _ => {
                log::debug!("no room for an address that was to be kept");
                Ok(None)
            }
        }
    }

    /// Removes addresses that expired before `before`, or, from a map that is three quarters
    /// full, before `crowded`. Returns how many were removed.
    ///
    /// # Errors
    /// A map cannot be read, or the kernel's program does not run.
    pub fn remove_expired_hosts(&self, before: u64, crowded: u64) -> Result<usize> {
        Ok(self.remove_expired::<V4>("HOSTS4", before, crowded, |key| IpAddr::V4(key.into()))?
            + self.remove_expired::<V6>("HOSTS6", before, crowded, |key| IpAddr::V6(key.into()))?)
    }

    fn remove_expired<K: Pod>(
        &self,
        name: &str,
        before: u64,
        crowded: u64,
        address: impl Fn(K) -> IpAddr,
    ) -> Result<usize> {
        let pins = self.pins();
        let amender = self.amender()?;
        let hosts = pins.elements::<K, Host>(name)?;
        let capacity = u64::from(pins.data(name)?.info()?.max_entries());
        let is_crowded = hosts.len() as u64 * 4 >= capacity * 3;
        let before = if is_crowded { crowded.max(before) } else { before };
        let mut removed = 0;
        for (key, host) in hosts {
            if host.expires < before
                && matches!(amender.remove(address(key), before)?, Amended::Done { .. })
            {
                removed += 1;
            }
        }
        Ok(removed)
    }

    /// Brings the queues in which the kernel looks for addresses that make room back in step with
    /// the tables: each address stands there once, that which has expired longest first, and nothing
    /// else does. The kernel looks at a few of them for each that it learns, and those that were
    /// learned first are often those that live longest. Whatever is removed leaves its place in the
    /// queue behind, and what comes back has a second one; a queue that is full of those pushes out
    /// addresses, for which nothing would ever look again.
    ///
    /// # Errors
    /// A map cannot be read or written.
    pub fn reorder_hosts(&self) -> Result<()> {
        self.reorder::<V4>(HOSTS4)?;
        self.reorder::<V6>(HOSTS6)
    }

    fn reorder<K: Pod + Default + Eq + Hash>(&self, [name, order]: [&str; 2]) -> Result<()> {
        let pins = self.pins();
        let map: HashMap<MapData, K, Host> = pins.map(name)?;
        let mut order: Queue<MapData, K> = pins.map(order)?;
        let mut hosts = pins.elements::<K, Host>(name)?;
        hosts.sort_unstable_by_key(|(_, host)| host.expires);
        let known: HashSet<K> = hosts.iter().map(|(key, _)| *key).collect();
        let mut sorted = hosts.into_iter().map(|(key, _)| key);
        let mut young = HashSet::new();
        // One entry is pushed for each that is popped, so that the queue is nearly complete at any
        // time. No name leads to the unspecified address: its return marks the end of the round.
        let mark = K::default();
        order.push(mark, BPF_EXIST.into())?;
        for _ in 0..=2 * u64::from(order.capacity()) {
            match order.pop(0) {
                Err(MapError::ElementNotFound) => break,
                Ok(key) if key == mark => break,
                // Learned since the table was read: the address keeps its entry.
                Ok(key) if !known.contains(&key) && map.get(&key, 0).is_ok() => {
                    young.insert(key);
                }
                Ok(_) => {}
                Err(error) => return Err(error.into()),
            }
            sorted.next().map_or(Ok(()), |key| order.push(key, BPF_EXIST.into()))?;
        }
        for key in sorted.chain(young) {
            order.push(key, BPF_EXIST.into())?;
        }
        Ok(())
    }
}
