//! Figures of a report as they are kept in a file, without the runs behind them.

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::{
    Bound, Chart, Findings, Goal, Measurement, Unit, machine::Machine, profile::Profile,
    report::Report,
};

/// A report's figures.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct Figures {
    /// The machine that was measured.
    pub machine: Machine,
    /// The command that measured it.
    pub command: String,
    /// Findings of each benchmark.
    pub benchmarks: Vec<Found>,
}

/// Findings of a benchmark.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct Found {
    /// The benchmark's name.
    pub name: String,
    /// Notes on the figures.
    pub notes: Vec<String>,
    /// Measurements.
    pub measurements: Vec<Measured>,
    /// Goals.
    pub goals: Vec<Aim>,
    /// Profiles: parts of measured times.
    #[serde(default)]
    pub profiles: Vec<Profile>,
    /// Charts with pictures.
    pub charts: Vec<Picture>,
}

/// A measurement's figures.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct Measured {
    /// Name of the measurement.
    pub name: String,
    /// Unit of the figures.
    pub unit: Unit,
    /// Number of runs.
    pub runs: usize,
    /// The smallest figure.
    pub min: f64,
    /// Half of the runs came to no more.
    pub median: f64,
    /// Lower end of the 95 % confidence interval of the median.
    pub median_low: f64,
    /// And at most.
    pub median_high: f64,
    /// Of a hundred runs, 99 came to no more.
    pub p99: f64,
    /// The largest figure.
    pub max: f64,
}

/// A goal, and whether it is met.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct Aim {
    /// Subject of the goal.
    pub name: String,
    /// Unit of the figure.
    pub unit: Unit,
    /// The figure.
    pub value: f64,
    /// Lower end of the figure's 95 % confidence interval.
    pub low: f64,
    /// And at most.
    pub high: f64,
    /// Bound of the figure.
    #[serde(flatten)]
    pub bound: Bound,
    /// Whether the bound is met.
    pub met: bool,
}

/// A chart and the file that it is in.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct Picture {
    /// Title.
    pub title: String,
    /// The file's name.
    pub file: String,
}

impl Figures {
    /// The figure of a goal by its name.
    #[must_use]
    pub fn of_goal(&self, name: &str) -> Option<f64> {
        let mut goals = self.benchmarks.iter().flat_map(|found| &found.goals);
        goals.find(|goal| goal.name == name).map(|goal| goal.value)
    }

    /// The figures of a report.
    #[must_use]
    pub fn of(report: &Report) -> Self {
        let found = report.benchmarks.iter().map(|(name, findings)| Found::of(name, findings));
        Self {
            machine: report.machine.clone(),
            command: report.command.clone(),
            benchmarks: found.collect(),
        }
    }

    /// For programs; times are nanoseconds, shares parts of one.
    #[must_use]
    pub fn json(&self) -> Value {
        json!(self)
    }
}

impl Found {
    fn of(name: &str, findings: &Findings) -> Self {
        let picture =
            |chart: &Chart| Picture { title: chart.title.clone(), file: file(name, chart) };
        Self {
            name: name.to_owned(),
            notes: findings.notes.clone(),
            measurements: findings.measurements.iter().map(Measured::of).collect(),
            goals: findings.goals.iter().map(Aim::of).collect(),
            profiles: findings.profiles.clone(),
            charts: findings.charts.iter().map(picture).collect(),
        }
    }
}

impl Measured {
    fn of(measurement: &Measurement) -> Self {
        let (median_low, median_high) = measurement.interval();
        Self {
            name: measurement.name.clone(),
            unit: measurement.unit,
            runs: measurement.runs(),
            min: measurement.least(),
            median: measurement.median(),
            median_low,
            median_high,
            p99: measurement.p99(),
            max: measurement.greatest(),
        }
    }
}

impl Aim {
    fn of(goal: &Goal) -> Self {
        let (low, high) = goal.interval;
        Self {
            name: goal.name.clone(),
            unit: goal.unit,
            value: goal.value,
            low,
            high,
            bound: goal.bound,
            met: goal.is_met(),
        }
    }

    /// Excess of the figure over its bound; below zero within it.
    #[must_use]
    pub fn excess(&self) -> f64 {
        match self.bound {
            Bound::AtMost(most) => self.value - most,
            Bound::AtLeast(least) => least - self.value,
        }
    }
}

/// The name of a chart's file: the benchmark's, and what the chart shows.
#[must_use]
pub fn file(benchmark: &str, chart: &Chart) -> String {
    let words = chart.title.split(|c: char| !c.is_ascii_alphanumeric());
    let words = words.filter(|word| !word.is_empty()).map(str::to_ascii_lowercase);
    format!("{benchmark}-{}.svg", words.collect::<Vec<_>>().join("-"))
}

#[cfg(test)]
mod tests {
    use super::{super::report::example, *};

    #[test]
    fn figures_are_the_same_when_read_again() {
        let text = serde_json::to_string(&Figures::of(&example())).unwrap();
        let read: Figures = serde_json::from_str(&text).unwrap();
        assert_eq!(read, Figures::of(&example()));
    }

    #[test]
    fn json_has_every_figure_and_goal() {
        let value = Figures::of(&example()).json();
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
    fn a_file_is_named_after_its_benchmark_and_title() {
        let chart = Chart {
            title: "Answers, p99 (IPv4)".into(),
            unit: Unit::Time,
            variants: Vec::new(),
            rows: Vec::new(),
        };
        assert_eq!(file("dns", &chart), "dns-answers-p99-ipv4.svg");
    }

    #[test]
    fn the_excess_is_what_is_beyond_the_bound() {
        let aim = |value: f64, bound| {
            let one = Measurement::new("", Unit::Ratio, vec![value]);
            Aim::of(&Goal::figure(&one, bound)).excess()
        };
        assert!(aim(2.0, Bound::AtMost(1.0)) > aim(1.5, Bound::AtMost(1.0)));
        assert!(aim(2.0, Bound::AtLeast(5.0)) > aim(4.0, Bound::AtLeast(5.0)));
        assert!(aim(1.0, Bound::AtMost(1.5)) < 0.0);
    }
}
