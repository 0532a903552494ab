//! What the programs of a BPF object run on: the kernel's maps and helpers behind the traits of the
//! logic, frames at XDP and at TC, and answers to denied frames.
//!
//! An object has every map and every global function of this module, whatever its programs use: the
//! feature `bpf` keeps them out of objects that have maps of their own.

pub mod amend;
pub mod answer;
mod atomic;
mod datapath;
mod family;
pub mod frame;
mod hosts;
mod kept;
pub mod kernel;
mod maps;
mod outline;
pub mod refuse;
pub mod reject;
mod report;
mod rewrite;
mod route;
pub mod stages;
pub mod ticket;

pub use maps::{NEW_FLOWS4, NEW_FLOWS6};
