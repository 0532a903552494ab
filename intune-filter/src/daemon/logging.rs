//! Log records on standard error: with priorities for the journal, plain for a terminal.

use std::{
    env,
    io::{self, Write as _},
};

use log::{Level, LevelFilter, Log, Metadata, Record};

/// What the daemon's own modules and the kernel's programs begin their targets with.
const OWN: &str = "intune_filter";

struct Logger {
    level: LevelFilter,
    journal: bool,
}

/// Logs records up to `level`; of other crates, warnings and errors alone.
pub fn init(level: LevelFilter) {
    let journal = env::var_os("JOURNAL_STREAM").is_some();
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
        let text = record.args();
        // Where standard error leads is not ours to repair.
        let _ = if self.journal {
            // sd-daemon(3): a line's priority stands before it.
            writeln!(io::stderr(), "<{}>{text}", priority(record.level()))
        } else {
            writeln!(io::stderr(), "{}: {text}", record.level().as_str().to_lowercase())
        };
    }

    fn flush(&self) {}
}

const fn priority(level: Level) -> u8 {
    match level {
        Level::Error => 3,
        Level::Warn => 4,
        Level::Info => 6,
        Level::Debug | Level::Trace => 7,
    }
}
