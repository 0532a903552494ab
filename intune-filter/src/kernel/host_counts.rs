//! Sets the counts of learned addresses by what the tables hold.
//!
//! The programs keep the counts. They are set anew when a policy is put into force, which tells the
//! tables' room, and from time to time, so that no difference lasts.

use std::collections::BTreeMap;

use anyhow::Result;
use aya::Pod;
use intune_filter_ebpf::abi::{
    COUNT_ALL, COUNT_ROOM, HOST_COUNTS, Host, V4, V6, count_of_client, count_of_rule, host_count,
};

use super::{Kernel, Pins, array::set_elements};

impl Kernel {
    /// Counts the learned addresses.
    ///
    /// # Errors
    /// A map cannot be read or written.
    pub fn count_hosts(&self) -> Result<()> {
        let pins = self.pins();
        let mut counts = counts_of::<V4>(&pins, "HOSTS4", 0)?;
        counts.extend(counts_of::<V6>(&pins, "HOSTS6", 1)?);
        let count = |index| (index, counts.get(&index).copied().unwrap_or_default());
        set_elements(&pins, "HOST_COUNTS", (0..HOST_COUNTS).map(count))
    }
}

/// Returns the counts of one table above zero, by their indices in `HOST_COUNTS`.
fn counts_of<K: Pod>(pins: &Pins, name: &str, table: u64) -> Result<BTreeMap<u32, u64>> {
    let room = u64::from(pins.data(name)?.info()?.max_entries());
    let mut counts = BTreeMap::from([(host_count(table, COUNT_ROOM), room)]);
    for (_, host) in pins.elements::<K, Host>(name)? {
        for element in [COUNT_ALL, count_of_rule(host.owner), count_of_client(host.owner)] {
            *counts.entry(host_count(table, element)).or_default() += 1;
        }
    }
    Ok(counts)
}
