//! Tells what was measured: a table for people, or JSON.

use std::fmt;

use serde_json::{Value, json};

use super::{Bound, Findings, Goal, Unit, figures::Figures, machine::Machine, profile};

/// What the benchmarks have found on one machine.
#[derive(Clone, Debug)]
pub struct Report {
    /// The machine.
    pub machine: Machine,
    /// The command that they were run by.
    pub command: String,
    /// Each benchmark's name and findings.
    pub benchmarks: Vec<(&'static str, Findings)>,
}

impl Report {
    /// Every goal.
    pub fn goals(&self) -> impl Iterator<Item = &Goal> {
        self.benchmarks.iter().flat_map(|(_, findings)| &findings.goals)
    }

    /// For programs; times are nanoseconds, shares parts of one.
    #[must_use]
    pub fn json(&self) -> Value {
        json!(Figures::of(self))
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}", self.machine)?;
        for (name, findings) in &self.benchmarks {
            writeln!(f, "\n{name}")?;
            for note in &findings.notes {
                writeln!(f, "note: {note}")?;
            }
            if findings.measurements.is_empty() {
                continue;
            }
            let measurements = findings.measurements.iter();
            let rows = measurements.map(|one| {
                let (low, high) = one.interval();
                [
                    one.name.clone(),
                    one.runs().to_string(),
                    text(one.unit, one.least()),
                    text(one.unit, one.median()),
                    format!("{} .. {}", text(one.unit, low), text(one.unit, high)),
                    text(one.unit, one.p99()),
                    text(one.unit, one.greatest()),
                ]
            });
            let head = ["WHAT", "RUNS", "MIN", "MEDIAN", "95 % OF MEDIANS", "P99", "MAX"];
            table(f, head, rows.collect())?;
            for profile in &findings.profiles {
                writeln!(f, "\nprofile of {}", profile.name)?;
                table(
                    f,
                    profile::HEAD.map(str::to_uppercase).each_ref().map(String::as_str),
                    profile.rows(),
                )?;
            }
            if findings.goals.is_empty() {
                continue;
            }
            let rows = findings.goals.iter().map(|goal| {
                let (low, high) = goal.interval;
                [
                    goal.name.clone(),
                    text(goal.unit, goal.value),
                    format!("{} .. {}", text(goal.unit, low), text(goal.unit, high)),
                    limit(goal.unit, goal.bound),
                    (if goal.is_met() { "yes" } else { "NO" }).to_owned(),
                ]
            });
            writeln!(f)?;
            table(f, ["GOAL", "IS", "95 %", "IS TO BE", "MET"], rows.collect())?;
        }
        Ok(())
    }
}

/// What a goal's figure is to be.
#[must_use]
pub fn limit(unit: Unit, bound: Bound) -> String {
    match bound {
        Bound::AtMost(most) => format!("<= {}", text(unit, most)),
        Bound::AtLeast(least) => format!(">= {}", text(unit, least)),
    }
}

/// The first column to the left, the others to the right.
fn table<const N: usize>(
    f: &mut fmt::Formatter<'_>,
    head: [&str; N],
    rows: Vec<[String; N]>,
) -> fmt::Result {
    let head = head.map(str::to_owned);
    let mut widths = head.clone().map(|cell| cell.len());
    for row in &rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(cell.chars().count());
        }
    }
    for row in std::iter::once(&head).chain(&rows) {
        for (column, (cell, width)) in row.iter().zip(widths).enumerate() {
            match column {
                0 => write!(f, "{cell:width$}")?,
                _ => write!(f, "  {cell:>width$}")?,
            }
        }
        writeln!(f)?;
    }
    Ok(())
}

/// A figure with three or four digits and its unit.
#[must_use]
pub fn text(unit: Unit, value: f64) -> String {
    match unit {
        Unit::Time => time(value),
        Unit::Rate => scaled(value, 1e3, &["/s", " k/s", " M/s", " G/s"]),
        Unit::Memory => scaled(value, 1024.0, &[" B", " KiB", " MiB", " GiB"]),
        Unit::Share => format!("{:.2} %", value * 100.0),
        Unit::Ratio => format!("{value:.2}"),
        Unit::Count => format!("{value:.0}"),
    }
}

fn time(nanos: f64) -> String {
    match nanos {
        // Less than what it is compared with.
        ..0.0 => format!("-{}", time(-nanos)),
        ..1e4 => format!("{nanos:.0} ns"),
        1e4..1e7 => format!("{:.1} us", nanos / 1e3),
        1e7..1e10 => format!("{:.1} ms", nanos / 1e6),
        _ => format!("{:.1} s", nanos / 1e9),
    }
}

