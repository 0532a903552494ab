//! The figures: what was judged and how, which faults there were, which checks failed.

use std::{
    collections::{BTreeMap, VecDeque},
    fmt,
    time::Instant,
};

use super::{model::Verdict, timeline::Fault};

/// Wrong verdicts that are printed.
const SHOWN: usize = 40;

/// Number of last events that are told with a wrong verdict.
const TOLD: usize = 12;

/// Packets of a kind.
#[derive(Clone, Copy, Debug, Default)]
struct Judged {
    passed: u64,
    denied: u64,
    either: u64,
    excused: u64,
}

/// Counts of the soak.
#[derive(Debug, Default)]
pub struct Tally {
    kinds: BTreeMap<&'static str, Judged>,
    faults: BTreeMap<Fault, u64>,
    figures: BTreeMap<&'static str, u64>,
    wrong: Vec<String>,
    happened: VecDeque<(Instant, String)>,
    failures: BTreeMap<&'static str, Vec<String>>,
}

impl Tally {
    /// Counts a packet that was judged.
    pub fn count(&mut self, kind: &'static str, verdict: Verdict, _arrived: bool) {
        let judged = self.kinds.entry(kind).or_default();
        match verdict {
            Verdict::Passes => judged.passed += 1,
            Verdict::Denied => judged.denied += 1,
            Verdict::Either => judged.either += 1,
        }
    }

    /// Counts a packet that should have passed and met an interface that was down.
    pub fn count_excused(&mut self, kind: &'static str) {
        self.kinds.entry(kind).or_default().excused += 1;
    }

    /// Counts a fault.
    pub fn count_fault(&mut self, fault: Fault) {
        *self.faults.entry(fault).or_default() += 1;
    }

    /// Adds to a figure.
    pub fn add(&mut self, figure: &'static str, more: u64) {
        *self.figures.entry(figure).or_default() += more;
    }

    /// A figure.
    #[must_use]
    pub fn figure(&self, figure: &str) -> u64 {
        self.figures.get(figure).copied().unwrap_or(0)
    }

    /// Number of times that a fault occurred.
    #[must_use]
    pub fn faults(&self, fault: Fault) -> u64 {
        self.faults.get(&fault).copied().unwrap_or(0)
    }

    /// Something happened that may explain a wrong verdict.
    pub fn note(&mut self, what: impl Into<String>) {
        if self.happened.len() == TOLD {
            self.happened.pop_front();
        }
        self.happened.push_back((Instant::now(), what.into()));
    }

    /// A packet had another fate than it should.
    pub fn wrong(&mut self, what: String) {
        if self.wrong.len() < SHOWN {
            println!("WRONG {what}");
            for (when, happened) in &self.happened {
                println!("    {:.3} s ago: {happened}", when.elapsed().as_secs_f64());
            }
        }
        self.wrong.push(what);
    }

    /// Something else is not as it should be, which this check looks at.
    pub fn fail(&mut self, check: &'static str, what: String) {
        let failures = self.failures.entry(check).or_default();
        if failures.len() < SHOWN {
            println!("FAILED {check}: {what}");
        }
        failures.push(what);
    }

    /// Wrong verdicts.
    #[must_use]
    pub fn wrong_verdicts(&self) -> usize {
        self.wrong.len()
    }

    /// Number of failures of a check.
    #[must_use]
    pub fn failures(&self, check: &str) -> usize {
        self.failures.get(check).map_or(0, Vec::len)
    }

    /// Packets whose fate the model has determined.
    #[must_use]
    pub fn judged(&self) -> u64 {
        self.kinds.values().map(|kind| kind.passed + kind.denied).sum()
    }

    /// One line.
    #[must_use]
    pub fn progress(&self) -> String {
        format!(
            "{} packets judged, {} wrong; {} reloads, {} daemons ended, {} links, {} outages, {} \
             tables full",
            self.judged(),
            self.wrong.len(),
            self.figure(RELOADS),
            self.figure(KILLS) + self.figure(STOPS),
            self.faults(Fault::Link),
            self.faults(Fault::Outage),
            self.faults(Fault::HostsFull)
                + self.faults(Fault::FlowsFull)
                + self.faults(Fault::PendingFull),
        )
    }
}

/// Configurations that were taken over.
pub const RELOADS: &str = "reloads";
/// Configurations that were refused, as they had to be.
pub const REFUSALS: &str = "wrong configurations refused";
/// Reloads that the daemon's end cut short, or that found none.
pub const CUT_SHORT: &str = "reloads without a daemon, or cut short";
/// Daemons killed.
pub const KILLS: &str = "daemons killed";
/// Daemons ended as systemd does.
pub const STOPS: &str = "daemons ended";

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "{:<34} {:>10} {:>10} {:>10} {:>10}",
            "judged by the model", "pass", "denied", "either", "link down"
        )?;
        let mut sum = Judged::default();
        for (kind, judged) in &self.kinds {
            let Judged { passed, denied, either, excused } = *judged;
            writeln!(f, "  {kind:<32} {passed:>10} {denied:>10} {either:>10} {excused:>10}")?;
            sum.passed += passed;
            sum.denied += denied;
            sum.either += either;
            sum.excused += excused;
        }
        let Judged { passed, denied, either, excused } = sum;
        writeln!(f, "  {:<32} {passed:>10} {denied:>10} {either:>10} {excused:>10}", "all")?;
        writeln!(f, "wrong verdicts                     {:>10}", self.wrong.len())?;
        writeln!(f, "faults")?;
        for fault in Fault::ALL {
            writeln!(f, "  {:<32} {:>10}", fault.text(), self.faults(fault))?;
        }
        writeln!(f, "figures")?;
        for (figure, value) in &self.figures {
            writeln!(f, "  {figure:<48} {value:>10}")?;
        }
        Ok(())
    }
}

impl Fault {
    /// Description for people.
    #[must_use]
    pub const fn text(self) -> &'static str {
        match self {
            Self::Link => "LAN interface down or away",
            Self::Replaced => "LAN interface replaced",
            Self::Outage => "resolver outages",
            Self::HostsFull => "learned addresses full",
            Self::FlowsFull => "flows full",
            Self::PendingFull => "queries full",
        }
    }
}
