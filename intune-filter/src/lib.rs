//! Userspace of intune-filter: catalogue, configuration, policy compiler, daemon and commands.

#![warn(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::missing_errors_doc,
    clippy::panic,
    clippy::unwrap_used
)]

mod boot_guard;
pub mod catalogue;
pub mod cli;
pub mod config;
pub mod control;
pub mod daemon;
mod dns_tcp;
pub mod events;
pub mod kernel;
mod metrics;
pub mod names;
pub mod pattern;
pub mod policy;
pub mod ports;
pub mod report;
pub mod system;
pub mod yaml;

/// The BPF object, aligned as the ELF parser needs it.
pub static OBJECT: &[u8] =
    aya::include_bytes_aligned!(concat!(env!("OUT_DIR"), "/intune-filter-bpf"));

/// The same without the lines that its instructions come from, which take most of the time that
/// reading it takes: for what maps it has.
static MAPS: &[u8] = aya::include_bytes_aligned!(concat!(env!("OUT_DIR"), "/intune-filter-maps"));
