//! Words that programs keep between runs: allowances, and the time at the last tick.

/// What a CPU has an allowance for: an index in `SCRATCH_ALLOWANCE`.
#[repr(u32)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AllowanceKind {
    /// Records of denials.
    Denials = 0,
    /// Replies to denied packets.
    Replies = 1,
    /// Records of flows.
    Flows = 2,
    /// Records of denied queries.
    Queries = 3,
    /// Records of answers that taught nothing.
    Untaught = 4,
}

/// Number of kinds of allowances.
pub const ALLOWANCES: u32 = 5;

/// Number of elements of `SCRATCH_TOLD`, a power of two.
pub const TOLD: u32 = 4096;

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
