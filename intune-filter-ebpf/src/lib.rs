//! Kernel-side logic: map layouts, packet and DNS parsing, verdicts.
//!
//! Only the module `bpf` depends on the kernel: everything else also runs on the host, for tests,
//! fuzzing and `explain`.
#![no_std]
#![warn(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::missing_errors_doc,
    clippy::panic,
    clippy::unwrap_used
)]
#![cfg_attr(target_arch = "bpf", feature(asm_experimental_arch))]

#[cfg(not(target_arch = "bpf"))]
extern crate std;

#[cfg_attr(
    feature = "user",
    expect(unsafe_code, reason = "userspace's maps take plain data alone")
)]
pub mod abi;
#[expect(unsafe_code, reason = "the kernel's programs write to the same words")]
pub mod atomic;
#[cfg(all(target_arch = "bpf", feature = "bpf"))]
#[expect(unsafe_code, reason = "maps, contexts and helpers of the kernel's")]
pub mod bpf;
#[cfg_attr(
    target_arch = "bpf",
    expect(unsafe_code, reason = "the kernel calls the body with a pointer")
)]
pub mod bpf_loop;
#[expect(unsafe_code, reason = "loads that the verifier follows")]
pub mod bytes;
#[expect(unsafe_code, reason = "a word that another function has made is taken apart")]
pub mod datapath;
pub mod dns;
#[cfg(not(target_arch = "bpf"))]
#[expect(
    unsafe_code,
    clippy::indexing_slicing,
    reason = "the host's maps hand out what the kernel's do, and a test ends where that fails"
)]
pub mod host;
pub mod maps;
#[expect(unsafe_code, reason = "the verifier has to forget what is in it")]
pub mod memory;
pub mod packet;
pub mod reply;
pub mod reports;
mod result_word;
pub mod routes;
#[expect(unsafe_code, reason = "one run at a time has it")]
pub mod scratch;
#[expect(unsafe_code, reason = "the working memory and the maps' values are behind pointers")]
pub mod verdict;
