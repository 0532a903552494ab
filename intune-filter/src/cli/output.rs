//! How commands print: aligned columns for people, JSON for programs.

use std::fmt::Write as _;

pub(crate) use crate::report::to_text as json;

/// Rows in columns as wide as they need, two spaces apart, no space at the end of a line.
#[must_use]
pub fn table<const COLUMNS: usize>(header: [&str; COLUMNS], rows: &[[String; COLUMNS]]) -> String {
    let width = |column: usize| {
        let cells = rows.iter().map(|row| row[column].chars().count());
        cells.chain([header[column].chars().count()]).max().unwrap_or_default()
    };
    let widths: [usize; COLUMNS] = std::array::from_fn(width);
    let mut text = String::new();
    let mut line = |cells: [&str; COLUMNS]| {
        let mut row = String::new();
        for (cell, width) in cells.iter().zip(widths) {
            let _ = write!(row, "{cell:width$}  ");
        }
        text.push_str(row.trim_end());
        text.push('\n');
    };
    line(header);
    for row in rows {
        line(std::array::from_fn(|column| row[column].as_str()));
    }
    text
}

/// A number of octets, as people read it.
#[must_use]
pub fn octets(number: u64) -> String {
    const UNITS: [&str; 5] = ["B", "KiB", "MiB", "GiB", "TiB"];
    let mut value = number as f64;
    let mut unit = 0;
    while value >= 1024.0 && unit + 1 < UNITS.len() {
        value /= 1024.0;
        unit += 1;
    }
    if unit == 0 { format!("{number} B") } else { format!("{value:.1} {}", UNITS[unit]) }
}

/// A number of seconds, as people read it.
#[must_use]
pub fn seconds(number: u64) -> String {
    match number {
        0..=119 => format!("{number} s"),
        120..=7199 => format!("{} min", number / 60),
        7200..=172_799 => format!("{} h", number / 3600),
        _ => format!("{} d", number / 86_400),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_as_wide_as_their_widest_cell() {
        let rows = [["a".into(), "long cell".into()], ["é".into(), String::new()]];
        assert_eq!(table(["ID", "TEXT"], &rows), "ID  TEXT\na   long cell\né\n");
    }

    #[test]
    fn numbers_are_for_people() {
        assert_eq!(octets(1023), "1023 B");
        assert_eq!(octets(1536), "1.5 KiB");
        assert_eq!(octets(u64::MAX), "16777216.0 TiB");
        assert_eq!(
            [seconds(119), seconds(120), seconds(7200), seconds(172_800)],
            ["119 s", "2 min", "2 h", "2 d"]
        );
    }
}
