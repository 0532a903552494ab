//! The clock of the kernel's programs, and the one that outlives a reboot.

use std::time::{SystemTime, UNIX_EPOCH};

const MILLISECOND: u64 = 1_000_000;

/// Two clocks read at one moment.
#[derive(Clone, Copy, Debug)]
pub struct Clocks {
    /// CLOCK_BOOTTIME in nanoseconds.
    pub boot: u64,
    /// Milliseconds since 1970.
    pub wall: u64,
}

impl Clocks {
    /// Rounded up: to be saved must not end a name before its time, nor, by it, an address.
    pub(crate) const fn to_wall(self, boot: u64) -> u64 {
        (self.wall + boot.div_ceil(MILLISECOND)).saturating_sub(self.boot / MILLISECOND)
    }
}

/// CLOCK_BOOTTIME in nanoseconds, as `bpf_ktime_get_boot_ns` tells it.
#[must_use]
pub fn boot_time() -> u64 {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the pointer is valid for the call, which cannot fail for this clock.
    unsafe { libc::clock_gettime(libc::CLOCK_BOOTTIME, &raw mut time) };
    let seconds = u64::try_from(time.tv_sec).unwrap_or_default();
    seconds * 1_000_000_000 + u64::try_from(time.tv_nsec).unwrap_or_default()
}

/// Both clocks.
#[must_use]
pub fn clocks() -> Clocks {
    let wall = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_millis();
    Clocks { boot: boot_time(), wall: u64::try_from(wall).unwrap_or(u64::MAX) }
}
