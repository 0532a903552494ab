//! Words that programs keep between runs: allowances, and the time at the last tick.

/// Allowance of a CPU for reports or replies.
#[repr(C)]
#[derive(Debug)]
pub struct Allowance {
    /// Time up to which the allowance was refilled: CLOCK_BOOTTIME, nanoseconds.
    pub until: u64,
    /// Number of reports or replies left.
    pub left: u64,
}

/// Time, and the tick of the system at which the clock was read.
#[repr(C)]
#[derive(Debug)]
pub struct Tick {
    /// Tick of the system (jiffies).
    pub jiffies: u64,
    /// CLOCK_BOOTTIME, nanoseconds.
    pub time: u64,
}
