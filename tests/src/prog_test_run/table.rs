//! Rows of a table: a packet, the verdict that it has to get, and the counters that move.

use intune_filter_ebpf::abi::{
    Counted, Counter, Explanation, Matched, Occurrence, Reason, RuleCounter,
};

use super::{
    Addresses, Bed,
    filter::HookPoint,
    rows,
    show::Shown,
    site::{LAN, OTHER},
    state::{Event, State, count_text, rule_text},
};

/// A packet and what has to become of it.
#[derive(Clone, Debug)]
pub struct Row {
    /// Description of the packet.
    pub description: String,
    /// Hook point at which the packet is judged.
    pub point: HookPoint,
    /// The packet.
    pub frame: Vec<u8>,
    /// Expected verdict, counters and records.
    pub expected: Expected,
}

/// A verdict, and what is counted.
#[derive(Clone, Debug)]
pub struct Expected {
    /// Reason of the verdict.
    pub reason: Reason,
    rule: Option<&'static str>,
    matched: Matched,
    audited: bool,
    answered: Option<&'static str>,
    silent: bool,
    partial: bool,
    flowless: bool,
    also: Vec<(Occurrence, u64)>,
}

/// The verdict for this reason.
#[must_use]
pub fn expect(reason: Reason) -> Expected {
    let matched = match reason {
        Reason::Flow | Reason::FragmentAllowed => Matched::Flow,
        Reason::Policy => Matched::Cidr,
        reason if reason.denies() => Matched::Nothing,
        _ => Matched::Builtin,
    };
    Expected {
        reason,
        rule: None,
        matched,
        audited: false,
        answered: None,
        silent: false,
        partial: false,
        flowless: false,
        also: Vec::new(),
    }
}

impl Expected {
    /// The rule that allows it, or whose destination it is.
    #[must_use]
    pub const fn rule(mut self, rule: &'static str) -> Self {
        self.rule = Some(rule);
        self
    }

    /// Allowed because of a learned name.
    #[must_use]
    pub const fn by_name(mut self) -> Self {
        self.matched = Matched::Name;
        self
    }

    /// Expects the packet to pass all the same, since its group is audited.
    #[must_use]
    pub const fn audited(mut self) -> Self {
        self.audited = true;
        self
    }

    /// Expects the answer REFUSED.
    #[must_use]
    pub const fn refused(mut self) -> Self {
        self.answered = Some("answered REFUSED");
        self
    }

    /// Expects the answer NXDOMAIN.
    #[must_use]
    pub const fn no_name(mut self) -> Self {
        self.answered = Some("answered NXDOMAIN");
        self
    }

    /// Expects the answer that the name has no such data.
    #[must_use]
    pub const fn no_data(mut self) -> Self {
        self.answered = Some("answered without data");
        self
    }

    /// Its sender is told.
    #[must_use]
    pub const fn rejected(mut self) -> Self {
        self.answered = Some("answered");
        self
    }

    /// Expects no record: half a header, or a forged source, is of no use to a reader.
    #[must_use]
    pub const fn silent(mut self) -> Self {
        self.silent = true;
        self
    }

    /// Expects a part of an answer over TCP, of which userspace gets a copy.
    #[must_use]
    pub const fn partial(mut self) -> Self {
        self.partial = true;
        self
    }

    /// Expects no flow, though packets of the kind open one.
    #[must_use]
    pub const fn flowless(mut self) -> Self {
        self.flowless = true;
        self
    }

    /// Counted beside the verdict, with this many octets of message.
    #[must_use]
    pub fn and(mut self, occurrence: Occurrence, bytes: usize) -> Self {
        self.also.push((occurrence, bytes as u64));
        self
    }

    /// Whether the packet passes.
    #[must_use]
    pub const fn passes(&self) -> bool {
        self.audited || !self.reason.denies()
    }

