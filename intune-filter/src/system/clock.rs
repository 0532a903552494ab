//! Reads the clock of the kernel's programs, and the wall clock, which survives a reboot.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use nix::time::{ClockId, clock_gettime};

const MILLISECOND: u64 = 1_000_000;

/// Two clocks read at one moment.
#[derive(Clone, Copy, Debug)]
pub struct Clocks {
    /// CLOCK_BOOTTIME in nanoseconds.
    pub boot: u64,
    /// Wall time in milliseconds since 1970.
    pub wall: u64,
}

impl Clocks {
    /// Converts a time of CLOCK_BOOTTIME to wall time, rounded up: saving must not end a name, and
    /// so an address, early.
    pub(crate) const fn to_wall(self, boot: u64) -> u64 {
        (self.wall + boot.div_ceil(MILLISECOND)).saturating_sub(self.boot / MILLISECOND)
    }
}

/// Returns CLOCK_BOOTTIME in nanoseconds, equal to `bpf_ktime_get_boot_ns`.
#[must_use]
pub fn boot_time() -> u64 {
    // The call cannot fail for this clock.
    let time = clock_gettime(ClockId::CLOCK_BOOTTIME).map(Duration::from).unwrap_or_default();
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

/// Returns both clocks.
#[must_use]
pub fn clocks() -> Clocks {
    let wall = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_millis();
    Clocks { boot: boot_time(), wall: u64::try_from(wall).unwrap_or(u64::MAX) }
}
