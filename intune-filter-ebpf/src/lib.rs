//! What runs in the kernel: map layouts, packet and DNS logic, verdicts. Nothing here depends on
//! the kernel, so that the same code is tested, fuzzed and used for `explain` on the host.
#![no_std]

pub mod abi;
