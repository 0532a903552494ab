//! Tells what was measured: a table for people, or JSON.

use std::{fmt, time::Duration};

use serde_json::{Value, json};

use super::{Measurement, machine::Machine};

/// Measurements of one machine.
#[derive(Clone, Debug)]
pub struct Report {
    /// The machine.
    pub machine: Machine,
    /// What was measured.
    pub measurements: Vec<Measurement>,
}

impl Report {
    /// For programs; times in microseconds.
    #[must_use]
    pub fn json(&self) -> Value {
        let micros = |time: Duration| time.as_nanos() as f64 / 1000.0;
        let measurements = self.measurements.iter().map(|measurement| {
            json!({
                "name": measurement.name,
                "runs": measurement.runs(),
                "min_us": micros(measurement.shortest()),
                "median_us": micros(measurement.median()),
                "p99_us": micros(measurement.p99()),
                "max_us": micros(measurement.longest()),
            })
        });
        json!({ "machine": self.machine, "measurements": measurements.collect::<Vec<_>>() })
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Machine { processor, processors, memory_kib, kernel, profile } = &self.machine;
        writeln!(
            f,
            "{processors} x {processor}, {} MiB, Linux {kernel}, {profile} build\n",
            memory_kib / 1024
        )?;
        let names = self.measurements.iter().map(|measurement| measurement.name.chars().count());
        let width = names.max().unwrap_or_default();
        let [runs, min, median, p99, max] = ["RUNS", "MIN", "MEDIAN", "P99", "MAX"];
        writeln!(f, "{:width$}  {runs:>6}  {min:>10}  {median:>10}  {p99:>10}  {max:>10}", "WHAT")?;
        for measurement in &self.measurements {
            writeln!(
                f,
                "{:width$}  {:>6}  {:>10}  {:>10}  {:>10}  {:>10}",
                measurement.name,
                measurement.runs(),
                text(measurement.shortest()),
                text(measurement.median()),
                text(measurement.p99()),
                text(measurement.longest()),
            )?;
        }
        Ok(())
    }
}

/// A time with three or four digits and its unit.
fn text(time: Duration) -> String {
    let nanos = time.as_nanos() as f64;
    match nanos {
        0.0..1e4 => format!("{nanos:.0} ns"),
        1e4..1e7 => format!("{:.1} us", nanos / 1e3),
        1e7..1e10 => format!("{:.1} ms", nanos / 1e6),
        _ => format!("{:.1} s", nanos / 1e9),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report() -> Report {
        let times = [9, 1, 3].map(Duration::from_millis).to_vec();
        Report {
            machine: Machine {
                processor: "Abacus".into(),
                processors: 2,
                memory_kib: 2048,
                kernel: "6.1.0".into(),
                profile: "release",
            },
            measurements: vec![Measurement::new("counting beads", times)],
        }
    }

    #[test]
    fn the_table_names_the_machine_and_each_measurement() {
        assert_eq!(
            report().to_string(),
            "2 x Abacus, 2 MiB, Linux 6.1.0, release build\n\n\
             WHAT              RUNS         MIN      MEDIAN         P99         MAX\n\
             counting beads       3   1000.0 us   3000.0 us   9000.0 us   9000.0 us\n"
        );
    }

    #[test]
    fn json_has_microseconds() {
        let value = report().json();
        assert_eq!(value["machine"]["processor"], "Abacus");
        let one = &value["measurements"][0];
        assert_eq!((&one["name"], &one["runs"]), (&json!("counting beads"), &json!(3)));
        assert_eq!((&one["median_us"], &one["p99_us"]), (&json!(3000.0), &json!(9000.0)));
    }

    #[test]
    fn times_have_the_unit_that_fits() {
        for (nanos, expected) in [
            (999, "999 ns"),
            (12_340, "12.3 us"),
            (12_340_000, "12.3 ms"),
            (12_340_000_000, "12.3 s"),
        ] {
            assert_eq!(text(Duration::from_nanos(nanos)), expected);
        }
    }
}
