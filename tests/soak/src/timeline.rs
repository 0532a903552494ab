//! Timeline of policies and faults, each with the time in which it began or ended.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use super::model::ModelPolicy;

/// Cause of uncertainty about a packet's way, or a table's content.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Fault {
    /// The LAN interface is down, gone, or not attached to yet: what is allowed may be lost.
    Link,
    /// The resolver does not answer.
    Outage,
    /// The table of learned addresses is full: what is new may not be learned.
    HostsFull,
    /// A table of flows is full: those that are open may be forgotten.
    FlowsFull,
    /// The LAN interface is replaced by another one: its conversations may be forgotten.
    Replaced,
    /// The table of queries is full: those on their way may be forgotten.
    PendingFull,
}

impl Fault {
    /// All.
    pub const ALL: [Self; 6] = [
        Self::Link,
        Self::Replaced,
        Self::Outage,
        Self::HostsFull,
        Self::FlowsFull,
        Self::PendingFull,
    ];
}

/// A time that something took: from its beginning to its end, both included.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span {
    /// Earliest beginning.
    pub from: Instant,
    /// Latest end.
    pub to: Instant,
}

impl Span {
    /// From this moment to now.
    #[must_use]
    pub fn since(from: Instant) -> Self {
        Self { from, to: Instant::now() }
    }

    /// Both, and what is between them.
    #[must_use]
    pub fn with(self, other: Self) -> Self {
        Self { from: self.from.min(other.from), to: self.to.max(other.to) }
    }
}

/// Time for which ended policies and faults are remembered: longer than any flow is followed.
const MEMORY: Duration = Duration::from_secs(600);

#[derive(Debug)]
struct InForce {
    policy: Arc<ModelPolicy>,
    from: Instant,
    until: Option<Instant>,
}

/// Policies and faults over time.
#[derive(Debug, Default)]
pub struct Timeline {
    policies: Vec<InForce>,
    faults: Vec<(Fault, Instant, Option<Instant>)>,
}

impl Timeline {
    /// A policy begins to be put into force: from now on both it and those before may judge.
    pub fn begin(&mut self, policy: Arc<ModelPolicy>) {
        let now = Instant::now();
        self.policies.push(InForce { policy, from: now, until: None });
        let is_kept = |end: &Option<Instant>| end.is_none_or(|end| end + MEMORY > now);
        self.policies.retain(|one| is_kept(&one.until));
        self.faults.retain(|(_, _, end)| is_kept(end));
    }

    /// The policy that was begun last is in force: none before it judges any more.
    pub fn settle(&mut self) {
        let now = Instant::now();
        if let Some((_, earlier)) = self.policies.split_last_mut() {
            for one in earlier.iter_mut().filter(|one| one.until.is_none()) {
                one.until = Some(now);
            }
        }
    }

    /// A fault begins.
    pub fn fault(&mut self, fault: Fault) {
        self.faults.push((fault, Instant::now(), None));
    }

    /// A fault ends.
    pub fn heal(&mut self, fault: Fault) {
        let now = Instant::now();
        for (_, _, end) in self.faults.iter_mut().filter(|one| one.0 == fault) {
            end.get_or_insert(now);
        }
    }

    /// A fault begins that ends by itself.
    pub fn fault_for(&mut self, fault: Fault, time: Duration) {
        let now = Instant::now();
        self.faults.push((fault, now, Some(now + time)));
    }

    /// Policies that may have judged in this time.
    #[must_use]
    pub fn policies(&self, span: Span) -> Vec<Arc<ModelPolicy>> {
        let overlaps = |one: &&InForce| {
            one.from <= span.to && one.until.is_none_or(|until| until >= span.from)
        };
        self.policies.iter().filter(overlaps).map(|one| Arc::clone(&one.policy)).collect()
    }

    /// The policy that was begun last.
    #[must_use]
    pub fn newest(&self) -> Option<Arc<ModelPolicy>> {
        self.policies.last().map(|one| Arc::clone(&one.policy))
    }

    /// Whether a fault was there at some moment of this time.
    #[must_use]
    pub fn had(&self, fault: Fault, span: Span) -> bool {
        self.faults.iter().any(|(kind, from, end)| {
            *kind == fault && *from <= span.to && end.is_none_or(|end| end >= span.from)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn policy(client: &str) -> Arc<ModelPolicy> {
        let text = format!(
            "dns: {{resolvers: [], ttl: {{min: 1s, max: 1s, grace: 1s}}}}\n\
             clients: [{{networks: [{client}/32], services: []}}]\nservices: []"
        );
        Arc::new(ModelPolicy::read(&text).unwrap())
    }

    fn clients(timeline: &Timeline, span: Span) -> Vec<u8> {
        let known = |policy: &ModelPolicy| {
            (1..4).find(|last| policy.mode([10, 0, 0, *last].into()).is_some()).unwrap()
        };
        timeline.policies(span).iter().map(|policy| known(policy)).collect()
    }

    #[test]
    fn around_a_reload_both_policies_may_judge_and_afterwards_the_new_one() {
        let mut timeline = Timeline::default();
        let start = Instant::now();
        timeline.begin(policy("10.0.0.1"));
        timeline.settle();
        let first = Span::since(Instant::now());
        timeline.begin(policy("10.0.0.2"));
        let during = Span::since(Instant::now());
        assert_eq!(clients(&timeline, first), [1]);
        assert_eq!(clients(&timeline, during), [1, 2]);
        timeline.settle();
        std::thread::sleep(Duration::from_millis(1));
        assert_eq!(clients(&timeline, Span::since(Instant::now())), [2]);
        assert_eq!(clients(&timeline, Span::since(start)), [1, 2]);
    }

    #[test]
    fn a_fault_is_told_of_for_the_time_that_it_touches() {
        let mut timeline = Timeline::default();
        let before = Span::since(Instant::now());
        std::thread::sleep(Duration::from_millis(1));
        timeline.fault(Fault::Link);
        assert!(timeline.had(Fault::Link, Span::since(Instant::now())));
        assert!(!timeline.had(Fault::Outage, Span::since(Instant::now())));
        timeline.heal(Fault::Link);
        std::thread::sleep(Duration::from_millis(1));
        let after = Span::since(Instant::now());
        assert!(!timeline.had(Fault::Link, before) && !timeline.had(Fault::Link, after));
        assert!(timeline.had(Fault::Link, before.with(after)));
    }
}
