//! The BPF object. On the host it is an empty program, so that the workspace builds as a whole.
#![cfg_attr(target_arch = "bpf", no_std, no_main)]
#![cfg_attr(target_arch = "bpf", feature(asm_experimental_arch))]
#[cfg(target_arch = "bpf")]
mod bpf;
#[cfg(target_arch = "bpf")]
mod object;

#[cfg(not(target_arch = "bpf"))]
fn main() {}
