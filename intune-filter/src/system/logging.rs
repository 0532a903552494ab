//! Writes log records to standard error: with priorities for the journal, plain for a terminal.

use std::{
    env,
    fs::File,
    io::{self, Write as _},
    os::{fd::AsFd as _, unix::fs::MetadataExt as _},
};

use log::{Level, LevelFilter, Log, Metadata, Record};

/// Prefix of the targets of the daemon's modules and the kernel's programs.
const OWN: &str = "intune_filter";

/// Target of records worse than errors: nothing is filtered.
pub(crate) const CRITICAL: &str = "intune_filter::critical";

struct Logger {
    level: LevelFilter,
    journal: bool,
}

/// Logs records up to `level`; of other crates, warnings and errors alone.
pub(crate) fn init(level: LevelFilter) {
    let journal = leads_to_journal();
    log::set_max_level(level);
    // A second call in one process keeps the first logger.
    let _ = log::set_boxed_logger(Box::new(Logger { level, journal }));
}

impl Log for Logger {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        let own = metadata.target().starts_with(OWN);
        metadata.level() <= if own { self.level } else { self.level.min(LevelFilter::Warn) }
    }

    fn log(&self, record: &Record<'_>) {
        if !self.enabled(record.metadata()) {
            return;
        }
        let is_critical = record.target() == CRITICAL;
        let text = if self.journal {
            let priority = if is_critical { CRIT } else { priority(record.level()) };
            with_priority(priority, &record.args().to_string())
        } else {
            let level = record.level().as_str().to_lowercase();
            format!("{}: {}\n", if is_critical { "critical" } else { &level }, record.args())
        };
        // A failure of standard error cannot be reported. One write, since other processes write
        // there too.
        let _ = io::stderr().write_all(text.as_bytes());
    }

    fn flush(&self) {}
}

/// Prints the error of a failed command or daemon.
pub(crate) fn failure(text: &str) {
    let text = match leads_to_journal() {
        true => with_priority(priority(Level::Error), text),
        false => format!("intune-filter: {text}\n"),
    };
    let _ = io::stderr().write_all(text.as_bytes());
}

/// LOG_CRIT of syslog(3).
const CRIT: u8 = 2;

/// Prefixes each line with its priority (sd-daemon(3)), since the journal makes a record of each.
fn with_priority(priority: u8, text: &str) -> String {
    text.lines().map(|line| format!("<{priority}>{line}\n")).collect()
}

/// Whether standard error is the journal's own stream. systemd names the stream's device and inode,
/// and a process that inherits the variable may have redirected its output.
fn leads_to_journal() -> bool {
    let Some(stream) = env::var_os("JOURNAL_STREAM") else { return false };
    let own = io::stderr().as_fd().try_clone_to_owned().map(File::from);
    let own = own.and_then(|file| file.metadata());
    own.is_ok_and(|own| *stream == *format!("{}:{}", own.dev(), own.ino()))
}

const fn priority(level: Level) -> u8 {
    match level {
        Level::Error => 3,
        Level::Warn => 4,
        Level::Info => 6,
        Level::Debug | Level::Trace => 7,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_line_carries_the_priority() {
        let text = with_priority(3, "a.yaml:3: dns: missing\na.yaml:4: x: unknown key");
        assert_eq!(text, "<3>a.yaml:3: dns: missing\n<3>a.yaml:4: x: unknown key\n");
    }
}
