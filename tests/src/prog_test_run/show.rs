//! Rows on request, for `cargo xtask packet`: [`VARIABLE`] names a row whose judgement is printed; if
//! it is empty, the names of all rows are.

use std::{env, fmt::Write as _, thread};

use anyhow::Result;
use intune_filter_ebpf::abi::{Explanation, Reason};

use super::{
    Bed,
    fate::Fate,
    filter::HookPoint,
    state::{Event, State},
};

/// Environment variable with the request.
pub const VARIABLE: &str = "INTUNE_PACKET";
/// Prefix of a line that names a row.
pub const NAME: &str = "row: ";
/// Prefix of a line that is part of a judgement.
pub const LINE: &str = "packet: ";

/// A row's description, its place, and its frame.
type Row<'r> = (&'r str, HookPoint, &'r [u8]);

/// A row that is wanted, and what is known before it is judged.
#[derive(Debug)]
pub struct Shown<'r> {
    row: Row<'r>,
    expected: Reason,
    before: State,
    explanation: Option<Explanation>,
}

impl<'r> Shown<'r> {
    /// Names the row if names are wanted; begins to show it if it is the one that is wanted.
    pub fn begin(bed: &dyn Bed, row: Row<'r>, expected: Reason) -> Result<Option<Self>> {
        let Ok(wanted) = env::var(VARIABLE) else { return Ok(None) };
        let (description, point, frame) = row;
        if wanted.is_empty() {
            let thread = thread::current();
            println!("{NAME}{}: {description}", thread.name().unwrap_or("main"));
        }
        if wanted != description {
            return Ok(None);
        }
        let explanation = match point {
            HookPoint::Ingress(interface) => bed.explain(interface, frame).ok(),
            _ => None,
        };
        Ok(Some(Self { row, expected, before: bed.state()?, explanation }))
    }

    /// Prints what became of the row.
    pub fn end(self, bed: &dyn Bed, fate: &Fate, events: &[Event]) -> Result<()> {
        let (description, point, frame) = self.row;
        let after = bed.state()?;
        let mut text = String::new();
        let mut line = |what: &str, value: String| {
            let value = if value.is_empty() { "none".to_owned() } else { value };
            writeln!(text, "{LINE}{what:<10}{value}")
        };
        line("row", description.to_owned())?;
        line("frame", format!("{} octets, {point:?}", frame.len()))?;
        line("verdict", verdict(fate))?;
        if let Some(explanation) = self.explanation {
            let name = |group| bed.policy().groups.get(usize::from(group)).map(|one| &one.name);
            let group = explanation.group.and_then(name).map_or("none", String::as_str);
            let rule = explanation.rule.map_or("none".to_owned(), |rule| bed.rule_name(rule));
            line("reason", explanation.reason.as_str().to_owned())?;
            line("because", format!("{:?}, rule {rule}, group {group}", explanation.matched))?;
        }
        line("expected", self.expected.as_str().to_owned())?;
        let counted = after.counted_since(&self.before, |rule| bed.rule_name(rule));
        line("counters", counted.join("; "))?;
        line("events", events.iter().map(event).collect::<Vec<_>>().join("; "))?;
        line("changes", after.changed_since(&self.before).join("; "))?;
        println!("{}", text.trim_end());
        Ok(())
    }
}

fn verdict(fate: &Fate) -> String {
    match fate {
        Fate::Passed => "passed".to_owned(),
        Fate::Dropped => "dropped".to_owned(),
        // The host makes no answers.
        Fate::Answered(answer) if answer.is_empty() => "answered".to_owned(),
        Fate::Answered(answer) => format!("answered: {answer:02x?}"),
    }
}

fn event(event: &Event) -> String {
    match event {
        Event::Flow(flow) => format!("{flow:?}"),
        other => other.told().unwrap_or_default(),
    }
}
