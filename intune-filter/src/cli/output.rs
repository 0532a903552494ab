//! Formats output: aligned columns for people, JSON for programs.

use std::fmt::Write as _;

pub(crate) use crate::report::to_text as json;

/// Formats rows in columns as wide as necessary, two spaces apart, without trailing spaces.
#[must_use]
pub(super) fn table<const COLUMNS: usize>(
    header: [&str; COLUMNS],
    rows: &[[String; COLUMNS]],
) -> String {
    let mut widths = header.map(|cell| cell.chars().count());
    for row in rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = cell.chars().count().max(*width);
        }
    }
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
        line(row.each_ref().map(String::as_str));
    }
    text
}

/// Formats a number of octets for people.
#[must_use]
pub(super) fn octets(number: u64) -> String {
    let mut value = number as f64 / 1024.0;
    if value < 1.0 {
        return format!("{number} B");
    }
    for unit in ["KiB", "MiB", "GiB"] {
        if value < 1024.0 {
            return format!("{value:.1} {unit}");
        }
        value /= 1024.0;
    }
    format!("{value:.1} TiB")
}

/// Formats a number of seconds for people.
#[must_use]
pub(super) fn seconds(number: u64) -> String {
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
