//! Records DNS over TCP that userspace has read in the kernel's maps: consumed queries and released
//! streams.

use anyhow::Result;
use aya::maps::{HashMap, MapData};
use intune_filter_ebpf::abi::{FlowKey, Pending, PendingKey, StreamRead, V6};

use super::{Kernel, pins::found_or_none};

/// Number of answered queries of a stream that exceeds any number of queries, so that no query
/// awaits an answer.
pub const NO_MORE: u32 = 1 << 30;

impl Kernel {
    /// A recorded query.
    ///
    /// # Errors
    /// The map cannot be read.
    pub fn pending(&self, key: &PendingKey) -> Result<Option<Pending>> {
        let map: HashMap<MapData, PendingKey, Pending> = self.pins().map("DNS_PENDING")?;
        found_or_none(map.get(key, 0))
    }

    /// Notes the answers to a query: further ones teach nothing.
    ///
    /// # Errors
    /// The map cannot be written.
    pub fn answer(&self, key: &PendingKey, pending: &Pending) -> Result<()> {
        let mut map: HashMap<MapData, PendingKey, Pending> = self.pins().map("DNS_PENDING")?;
        Ok(map.insert(key, pending, 0)?)
    }

    /// Lets the segments of a stream pass that were read, and counts the queries that they answer.
    ///
    /// # Errors
    /// The map cannot be read or written.
    pub fn release(&self, key: &FlowKey<V6>, read: StreamRead, answered: u32) -> Result<()> {
        let mut map: HashMap<MapData, FlowKey<V6>, StreamRead> = self.pins().map("STREAMS_READ")?;
        let before = found_or_none(map.get(key, 0))?.filter(|before| before.opened == read.opened);
        let before = before.map_or(0, |before| before.answered);
        let read = StreamRead { answered: before.saturating_add(answered).min(NO_MORE), ..read };
        Ok(map.insert(key, read, 0)?)
    }
}
