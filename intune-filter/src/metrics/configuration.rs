//! Keeps the metrics about the configuration: one set per process, which has one endpoint.

use std::sync::{
    Mutex, PoisonError,
    atomic::{AtomicBool, AtomicI64, Ordering},
};

use jiff::Timestamp;
use prometheus_client::{
    encoding::EncodeLabelSet,
    metrics::{family::Family, gauge::Gauge, info::Info},
    registry::Registry,
};

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Problem {
    code: &'static str,
}

static RUNS_LAST_GOOD: AtomicBool = AtomicBool::new(false);

/// Time of the last reload in seconds since 1970; 0 for never.
static RELOADED_AT: AtomicI64 = AtomicI64::new(0);

/// Edition of the catalogue in force, and its date.
static EDITION: Mutex<Option<(String, Option<u64>)>> = Mutex::new(None);

/// Whether the configuration in force waits for its confirmation.
static AWAITS_CONFIRMATION: AtomicBool = AtomicBool::new(false);

/// Words of problems, and which of them are current.
static PROBLEMS: Mutex<Vec<(&'static str, bool)>> = Mutex::new(Vec::new());

static RELOAD_SUCCEEDED: AtomicBool = AtomicBool::new(false);

/// Records whether the last good configuration is in force because the file cannot be used.
pub(crate) fn runs_last_good(it_does: bool) {
    RUNS_LAST_GOOD.store(it_does, Ordering::Relaxed);
}

/// Records the time and the success of a reload.
pub(crate) fn reloaded(at: Timestamp, succeeded: bool) {
    RELOAD_SUCCEEDED.store(succeeded, Ordering::Relaxed);
    RELOADED_AT.store(at.as_second(), Ordering::Relaxed);
}

/// Records the edition of the catalogue in force with its date, in seconds since 1970. Returns
/// whether it is another one than before.
pub(crate) fn edition(name: &str, date: Option<u64>) -> bool {
    let now = Some((name.to_owned(), date));
    let mut edition = EDITION.lock().unwrap_or_else(PoisonError::into_inner);
    let is_other = *edition != now;
    *edition = now;
    is_other
}

/// Records whether the configuration in force waits for its confirmation, and which problems are current
/// of all that there may be.
pub(crate) fn state(
    awaits_confirmation: bool,
    problems: impl Iterator<Item = (&'static str, bool)>,
) {
    AWAITS_CONFIRMATION.store(awaits_confirmation, Ordering::Relaxed);
    let mut told = PROBLEMS.lock().unwrap_or_else(PoisonError::into_inner);
    // Each turn of the daemon's loop comes here: the room is used again.
    told.clear();
    told.extend(problems);
}

/// Adds the metrics about the configuration to a registry.
pub(crate) fn register(registry: &mut Registry) {
    let mut add = |name, help, value: i64| {
        let gauge = Gauge::<i64>::default();
        gauge.set(value);
        registry.register(name, help, gauge);
    };
    let help = "1 while the configuration file cannot be used and the last good one is in force";
    add("configuration_last_good", help, RUNS_LAST_GOOD.load(Ordering::Relaxed).into());
    let help = "1 while the configuration in force waits for its confirmation";
    let awaits = AWAITS_CONFIRMATION.load(Ordering::Relaxed);
    add("confirmation_pending", help, awaits.into());
    let at = RELOADED_AT.load(Ordering::Relaxed);
    let edition = EDITION.lock().unwrap_or_else(PoisonError::into_inner).clone();
    if let Some((_, Some(date))) = edition {
        let help = "Date of the newest document of the catalogue's edition, since 1970";
        add("catalogue_timestamp_seconds", help, date.cast_signed());
    }
    // Without a reload there is nothing to report.
    if at != 0 {
        let succeeded = RELOAD_SUCCEEDED.load(Ordering::Relaxed);
        add("last_reload_success", "1 if the last reload is in force", succeeded.into());
        add("last_reload_timestamp_seconds", "When the last reload was, since 1970", at);
    }
    if let Some((name, _)) = edition {
        let info = Info::new(vec![("edition", name)]);
        registry.register("catalogue", "Edition of the catalogue in force", info);
    }
    let problems = Family::<Problem, Gauge>::default();
    for (code, is_current) in PROBLEMS.lock().unwrap_or_else(PoisonError::into_inner).iter() {
        problems.get_or_create(&Problem { code }).set((*is_current).into());
    }
    registry.register("problem", "1 while a problem is current, as `status` tells it", problems);
}
