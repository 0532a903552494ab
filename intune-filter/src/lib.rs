//! Provides the userspace of intune-filter: catalogue, configuration, policy compiler, daemon and
//! commands.

#![cfg_attr(not(test), warn(unreachable_pub))]
#![warn(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::missing_errors_doc,
    clippy::panic,
    clippy::unwrap_used
)]

pub mod attacks;
mod boot_guard;
mod capture;
pub mod catalogue;
pub mod cli;
pub mod config;
pub mod control;
pub mod daemon;
mod dns_tcp;
pub mod events;
pub mod export;
pub mod import;
pub mod kernel;
mod metrics;
pub mod names;
mod nearest;
pub mod pattern;
pub mod policy;
pub mod ports;
pub mod report;
pub mod simulation;
pub mod system;
mod yaml;

/// BPF object, aligned for the ELF parser.
pub static OBJECT: &[u8] =
    aya::include_bytes_aligned!(concat!(env!("OUT_DIR"), "/intune-filter-bpf"));

/// BPF object without line information, which takes most of the time of parsing; for the
/// definitions of its maps.
static MAPS: &[u8] = aya::include_bytes_aligned!(concat!(env!("OUT_DIR"), "/intune-filter-maps"));
