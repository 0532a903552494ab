//! Implements `explain CLIENT DST`: shows whether a client may reach a destination, and the reason.

mod capture;
mod fix;
mod fragment;
mod judge;
mod lookup;
mod nearest;
mod packet;
mod remedy;
mod report;
mod teaching;
mod text;
mod verdicts;

pub(super) use capture::run as run_capture;
pub(super) use verdicts::Question;

use super::{
    args::Global,
    context,
    error::{ExitStatus, Failure},
    output, subject,
};

/// Runs the command.
pub(super) fn run(
    global: &Global,
    question: &Question<'_>,
) -> Result<(ExitStatus, String), Failure> {
    let subject = subject::find(global)?;
    let names = context::names(&subject.paths);
    let mut lookup = None;
    let mut report = verdicts::explain(&subject, &names, question, &mut lookup)?;
    let mut known = remedy::Known { names: &names, lookup: &mut lookup };
    remedy::find(&subject, &mut known, question, &mut report);
    let denied = report
        .overall()
        .is_none_or(|one| if question.strict { one.policy_denies() } else { one.denies() });
    let text = if global.json { output::json(&report.to_json())? } else { report.to_text() };
    Ok((if denied { ExitStatus::No } else { ExitStatus::Yes }, text))
}
