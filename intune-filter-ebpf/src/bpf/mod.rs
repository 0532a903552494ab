//! Platform of the programs of a BPF object: the kernel's maps and helpers behind the traits of the
//! logic, frames at XDP and at TC, and replies to denied frames.
//!
//! An object has every map and every global function of this module, whatever its programs use: the
//! feature `bpf` keeps them out of objects that have maps of their own.

pub mod amend;
mod atomic;
mod calls;
mod datapath;
mod family;
mod flow_fns;
pub mod frame;
mod global_fns;
mod hosts;
mod kept;
pub mod kernel;
mod maps;
pub mod reply;
mod report;
mod route;
mod rule_fns;
pub mod stages;
mod zone_fns;

pub use maps::{NEW_FLOWS4, NEW_FLOWS6};
