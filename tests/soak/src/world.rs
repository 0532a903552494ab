//! State that all threads of the soak share.

use std::{
    sync::{
        Arc, Condvar, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use anyhow::Result;
use serde_json::Value;

use super::{
    knowledge::Knowledge,
    ledger::Ledger,
    model::ModelPolicy,
    names::Names,
    report::Tally,
    site::Sizes,
    timeline::{Fault, Span, Timeline},
};
use intune_filter_tests::{
    counters::Counters,
    directory::Directory,
    filter::{FilterDaemon, json_of},
    network::Network,
};

/// Amount and pace of the work.
#[derive(Clone, Copy, Debug)]
pub struct Measure {
    /// Duration of the soak.
    pub duration: Duration,
    /// Random choices follow from it.
    pub seed: u64,
    /// Packets that each sender sends in a second, at most.
    pub pace: u32,
    /// Sizes of the filter's tables.
    pub sizes: Sizes,
    /// Whether the wall clock is set: in a machine of its own alone.
    pub clock_steps: bool,
}

/// State that all threads share.
#[derive(Debug)]
pub struct World {
    /// Amount and pace of the work.
    pub measure: Measure,
    /// The namespaces.
    pub network: Network,
    /// Directory of files.
    pub directory: Arc<Directory>,
    /// The filter.
    pub filter: Mutex<FilterDaemon>,
    /// Held while the configuration changes, or a daemon starts and reads it.
    pub change: Mutex<()>,
    /// Whether the daemon is down.
    pub down: AtomicBool,
    /// Number of ended daemons.
    pub ended: AtomicU32,
    /// Whether faults that end the daemon are over; set by [`Self::calm_down`].
    pub calm: AtomicBool,
    /// Arrived packets.
    pub ledger: Arc<Ledger>,
    /// Figures.
    pub tally: Mutex<Tally>,
    /// Destination addresses of frames to the gateway, from the clients and from the server.
    pub gateway_macs: Mutex<[[u8; 6]; 2]>,
    /// Addresses of the names.
    pub names: Names,
    /// Echo requests of each family that the far end is known not to have answered.
    pub unanswered: [AtomicU64; 2],
    history: Mutex<(Timeline, Knowledge)>,
    stopped: Mutex<bool>,
    stop: Condvar,
}

/// Locks a mutex, poisoned or not: the panic is told of where its thread is joined.
pub fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl World {
    /// Everything is there, and nothing has happened.
    #[must_use]
    pub fn new(
        measure: Measure,
        network: Network,
        directory: Arc<Directory>,
        filter: FilterDaemon,
        gateway_macs: [[u8; 6]; 2],
    ) -> Self {
        Self {
            measure,
            network,
            directory,
            filter: Mutex::new(filter),
            change: Mutex::default(),
            down: AtomicBool::new(true),
            ended: AtomicU32::new(0),
            calm: AtomicBool::new(false),
            ledger: Arc::default(),
            tally: Mutex::default(),
            gateway_macs: Mutex::new(gateway_macs),
            names: Names::of_site(),
            unanswered: Default::default(),
            history: Mutex::default(),
            stopped: Mutex::default(),
            stop: Condvar::new(),
        }
    }

    /// History of policies and faults, and knowledge from answers.
    pub fn history(&self) -> MutexGuard<'_, (Timeline, Knowledge)> {
        lock(&self.history)
    }

    /// Policies that may have judged in this time.
    pub fn policies(&self, span: Span) -> Vec<Arc<ModelPolicy>> {
        self.history().0.policies(span)
    }

    /// Whether a fault was there in this time.
    pub fn had(&self, fault: Fault, span: Span) -> bool {
        self.history().0.had(fault, span)
    }

    /// A policy begins to be put into force.
    pub fn begin(&self, policy: &Arc<ModelPolicy>) {
        let (timeline, knowledge) = &mut *self.history();
        knowledge.begin(policy, timeline.newest().as_deref());
        timeline.begin(Arc::clone(policy));
    }

    /// The policy that was begun last is in force.
    pub fn settle(&self) {
        let (timeline, knowledge) = &mut *self.history();
        if let Some(policy) = timeline.newest() {
            knowledge.settle(&policy);
        }
        timeline.settle();
    }

    /// Runs while a fault is there.
    pub fn during<T>(&self, fault: Fault, run: impl FnOnce() -> Result<T>) -> Result<T> {
        self.history().0.fault(fault);
        self.tally().note(format!("{fault:?} begins"));
        let done = run();
        self.history().0.heal(fault);
        self.tally().note(format!("{fault:?} is over"));
        self.tally().count_fault(fault);
        done
    }

    /// The figures.
    pub fn tally(&self) -> MutexGuard<'_, Tally> {
        lock(&self.tally)
    }

    /// Waits, unless the soak is over before; whether it goes on.
    pub fn pause(&self, time: Duration) -> bool {
        let deadline = Instant::now() + time;
        let mut stopped = lock(&self.stopped);
        while !*stopped {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return true;
            }
            stopped =
                self.stop.wait_timeout(stopped, left).unwrap_or_else(PoisonError::into_inner).0;
        }
        false
    }

    /// Whether the soak goes on.
    pub fn goes_on(&self) -> bool {
        !*lock(&self.stopped)
    }

    /// Ends it.
    pub fn end(&self) {
        *lock(&self.stopped) = true;
        self.stop.notify_all();
    }

    /// Whether the daemon runs at the moment.
    pub fn is_down(&self) -> bool {
        self.down.load(Ordering::SeqCst)
    }

    /// From now on no daemon is ended; whether that is new. One that is being ended is down by then.
    pub fn calm_down(&self) -> bool {
        let _filter = lock(&self.filter);
        !self.calm.swap(true, Ordering::SeqCst)
    }

    /// Status of the filter. Other threads may use the filter meanwhile: they start the next
    /// daemon.
    pub fn status(&self) -> Result<Value> {
        let mut command = lock(&self.filter).command(&["--json", "status"])?;
        json_of(&mut command)
    }

    /// Packets by reason, as the filter counts them.
    pub fn counters(&self) -> Result<Counters> {
        let status = self.status()?;
        let counters = status["counters"].as_object().into_iter().flatten();
        Ok(counters.map(|(reason, count)| (reason.clone(), count.as_u64().unwrap_or(0))).collect())
    }
}