    fn fate(&self) -> &'static str {
        self.answered.unwrap_or(if self.passes() { "passed" } else { "dropped" })
    }

    /// As [`State::counted_since`] tells it.
    fn counted(&self, row: &Row, taken_off: usize) -> Vec<String> {
        let bytes = (row.frame.len() - taken_off) as u64;
        let reason = if self.audited { Reason::Audit } else { self.reason };
        let also = self.also.iter().map(|(occurrence, bytes)| ((*occurrence).into(), *bytes));
        let mut all: Vec<(Counted, u64)> = also.chain([(reason.into(), bytes)]).collect();
        all.sort_by_key(|(counted, _)| counted.counter());
        let mut counted: Vec<String> = all
            .into_iter()
            .filter_map(|(counted, bytes)| count_text(counted, Counter { packets: 1, bytes }))
            .collect();
        if let Some(rule) = self.rule {
            let of_packet = RuleCounter { packets: 1, bytes, ..RuleCounter::default() };
            let counter = match self.reason {
                Reason::Policy | Reason::Inbound if !self.flowless => {
                    RuleCounter { flows: 1, ..of_packet }
                }
                reason if reason.denies() && self.audited => {
                    RuleCounter { audited: 1, ..RuleCounter::default() }
                }
                reason if reason.denies() => RuleCounter { denied: 1, ..RuleCounter::default() },
                _ => of_packet,
            };
            counted.extend(rule_text(rule, counter));
        }
        counted
    }

    /// As [`Explanation`] tells it, less the group.
    fn explanation(&self) -> String {
        let rule = self.rule.unwrap_or("no rule");
        format!("{} {rule} {:?}", self.reason.as_str(), self.matched)
    }

    /// The records that it makes.
    fn reports(&self) -> Vec<String> {
        let learned = |what| {
            use Occurrence::{AnswerConflict, HostsFull, Learned};
            matches!(what, Learned | HostsFull | AnswerConflict)
        };
        let mut reports = Vec::new();
        if self.also.iter().any(|(occurrence, _)| learned(*occurrence)) {
            reports.push("answer".to_owned());
        }
        if self.partial {
            reports.push("segment".to_owned());
        }
        if self.reason.denies() && self.reason != Reason::DnsPunted && !self.silent {
            let audited = if self.audited { ", audited" } else { "" };
            reports.push(format!("denied {}{audited}", self.reason.as_str()));
        }
        reports
    }
}

/// A packet from a client on the LAN's interface.
#[must_use]
pub fn from_client(description: impl Into<String>, frame: Vec<u8>, expected: Expected) -> Row {
    Row { description: description.into(), point: HookPoint::Ingress(LAN), frame, expected }
}

/// A packet that is forwarded to a client on the LAN's interface.
#[must_use]
pub fn to_client(description: impl Into<String>, frame: Vec<u8>, expected: Expected) -> Row {
    Row { description: description.into(), point: HookPoint::Egress(LAN), frame, expected }
}

/// The rows of both address families.
pub fn both(rows: impl Fn(&Addresses) -> Vec<Row>) -> Vec<Row> {
    let mut all = Vec::new();
    for who in Addresses::both() {
        let named =
            |row: Row| Row { description: format!("{}: {}", who.family(), row.description), ..row };
        all.extend(rows(&who).into_iter().map(named));
    }
    all
}

impl Row {
    /// The row on the other interface.
    #[must_use]
    pub const fn on_other(mut self) -> Self {
        self.point = match self.point {
            HookPoint::Ingress(_) => HookPoint::Ingress(OTHER),
            HookPoint::Egress(_) => HookPoint::Egress(OTHER),
            HookPoint::EgressFrom(_, from) => HookPoint::EgressFrom(OTHER, from),
            HookPoint::EgressOfGateway(_) => HookPoint::EgressOfGateway(OTHER),
        };
        self
    }

    /// The row sent by the gateway itself.
    #[must_use]
    pub const fn sent_by_gateway(mut self) -> Self {
        if let HookPoint::Egress(interface) = self.point {
            self.point = HookPoint::EgressOfGateway(interface);
        }
        self
    }

    /// The row forwarded from another device than the usual one.
    #[must_use]
    pub const fn came_by(mut self, device: &'static str) -> Self {
        if let HookPoint::Egress(interface) = self.point {
            self.point = HookPoint::EgressFrom(interface, device);
        }
        self
    }

    /// The row forwarded from the LAN's interface.
    #[must_use]
    pub const fn came_by_lan(self) -> Self {
        self.came_by(LAN)
    }

    /// The row, of a packet whose rule this is.
    #[must_use]
    pub const fn ruled(mut self, rule: &'static str) -> Self {
        self.expected.rule = Some(rule);
        self
    }

    /// Whether the packet comes in.
    #[must_use]
    pub const fn is_ingress(&self) -> bool {
        matches!(self.point, HookPoint::Ingress(_))
    }

