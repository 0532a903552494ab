//! Rows that were judged, by test and name; and the modules whose rows only the kernel judges, each
//! with its reason and a bound.

use std::{
    collections::{BTreeMap, BTreeSet},
    env,
    sync::{Mutex, Once, PoisonError},
    thread,
};

use super::show;

/// A module of the kernel's runner that the host's runner lacks.
#[derive(Debug)]
pub struct KernelOnly {
    /// Name of the module.
    pub module: &'static str,
    /// Bound of its rows: names, each counted once in a test.
    pub most: usize,
    /// Reason why the host cannot judge them.
    pub reason: &'static str,
}

const fn of(module: &'static str, most: usize, reason: &'static str) -> KernelOnly {
    KernelOnly { module, most, reason }
}

/// All modules that only the kernel's runner has.
pub const KERNEL_ONLY: [KernelOnly; 13] = [
    of("buckets", 9, "the size of the map of buckets, which evicts"),
    of("busy", 4, "nested runs, which claim one working memory"),
    of("capacity", 6, "maps that are full, and evict"),
    of("hooks", 0, "three programs, which judge the rows of the tables alike"),
    of("pool", 0, "maps of a filter that one test after another uses"),
    of("random", 0, "random frames, which the host's maps judge beside the kernel"),
    of("refusals", 1, "octets of answers, which the kernel's writer alone makes"),
    of("rejections", 0, "octets of answers, which the kernel's writer alone makes"),
    of("ring", 1, "the ring buffer: its room, and when it wakes the reader"),
    of("routes", 300, "routes and rules of a network namespace"),
    of("stages", 3, "tail calls, and an array of programs that is empty"),
    of("tickets", 0, "the mark of a socket buffer, which TC alone has"),
    of("truncation", 0, "frames in pages, and shorter than their headers say"),
];

/// Names of judged rows, by test.
static JUDGED: Mutex<BTreeMap<String, BTreeSet<String>>> = Mutex::new(BTreeMap::new());

/// Notes that a row of the current test is judged.
///
/// # Panics
/// If its module is one of [`KERNEL_ONLY`] and exceeds its bound.
pub(super) fn note(description: &str) {
    let thread = thread::current();
    let Some(test) = thread.name() else { return };
    let mut judged = JUDGED.lock().unwrap_or_else(PoisonError::into_inner);
    if !judged.entry(test.to_owned()).or_default().insert(description.to_owned()) {
        return;
    }
    let Some((module, _)) = test.split_once("::") else { return };
    let Some(only) = KERNEL_ONLY.iter().find(|only| only.module == module) else { return };
    let of_module = judged.iter().filter(|(test, _)| test.starts_with(&format!("{module}::")));
    let count: usize = of_module.map(|(_, rows)| rows.len()).sum();
    drop(judged);
    let most = only.most;
    assert!(count <= most, "{module}: {count} rows that only the kernel judges, {most} at most");
}

/// Sum of the bounds of [`KERNEL_ONLY`].
#[must_use]
pub fn kernel_only() -> usize {
    KERNEL_ONLY.iter().map(|only| only.most).sum()
}

/// Has the host's runner end with the number of its rows, and of those that it leaves to the kernel.
pub(super) fn tell_at_exit() {
    static ONCE: Once = Once::new();
    // Who asks for a row has its judgement alone.
    if env::var_os(show::VARIABLE).is_some() {
        return;
    }
    ONCE.call_once(|| {
        // SAFETY: the handler neither panics nor returns to anything of the caller's.
        unsafe { libc::atexit(tell) };
    });
}

extern "C" fn tell() {
    let judged = JUDGED.lock().unwrap_or_else(PoisonError::into_inner);
    let rows: usize = judged.values().map(BTreeSet::len).sum();
    let modules = KERNEL_ONLY.iter().filter(|only| only.most > 0);
    let modules: Vec<String> = modules
        .map(|KernelOnly { module, most, reason }| format!("  {module}: {most} ({reason})"))
        .collect();
    let left = kernel_only();
    eprintln!("{rows} rows judged by the host's maps, {left} more by the kernel alone:");
    eprintln!("{}", modules.join("\n"));
}
