//! Programs that each do one operation of the filter on a packet, by the filter's own code and in its
//! own maps.
#![expect(unsafe_code, reason = "maps, contexts and helpers of the kernel's")]
#![no_std]
#![no_main]

mod operations;
mod programs;

// The panic handler and the licence.
use intune_filter_bench_ebpf as _;
