//! Returns memory to the system that only a start or a new configuration needed.

/// Returns the heap's free memory to the system. glibc's allocator would keep most of the memory
/// used for loading the programs, several times what the daemon then needs.
pub(crate) fn trim_heap() {
    #[cfg(target_env = "gnu")]
    // SAFETY: the function touches the allocator's own memory alone, under the allocator's lock.
    unsafe {
        nix::libc::malloc_trim(0);
    }
}
