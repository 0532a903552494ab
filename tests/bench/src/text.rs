//! Figures and bounds as people read them.

use super::{goal::Bound, measurement::Unit};

/// Text of a goal's bound.
#[must_use]
pub fn limit(unit: Unit, bound: Bound) -> String {
    match bound {
        Bound::AtMost(most) => format!("<= {}", text(unit, most)),
        Bound::AtLeast(least) => format!(">= {}", text(unit, least)),
    }
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
mod tests {
    use super::*;

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
