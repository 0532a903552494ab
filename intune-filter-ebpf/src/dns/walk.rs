//! Loops: `bpf_loop` in the kernel, `for` on the host.

use super::Scratch;
use crate::world::World;

/// One iteration of a loop over the message in the scratch memory.
pub trait Step<W> {
    /// Runs it; true ends the loop.
    fn step(scratch: &Scratch, world: W) -> bool;
}

/// Takes one of the steps that the answer is read with; false if none is left.
#[inline(always)]
pub(super) fn take_step(scratch: &Scratch) -> bool {
    let left = scratch.steps_left.get();
    if left == 0 {
        return false;
    }
    scratch.steps_left.set(left - 1);
    true
}

/// Runs steps until one ends the loop, `most` at most. Returns how many it has run.
#[cfg(not(target_arch = "bpf"))]
pub fn walk<S: Step<W>, W: World>(scratch: &Scratch, world: W, most: u32) -> u64 {
    for done in 1..=most {
        if S::step(scratch, world) {
            return done.into();
        }
    }
    most.into()
}

/// What a callback gets: `bpf_loop` wants a pointer to the stack.
#[cfg(target_arch = "bpf")]
struct Context<'s, W> {
    scratch: &'s Scratch,
    world: W,
}

/// Runs steps until one ends the loop, `most` at most. Returns how many it has run.
#[cfg(target_arch = "bpf")]
#[inline(always)]
pub fn walk<S: Step<W>, W: World>(scratch: &Scratch, world: W, most: u32) -> u64 {
    let mut context = Context { scratch, world };
    let callback: unsafe extern "C" fn(u64, *mut Context<'_, W>) -> i64 = run::<S, W>;
    // SAFETY: the callback takes what the helper passes: an index and the context.
    unsafe {
        aya_ebpf::helpers::generated::bpf_loop(
            most,
            callback as *mut core::ffi::c_void,
            (&raw mut context).cast(),
            0,
        ) as u64
    }
}

#[cfg(target_arch = "bpf")]
unsafe extern "C" fn run<S: Step<W>, W: World>(_: u64, context: *mut Context<'_, W>) -> i64 {
    // SAFETY: `walk` passes a context that outlives the loop.
    let context = unsafe { &*context };
    i64::from(S::step(context.scratch, context.world))
}
