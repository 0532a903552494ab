//! Programs that the benchmarks measure the filter against, in an object of their own. On the host
//! it is an empty program, so that the workspace builds as a whole.
#![cfg_attr(target_arch = "bpf", no_std, no_main)]
#[cfg(target_arch = "bpf")]
mod floor;
#[cfg(target_arch = "bpf")]
#[path = "../object.rs"]
mod object;
#[cfg(target_arch = "bpf")]
mod rotate;
#[cfg(target_arch = "bpf")]
mod traffic;

#[cfg(not(target_arch = "bpf"))]
fn main() {}
