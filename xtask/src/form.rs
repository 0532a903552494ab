//! The short and the long form of a test run: how much of everything each does.

use std::process::Command;

/// Extent of a run.
pub(crate) struct Form {
    /// Variables that tell tests how often to repeat what they repeat; without one each has a number
    /// of its own.
    amounts: &'static [(&'static str, u64)],
    /// Every kernel that is usual, with all that a machine can run, in place of the oldest one with
    /// what needs devices.
    pub every_kernel: bool,
    /// Minutes of the soak.
    pub soak: Option<f64>,
    /// All faults are planted.
    pub faults: bool,
    /// The benchmarks as they are published, in place of the quick ones.
    pub whole_bench: bool,
}

/// Usual form.
pub(crate) const SHORT: Form =
    Form { amounts: &[], every_kernel: false, soak: None, faults: false, whole_bench: false };

/// Everything.
pub(crate) const LONG: Form = Form {
    amounts: &[
        ("INTUNE_ROUNDS", 10_000),
        ("INTUNE_CASES", 300_000),
        ("INTUNE_FRAMES", 500_000),
        ("INTUNE_FLIPS", 1_000),
        ("INTUNE_POLICIES", 10_000),
        ("INTUNE_FLOOD", 60),
        ("INTUNE_FILTER_RACES", 20_000),
        ("INTUNE_FILTER_ADDRESSES", 100_000),
        ("INTUNE_PROBES", 1),
        ("INTUNE_RECIPES", 1),
    ],
    every_kernel: true,
    soak: Some(60.0),
    faults: true,
    whole_bench: true,
};

impl Form {
    /// Tells the tests that a command runs how often to repeat.
    pub(crate) fn tell(&self, tests: &mut Command) {
        for (variable, amount) in self.amounts {
            tests.env(variable, amount.to_string());
        }
    }
}
