//! Layouts of maps that the benchmarks share with their programs in the kernel.
#![no_std]
#![expect(
    unsafe_code,
    reason = "userspace's maps take plain data, and the kernel's loader sections by name"
)]

#[cfg(test)]
extern crate std;

mod cycle;
#[cfg(target_arch = "bpf")]
mod object;
mod send;

pub use cycle::FlowCycle;
pub use send::{Frame, SendPlan};

/// Asserts the size of a layout, and that it has no padding: the sizes of its fields add up.
macro_rules! layout {
    ($type:ty, $size:expr, $($field:ty),+ $(,)?) => {
        const _: () = {
            assert!(size_of::<$type>() == $size);
            assert!(0 $(+ size_of::<$field>())+ == $size);
        };
        #[cfg(not(target_arch = "bpf"))]
        // SAFETY: repr(C), every bit pattern is valid, and the assertion above leaves no padding.
        unsafe impl aya::Pod for $type {}
    };
}
use layout;
