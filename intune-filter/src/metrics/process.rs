//! Adds what monitoring expects of any process, under the names that are usual for it.

use std::sync::atomic::AtomicU64;

use procfs::{ProcResult, WithCurrentSystemInfo as _, process::Process};
use prometheus_client::{
    metrics::{counter::Counter, gauge::Gauge},
    registry::Registry,
};

/// Adds the metrics of this process to a registry without a prefix; none where they cannot be read.
pub(super) fn register(registry: &mut Registry) {
    if let Err(error) = try_register(registry) {
        log::debug!("no metrics about the process: {error}");
    }
}

fn try_register(registry: &mut Registry) -> ProcResult<()> {
    let process = Process::myself()?;
    let stat = process.stat()?;
    let processor = Counter::<f64, AtomicU64>::default();
    let ticks = stat.utime.saturating_add(stat.stime);
    processor.inc_by(ticks as f64 / procfs::ticks_per_second() as f64);
    let help = "Processor time of the daemon";
    registry.register("process_cpu_seconds", help, processor);
    let started = stat.starttime as f64 / procfs::ticks_per_second() as f64;
    let started = procfs::boot_time_secs()? as f64 + started;
    let most = process.limits()?.max_open_files.soft_limit;
    let most = match most {
        procfs::process::LimitValue::Value(most) => most as f64,
        procfs::process::LimitValue::Unlimited => f64::INFINITY,
    };
    for (name, help, value) in [
        (
            "process_resident_memory_bytes",
            "Resident memory of the daemon",
            stat.rss_bytes().get() as f64,
        ),
        ("process_virtual_memory_bytes", "Virtual memory of the daemon", stat.vsize as f64),
        ("process_open_fds", "Open files of the daemon", process.fd_count()? as f64),
        ("process_max_fds", "Files that the daemon may open", most),
        ("process_start_time_seconds", "When the daemon started, since 1970", started),
    ] {
        let gauge = Gauge::<f64, AtomicU64>::default();
        gauge.set(value);
        registry.register(name, help, gauge);
    }
    Ok(())
}
