//! The kernel's tables, as far as taking in a report reads and writes them.

use std::net::IpAddr;

use anyhow::Result;
use intune_filter_ebpf::abi::{FlowKey, Pending, PendingKey, RuleMask, StreamRead, V6};

use crate::kernel::{Kernel, Refreshed};

/// Learned addresses, recorded queries, and streams of answers.
pub(crate) trait Tables {
    /// Gives an address rules until a time, on an owner's account; its versions, if there was room.
    fn refresh_host(
        &self,
        address: IpAddr,
        rules: RuleMask,
        expires: u64,
        owner: u64,
    ) -> Result<Option<Refreshed>>;

    /// The same unless the address has the rules until then; its versions, if it had not.
    fn ensure_host(
        &self,
        address: IpAddr,
        rules: RuleMask,
        expires: u64,
    ) -> Result<Option<Refreshed>>;

    /// A recorded query.
    fn pending(&self, key: &PendingKey) -> Result<Option<Pending>>;

    /// Notes the answers to a query: further ones teach nothing.
    fn answer(&self, key: &PendingKey, pending: &Pending) -> Result<()>;

    /// Lets the segments of a stream pass that were read, and counts the queries that they answer.
    fn release(&self, key: &FlowKey<V6>, read: StreamRead, answered: u32) -> Result<()>;

    /// The key of the questions' hashes.
    fn question_seed(&self) -> Result<u64>;
}

impl Tables for Kernel {
    fn refresh_host(
        &self,
        address: IpAddr,
        rules: RuleMask,
        expires: u64,
        owner: u64,
    ) -> Result<Option<Refreshed>> {
        self.refresh_host_of(address, rules, expires, owner)
    }

    fn ensure_host(
        &self,
        address: IpAddr,
        rules: RuleMask,
        expires: u64,
    ) -> Result<Option<Refreshed>> {
        self.ensure_host(address, rules, expires)
    }

    fn pending(&self, key: &PendingKey) -> Result<Option<Pending>> {
        self.pending(key)
    }

    fn answer(&self, key: &PendingKey, pending: &Pending) -> Result<()> {
        self.answer(key, pending)
    }

    fn release(&self, key: &FlowKey<V6>, read: StreamRead, answered: u32) -> Result<()> {
        self.release(key, read, answered)
    }

    fn question_seed(&self) -> Result<u64> {
        Ok(self.pins().active()?.seed)
    }
}
