//! The machine that was measured: figures mean nothing without it.

use std::{fmt, fs, thread};

use serde::{Deserialize, Serialize};

/// A machine, and what ran on it.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq, Serialize)]
pub struct Machine {
    /// The processor's model.
    pub processor: String,
    /// Processors that can be used.
    pub processors: usize,
    /// Memory, in KiB.
    pub memory_kib: u64,
    /// The kernel's release.
    pub kernel: String,
    /// `release` or `debug`.
    pub profile: String,
}

impl Machine {
    /// This one; what cannot be told is empty.
    #[must_use]
    pub fn this() -> Self {
        let read = |path: &str| fs::read_to_string(path).unwrap_or_default();
        let memory = field(&read("/proc/meminfo"), "MemTotal");
        Self {
            processor: field(&read("/proc/cpuinfo"), "model name"),
            processors: thread::available_parallelism().map_or(1, usize::from),
            memory_kib: memory.trim_end_matches(" kB").parse().unwrap_or_default(),
            kernel: read("/proc/sys/kernel/osrelease").trim().to_owned(),
            profile: if cfg!(debug_assertions) { "debug" } else { "release" }.to_owned(),
        }
    }
}

impl fmt::Display for Machine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { processor, processors, memory_kib, kernel, profile } = self;
        let memory = memory_kib / 1024;
        write!(f, "{processors} x {processor}, {memory} MiB, Linux {kernel}, {profile} build")
    }
}

/// The value of the first line `NAME: VALUE`.
fn field(text: &str, name: &str) -> String {
    let values = text.lines().filter_map(|line| {
        let (key, value) = line.split_once(':')?;
        (key.trim() == name).then(|| value.trim().to_owned())
    });
    values.into_iter().next().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_found_by_their_whole_name() {
        let text = "processor\t: 0\nmodel name\t: Some: CPU @ 2 GHz\nmodel\t\t: 7\n";
        assert_eq!(field(text, "model name"), "Some: CPU @ 2 GHz");
        assert_eq!(field(text, "model"), "7");
        assert_eq!(field(text, "name"), "");
    }

    #[test]
    fn this_machine_has_a_kernel_processors_and_memory() {
        let machine = Machine::this();
        assert!(machine.kernel.contains('.') && machine.processors > 0 && machine.memory_kib > 0);
    }
}
