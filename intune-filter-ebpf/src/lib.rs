//! What runs in the kernel: map layouts, packet and DNS logic, verdicts. Nothing here depends on
//! the kernel, so that the same code is tested, fuzzed and used for `explain` on the host.
#![no_std]
#![cfg_attr(target_arch = "bpf", feature(asm_experimental_arch))]

pub mod abi;
pub mod bytes;
pub mod dns;
pub mod packet;
pub mod verdict;
pub mod world;
