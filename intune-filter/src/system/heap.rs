//! Gives memory back to the system that only a start or a new configuration needed.

/// Gives back what is free. An allocator keeps it: of glibc's, most of what loading the programs took,
/// which is several times what the daemon then needs.
pub fn trim_heap() {
    #[cfg(target_env = "gnu")]
    // SAFETY: the function only looks at the allocator's own memory, and locks it meanwhile.
    unsafe {
        nix::libc::malloc_trim(0);
    }
}