fn scaled(mut value: f64, step: f64, units: &[&str]) -> String {
    let mut names = units.iter();
    let mut name = names.next();
    while value >= step
        && let Some(next) = names.next()
    {
        value /= step;
        name = Some(next);
    }
    let digits = if value < 100.0 && value.fract() != 0.0 { 2 } else { 0 };
    format!("{value:.digits$}{}", name.copied().unwrap_or_default())
}

#[cfg(test)]
pub(super) fn example() -> Report {
    let times = [9, 1, 3].map(std::time::Duration::from_millis);
    let beads = super::Measurement::times("counting beads", times);
    let goal = Goal::figure(&beads, Bound::AtMost(1e6));
    Report {
        machine: Machine {
            processor: "Abacus".into(),
            processors: 2,
            memory_kib: 2048,
            kernel: "6.1.0".into(),
            profile: "release".into(),
        },
        command: "cargo xtask bench beads".into(),
        benchmarks: vec![(
            "beads",
            Findings {
                measurements: vec![beads],
                goals: vec![goal],
                charts: vec![super::Chart {
                    title: "Beads".into(),
                    unit: Unit::Time,
                    variants: vec!["red".into(), "<blue>".into()],
                    rows: vec![
                        ("counted".into(), vec![Some(3e6), None]),
                        ("guessed".into(), vec![Some(2e3), Some(1e3)]),
                    ],
                }],
                profiles: vec![super::profile::Profile::new(
                    "counting".into(),
                    vec![super::profile::Part { name: "push a bead".into(), each: 1e6, times: 2 }],
                    3e6,
                    None,
                )],
                notes: vec!["no child was at hand".into()],
            },
        )],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_names_the_machine_each_measurement_and_each_goal() {
        let text = example().to_string();
        let lines: Vec<Vec<&str>> =
            text.lines().map(|line| line.split_whitespace().collect()).collect();
        let of = |words: &[&str]| lines.iter().find(|line| line.starts_with(words));
        assert!(of(&["2", "x", "Abacus,", "2", "MiB,", "Linux", "6.1.0,"]).is_some(), "{text}");
        assert!(of(&["beads"]).is_some(), "{text}");
        assert!(of(&["counting", "beads", "3", "1000.0", "us"]).is_some(), "{text}");
        let goal = of(&["counting", "beads", "3000.0", "us"]);
        assert!(goal.is_some_and(|goal| goal.ends_with(&["NO"])), "{text}");
        assert!(text.contains("<= 1000.0 us"), "{text}");
        assert!(of(&["profile", "of", "counting"]).is_some(), "{text}");
        assert!(
            of(&["push", "a", "bead", "1000.0", "us", "2", "2000.0", "us"]).is_some(),
            "{text}"
        );
    }

    #[test]
    fn json_has_every_figure_and_goal() {
        let value = example().json();
        assert_eq!(value["machine"]["processor"], "Abacus");
        let one = &value["benchmarks"][0]["measurements"][0];
        assert_eq!((&one["name"], &one["runs"]), (&json!("counting beads"), &json!(3)));
        assert_eq!((&one["median"], &one["unit"]), (&json!(3e6), &json!("ns")));
        let goal = &value["benchmarks"][0]["goals"][0];
        assert_eq!((&goal["at_most"], &goal["met"]), (&json!(1e6), &json!(false)));
        let profile = &value["benchmarks"][0]["profiles"][0];
        assert_eq!((&profile["sum"], &profile["rest"]), (&json!(2e6), &json!(1e6)));
    }

    #[test]
    fn figures_have_the_unit_that_fits() {
        for (unit, value, expected) in [
            (Unit::Time, 999.0, "999 ns"),
            (Unit::Time, 12_340.0, "12.3 us"),
            (Unit::Time, -12_340.0, "-12.3 us"),
            (Unit::Time, 12_340_000.0, "12.3 ms"),
            (Unit::Time, 12_340_000_000.0, "12.3 s"),
            (Unit::Rate, 1_204_000.0, "1.20 M/s"),
            (Unit::Rate, 590_000.0, "590 k/s"),
            (Unit::Memory, 31_457_280.0, "30 MiB"),
            (Unit::Share, 0.001, "0.10 %"),
            (Unit::Ratio, 1.249, "1.25"),
            (Unit::Count, 3.0, "3"),
        ] {
            assert_eq!(text(unit, value), expected);
        }
    }
}
