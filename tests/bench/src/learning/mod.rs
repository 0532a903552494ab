//! Losses and delays of clients while addresses are learned: clients resolve fresh names and
//! connect at once, through intune-filter and through gateways of usual parts.
//!
//! Every gateway resolves by a dnsmasq of its own. They take turns, so that what disturbs one
//! disturbs the others too.

mod client;
mod element;
mod gateways;
mod learner;

use anyhow::{Result, ensure};

use super::{Bound, Chart, Effort, Findings, Goal, Measurement, Unit};
use client::Turn;
use gateways::{Gateway, Site};

/// Names that a client resolves in one turn at most.
const NAMES: u32 = 20;

/// Measures every gateway.
pub fn run(effort: Effort) -> Result<Findings> {
    let mut findings = Findings::default();
    let mut all = Vec::new();
    for gateway in Gateway::ALL {
        match gateway.obstacle() {
            Some(obstacle) => findings.notes.push(format!("{gateway} was left out: {obstacle}")),
            None => all.push((Site::start(gateway)?, Turn::default())),
        }
    }
    for (site, _) in &all {
        site.check()?;
    }
    let mut next = 1;
    for _ in 0..effort.runs {
        for (site, sum) in &mut all {
            sum.add(site.turn(next..next + NAMES)?);
        }
        next += NAMES;
    }
    let found: Vec<_> = all.iter().map(|(site, sum)| (site.gateway, sum)).collect();
    tell(&found, &mut findings)?;
    Ok(findings)
}

fn tell(found: &[(Gateway, &Turn)], findings: &mut Findings) -> Result<()> {
    let mut lost = Vec::new();
    let mut times = Vec::new();
    let mut usual = None;
    for (gateway, sum) in found {
        ensure!(!sum.answers.is_empty(), "{gateway}: nothing was measured");
        let rounds = sum.answers.len();
        let count = Measurement::new(
            format!("{gateway}: first packets lost of {rounds}"),
            Unit::Count,
            vec![sum.lost as f64],
        );
        if *gateway == Gateway::Filter {
            findings.goals.push(Goal::figure(&count, Bound::AtMost(0.0)));
        }
        lost.push((gateway.to_string(), vec![Some(sum.lost as f64 / rounds as f64)]));
        findings.measurements.push(count);

        let answers = Measurement::times(format!("{gateway}: answer"), sum.answers.iter().copied());
        // What the gateway without a filter takes, which is the first.
        let usual = *usual.get_or_insert(answers.median());
        let added = answers.values().iter().map(|time| time - usual).collect();
        let added = Measurement::new(
            format!("{gateway}: answer, beyond no filter's median"),
            Unit::Time,
            added,
        );
        let figures = [answers.median(), answers.p99(), answers.greatest()];
        times.push((gateway.to_string(), figures.map(Some).to_vec()));
        findings.measurements.push(answers);
        if *gateway != Gateway::Open {
            findings.measurements.push(added);
        }
    }
    findings.charts.push(Chart {
        title: "First packets lost".into(),
        unit: Unit::Share,
        variants: vec![String::new()],
        rows: lost,
    });
    findings.charts.push(Chart {
        title: "How long a client waits for an answer".into(),
        unit: Unit::Time,
        variants: ["median", "99 %", "greatest"].map(str::to_owned).to_vec(),
        rows: times,
    });
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn sum(lost: u32, micros: &[u64]) -> Turn {
        let answers = micros.iter().copied().map(Duration::from_micros).collect();
        Turn { answers, lost }
    }

    #[test]
    fn what_a_filter_adds_is_beyond_the_gateway_without() -> Result<()> {
        let (open, filter) = (sum(0, &[10, 20, 30]), sum(1, &[15, 27, 90]));
        let mut findings = Findings::default();
        tell(&[(Gateway::Open, &open), (Gateway::Filter, &filter)], &mut findings)?;
        let added = findings.measurements.last().unwrap();
        assert_eq!([added.median(), added.greatest()], [7_000.0, 70_000.0], "{}", added.name);
        assert!(!findings.goals[0].is_met(), "a first packet was lost");
        assert_eq!(findings.charts[0].rows[1].1, [Some(1.0 / 3.0)]);
        Ok(())
    }
}
