//! Programs that each do one thing that the filter does with a packet, by its own code and in its
//! own maps, in an object of their own. On the host it is an empty program, so that the workspace
//! builds as a whole.
#![cfg_attr(target_arch = "bpf", no_std, no_main)]
#![cfg_attr(target_arch = "bpf", feature(asm_experimental_arch))]
#[cfg(target_arch = "bpf")]
#[path = "../bpf/atomic.rs"]
mod atomic;
#[cfg(target_arch = "bpf")]
#[path = "../bpf/family.rs"]
mod family;
#[cfg(target_arch = "bpf")]
#[path = "../bpf/frame.rs"]
#[expect(dead_code, reason = "nothing is measured at TC")]
mod frame;
#[cfg(target_arch = "bpf")]
#[path = "../bpf/hosts.rs"]
#[expect(dead_code, reason = "nothing is amended")]
mod hosts;
#[cfg(target_arch = "bpf")]
#[path = "../bpf/kept.rs"]
mod kept;
#[cfg(target_arch = "bpf")]
#[path = "../bpf/kernel.rs"]
mod kernel;
#[cfg(target_arch = "bpf")]
#[path = "../bpf/maps.rs"]
mod maps;
#[cfg(target_arch = "bpf")]
#[path = "../object.rs"]
mod object;
#[cfg(target_arch = "bpf")]
mod operations;
#[cfg(target_arch = "bpf")]
#[path = "../bpf/outline.rs"]
mod outline;
#[cfg(target_arch = "bpf")]
mod programs;
#[cfg(target_arch = "bpf")]
#[path = "../bpf/report.rs"]
mod report;
#[cfg(target_arch = "bpf")]
#[path = "../bpf/route.rs"]
mod route;

#[cfg(not(target_arch = "bpf"))]
fn main() {}
