//! Words that programs keep between runs, for themselves alone.

/// Allowance of a CPU: until when its due was added, and how much is left.
#[repr(C)]
#[derive(Debug)]
pub struct Allowance {
    /// When its due was last added: CLOCK_BOOTTIME, nanoseconds.
    pub until: u64,
    /// How much is left.
    pub left: u64,
}

/// A time, and the system's tick at which it was asked for.
#[repr(C)]
#[derive(Debug)]
pub struct Tick {
    /// The tick.
    pub jiffies: u64,
    /// CLOCK_BOOTTIME, nanoseconds.
    pub time: u64,
}