    /// Everything that is not as expected.
    fn faults(&self, filter: &mut dyn Bed) -> anyhow::Result<Vec<String>> {
        let mut faults = Vec::new();
        let mut compare = |what: &str, got: String, expected: String| {
            if got != expected {
                faults.push(format!("  {what}: got {got}, expected {expected}"));
            }
        };
        if let HookPoint::Ingress(interface) = self.point {
            let before = filter.state()?;
            let explanation = filter.explain(interface, &self.frame)?;
            let got = explanation_text(filter, &explanation);
            compare("explain", got, self.expected.explanation());
            let after = filter.state()?;
            let changed = after.changed_since(&before);
            compare("explain changes", changed.join("; "), String::new());
            let counted = counted(filter, &before, &after);
            compare("explain counts", counted.join("; "), String::new());
            compare("explain reports", format!("{:?}", filter.events()), "[]".to_owned());
        }
        let taken_off = filter.taken_off();
        let whats = ["verdict", "counted", "reported"];
        for ((what, got), expected) in
            whats.into_iter().zip(self.observe(filter)?).zip(self.prediction_without(taken_off))
        {
            compare(what, got, expected);
        }
        Ok(faults)
    }

    /// Has the frame judged: the verdict, what was counted, what was reported.
    pub fn observe(&self, filter: &mut dyn Bed) -> anyhow::Result<[String; 3]> {
        let row = (self.description.as_str(), self.point, self.frame.as_slice());
        let shown = Shown::begin(filter, row, self.expected.reason)?;
        let before = filter.counted()?;
        let judged = filter.judge(self.point, &self.frame)?;
        let fate = judged.text();
        let counted = counted(filter, &before, &filter.counted()?);
        let events = filter.events();
        if let Some(shown) = shown {
            shown.end(filter, &judged, &events)?;
        }
        let reports: Vec<String> = events.iter().filter_map(Event::told).collect();
        Ok([fate.to_owned(), counted.join("; "), reports.join("; ")])
    }

    /// Expected result of [`Self::observe`].
    #[must_use]
    pub fn prediction(&self) -> [String; 3] {
        self.prediction_without(0)
    }

    /// The same where the first octets of frames are not judged.
    fn prediction_without(&self, octets: usize) -> [String; 3] {
        let counted = self.expected.counted(self, octets).join("; ");
        [self.expected.fate().to_owned(), counted, self.expected.reports().join("; ")]
    }
}

/// What was counted, but for records that were left out: how much is told depends on what was told of
/// within the last second.
fn counted(filter: &dyn Bed, before: &State, after: &State) -> Vec<String> {
    let mut counted = after.counted_since(before, |rule| filter.rule_name(rule));
    use Occurrence::{EventRepeated, EventSuppressed, NameSuppressed};
    let left_out = [EventRepeated, EventSuppressed, NameSuppressed].map(Occurrence::as_str);
    counted.retain(|line| line.split(' ').next().is_none_or(|word| !left_out.contains(&word)));
    counted
}

fn explanation_text(filter: &dyn Bed, explanation: &Explanation) -> String {
    let rule = explanation.rule.map(|rule| filter.rule_name(rule));
    let rule = rule.as_deref().unwrap_or("no rule");
    format!("{} {rule} {:?}", explanation.reason.as_str(), explanation.matched)
}

/// Checks rows that have nothing to do with each other: each begins with empty maps.
pub fn check(filter: &mut dyn Bed, rows: &[Row]) {
    check_rows(filter, rows, true);
}

/// Checks rows that follow each other, from empty maps on.
pub fn check_in_order(filter: &mut dyn Bed, rows: &[Row]) {
    filter.clear().expect("the maps can be emptied");
    check_on(filter, rows);
}

/// Checks rows that follow what has happened before.
pub fn check_on(filter: &mut dyn Bed, rows: &[Row]) {
    check_rows(filter, rows, false);
}

fn check_rows(filter: &mut dyn Bed, table: &[Row], apart: bool) {
    let mut report = String::new();
    for row in table {
        if apart {
            filter.clear().expect("the maps can be emptied");
        }
        if !filter.takes(row.point, &row.frame) {
            continue;
        }
        rows::note(&row.description);
        let faults = row.faults(filter).unwrap_or_else(|error| vec![format!("  {error:#}")]);
        if !faults.is_empty() {
            report += &format!("{} ({:?})\n{}\n", row.description, row.point, faults.join("\n"));
        }
    }
    assert!(report.is_empty(), "rows that are not as expected:\n{report}");
}
