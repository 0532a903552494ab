//! Kernel-side logic: map layouts, packet and DNS parsing, verdicts. Nothing here depends on
//! the kernel, so that the same code is tested, fuzzed and used for `explain` on the host.
#![no_std]
#![cfg_attr(target_arch = "bpf", feature(asm_experimental_arch))]

#[cfg(not(target_arch = "bpf"))]
extern crate std;

pub mod abi;
pub mod atomic;
#[cfg(all(target_arch = "bpf", feature = "bpf"))]
pub mod bpf;
pub mod bpf_loop;
pub mod bytes;
pub mod datapath;
pub mod dns;
#[cfg(not(target_arch = "bpf"))]
pub mod host;
pub mod maps;
pub mod memory;
pub mod packet;
pub mod reply;
mod result_word;
pub mod scratch;
pub mod verdict;
