//! Bounded loops: `bpf_loop` in the kernel (Linux commit e6f2dd0f8067), `for` on the host.

/// Body of a loop over the data that a context refers to.
pub trait LoopBody<C> {
    /// Runs one iteration; returns true to end the loop.
    fn step(context: C) -> bool;
}

/// Runs a body until it ends the loop, at most `most` times. Returns the number of iterations.
#[cfg(not(target_arch = "bpf"))]
pub fn run<B: LoopBody<C>, C: Copy>(context: C, most: u32) -> u64 {
    for done in 1..=most {
        if B::step(context) {
            return done.into();
        }
    }
    most.into()
}

/// Runs a body until it ends the loop, at most `most` times. Returns the number of iterations.
#[cfg(target_arch = "bpf")]
#[inline(always)]
pub fn run<B: LoopBody<C>, C: Copy>(context: C, most: u32) -> u64 {
    // The helper wants a pointer to the stack.
    let mut context = context;
    let body: unsafe extern "C" fn(u64, *mut C) -> i64 = callback::<B, C>;
    // SAFETY: the callback takes what the helper passes: an index and the context.
    unsafe {
        aya_ebpf::helpers::generated::bpf_loop(
            most,
            body as *mut core::ffi::c_void,
            (&raw mut context).cast(),
            0,
        ) as u64
    }
}

#[cfg(target_arch = "bpf")]
unsafe extern "C" fn callback<B: LoopBody<C>, C: Copy>(_: u64, context: *mut C) -> i64 {
    // SAFETY: `run` passes a context that outlives the loop.
    i64::from(B::step(unsafe { *context }))
}
