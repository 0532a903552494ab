//! Profiles: what makes up the time that something takes.

use serde::{Deserialize, Serialize};

use super::{measurement::Unit, text::text};

/// Above the columns of [`Profile::rows`].
pub const HEAD: [&str; 4] = ["operation", "each", "times", "in all"];

/// Parts of a time. All times are nanoseconds.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct Profile {
    /// Subject of the profile.
    pub name: String,
    /// Its parts, in their order.
    pub parts: Vec<Part>,
    /// Sum of the parts.
    pub sum: f64,
    /// Time of the whole, measured in the same runs.
    pub whole: f64,
    /// Rest that no part explains. Below zero if parts overlap.
    pub rest: f64,
    /// Bound of the whole, if there is one.
    pub allowed: Option<f64>,
}

/// A part of what takes a time.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct Part {
    /// Name of the operation.
    pub name: String,
    /// Time of one execution.
    pub each: f64,
    /// Number of executions.
    pub times: u32,
}

impl Part {
    /// Time of all executions.
    #[must_use]
    pub fn in_all(&self) -> f64 {
        self.each * f64::from(self.times)
    }
}

impl Profile {
    /// A profile of parts that were measured by themselves, and of the whole.
    #[must_use]
    pub fn new(name: String, parts: Vec<Part>, whole: f64, allowed: Option<f64>) -> Self {
        let sum = parts.iter().map(Part::in_all).sum();
        Self { name, parts, sum, whole, rest: whole - sum, allowed }
    }

    /// For a table: the parts, and what they come to.
    #[must_use]
    pub fn rows(&self) -> Vec<[String; 4]> {
        let time = |nanos| text(Unit::Time, nanos);
        let part = |part: &Part| {
            [part.name.clone(), time(part.each), part.times.to_string(), time(part.in_all())]
        };
        let total =
            |name: &str, nanos| [name.to_owned(), String::new(), String::new(), time(nanos)];
        let mut rows: Vec<_> = self.parts.iter().map(part).collect();
        rows.push(total("all of these", self.sum));
        rows.push(total("what the filter took", self.whole));
        rows.push(total("what remains: its own instructions, misses between", self.rest));
        rows.extend(self.allowed.map(|nanos| total("what the goal allows", nanos)));
        rows
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_tell_each_part_what_they_come_to_and_what_remains() {
        let part = |name: &str, each, times| Part { name: name.to_owned(), each, times };
        let parts = vec![part("look", 20.0, 2), part("leap", 35.0, 1)];
        let profile = Profile::new("a frog".to_owned(), parts, 100.0, Some(50.0));
        let rows = profile.rows();
        let cells: Vec<[&str; 4]> =
            rows.iter().map(|row| row.each_ref().map(String::as_str)).collect();
        assert_eq!(cells[..2], [["look", "20 ns", "2", "40 ns"], ["leap", "35 ns", "1", "35 ns"]]);
        let totals: Vec<&str> = cells[2..].iter().map(|row| row[3]).collect();
        assert_eq!(totals, ["75 ns", "100 ns", "25 ns", "50 ns"]);
    }
}
