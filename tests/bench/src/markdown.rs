//! Tells figures in Markdown: a page of all, the goals that are worst met, and three for everybody.

use std::fmt::{self, Write as _};

use super::{
    Unit,
    figures::{Aim, Figures, Found, Measured},
    profile,
    text::{limit, text},
};

/// Between these lines of a text stands what [`summary`] or [`headline`] says.
const MARKERS: [&str; 2] =
    ["<!-- Written by `cargo xtask bench --publish`: -->\n", "<!-- Up to here. -->\n"];

/// A figure that needs no explanation, and what it may be compared with.
struct Plain {
    what: &'static str,
    measurement: &'static str,
    others: [(&'static str, &'static str); 2],
}

/// Figures for the head of the README, by the names of measurements.
const PLAIN: [Plain; 3] = [
    Plain {
        what: "IPv4 packets forwarded on one core, 64 known flows",
        measurement: "IPv4, forwarded, 64 known flows: intune-filter, native",
        others: [
            ("no filter", "IPv4, forwarded, 64 known flows: no filter"),
            ("nftables", "IPv4, forwarded, 64 known flows: nftables"),
        ],
    },
    Plain {
        what: "first packets lost, of 400, while addresses are learned",
        measurement: "intune-filter: first packets lost of 400",
        others: [
            ("no filter", "no filter: first packets lost of 400"),
            ("dnsmasq with sets of nftables", "dnsmasq, nftset: first packets lost of 400"),
        ],
    },
    Plain {
        what: "time until a client has a DNS answer",
        measurement: "intune-filter: answer",
        others: [
            ("no filter", "no filter: answer"),
            ("dnsmasq with sets of nftables", "dnsmasq, nftset: answer"),
        ],
    },
];

/// A page with every figure and picture.
#[must_use]
pub fn page(figures: &Figures) -> String {
    write(|text| {
        writeln!(text, "# What was measured\n")?;
        measured_on(text, figures)?;
        for found in &figures.benchmarks {
            writeln!(text, "\n## {}", found.name)?;
            notes(text, found)?;
            pictures(text, found, "")?;
            if !found.goals.is_empty() {
                let rows = found.goals.iter().map(|goal| {
                    [
                        goal.name.clone(),
                        super::text::text(goal.unit, goal.value),
                        interval(goal.unit, goal.low, goal.high),
                        limit(goal.unit, goal.bound),
                        word(goal.met).to_owned(),
                    ]
                });
                table(text, ["goal", "is", "95 %", "is to be", "met"], rows)?;
            }
            for profile in &found.profiles {
                writeln!(text, "\nProfile of {}:", profile.name)?;
                table(text, profile::HEAD, profile.rows().into_iter())?;
            }
            if !found.measurements.is_empty() {
                let head =
                    ["measured", "runs", "least", "median", "95 % of medians", "p99", "greatest"];
                table(text, head, found.measurements.iter().map(measured))?;
            }
        }
        Ok(())
    })
}

/// Of each kind of goal that which is worst met, and a picture of each benchmark. `directory` is
/// where the page and the pictures are, from where this is read.
#[must_use]
pub fn summary(figures: &Figures, directory: &str) -> String {
    write(|text| {
        measured_on(text, figures)?;
        let rows = figures.benchmarks.iter().flat_map(|found| {
            kinds(&found.goals).into_iter().map(|kind| {
                let worst = kind
                    .iter()
                    .copied()
                    .max_by(|one, other| one.excess().total_cmp(&other.excess()));
                let worst = worst.unwrap_or(kind[0]);
                let met = kind.iter().filter(|goal| goal.met).count();
                let (name, verdict) = match kind.len() {
                    1 => (worst.name.clone(), word(worst.met).to_owned()),
                    all => (
                        format!("{} (the worst of {all})", worst.name),
                        if met == all { word(true).to_owned() } else { format!("{met} of {all}") },
                    ),
                };
                [
                    found.name.clone(),
                    name,
                    super::text::text(worst.unit, worst.value),
                    limit(worst.unit, worst.bound),
                    verdict,
                ]
            })
        });
        table(text, ["benchmark", "what", "is", "is to be", "met"], rows)?;
        for found in &figures.benchmarks {
            notes(text, found)?;
            let first =
                Found { charts: found.charts.iter().take(1).cloned().collect(), ..found.clone() };
            pictures(text, &first, directory)?;
        }
        writeln!(text, "\nEvery figure: [{directory}report.md]({directory}report.md)")
    })
}

/// Three plain figures, each a median, as far as they were measured. `directory` is where the page
/// of all is, from where this is read.
#[must_use]
pub fn headline(figures: &Figures, directory: &str) -> String {
    let all = || figures.benchmarks.iter().flat_map(|found| &found.measurements);
    let median = |name: &str| {
        let one = all().find(|one| one.name == name);
        one.map(|one| text(one.unit, one.median))
    };
    write(|page| {
        measured_on(page, figures)?;
        let rows = PLAIN.iter().filter_map(|plain| {
            let others = plain.others.iter();
            let others = others.filter_map(|(who, name)| Some(format!("{who} {}", median(name)?)));
            let others = others.collect::<Vec<_>>().join(", ");
            Some([plain.what.to_owned(), median(plain.measurement)?, others])
        });
        table(page, ["median of", "intune-filter", "in comparison"], rows)?;
        writeln!(page, "\nEvery figure: [{directory}report.md]({directory}report.md)")
    })
}

/// Puts a summary between the markers of a text; none if there are no markers.
#[must_use]
pub fn replaced(text: &str, summary: &str) -> Option<String> {
    let [begin, end] = MARKERS;
    let (before, rest) = text.split_once(begin)?;
    let (_, after) = rest.split_once(end)?;
    Some(format!("{before}{begin}\n{summary}\n{end}{after}"))
}

fn write(fill: impl FnOnce(&mut String) -> fmt::Result) -> String {
    let mut text = String::new();
    // A string takes all that is written into it.
    let _ = fill(&mut text);
    text
}

fn measured_on(text: &mut String, figures: &Figures) -> fmt::Result {
    writeln!(text, "`{}` on {}.", figures.command, figures.machine)
}

fn notes(text: &mut String, found: &Found) -> fmt::Result {
    found.notes.iter().try_for_each(|note| writeln!(text, "\n{}: {note}.", found.name))
}

fn pictures(text: &mut String, found: &Found, directory: &str) -> fmt::Result {
    let mut charts = found.charts.iter();
    charts.try_for_each(|chart| writeln!(text, "\n![{}]({directory}{})", chart.title, chart.file))
}

/// Goals of one unit and bound are of one kind.
fn kinds(goals: &[Aim]) -> Vec<Vec<&Aim>> {
    let mut kinds: Vec<Vec<&Aim>> = Vec::new();
    let is_of = |kind: &[&Aim], goal: &Aim| {
        kind.first().is_some_and(|one| (one.unit, one.bound) == (goal.unit, goal.bound))
    };
    for goal in goals {
        match kinds.iter_mut().find(|kind| is_of(kind, goal)) {
            Some(kind) => kind.push(goal),
            None => kinds.push(vec![goal]),
        }
    }
    kinds
}

fn measured(one: &Measured) -> [String; 7] {
    [
        one.name.clone(),
        one.runs.to_string(),
        text(one.unit, one.min),
        text(one.unit, one.median),
        interval(one.unit, one.median_low, one.median_high),
        text(one.unit, one.p99),
        text(one.unit, one.max),
    ]
}

fn interval(unit: Unit, low: f64, high: f64) -> String {
    format!("{} .. {}", text(unit, low), text(unit, high))
}

const fn word(met: bool) -> &'static str {
    if met { "yes" } else { "**no**" }
}

/// The first column to the left, the others to the right.
fn table<const N: usize>(
    text: &mut String,
    head: [&str; N],
    rows: impl Iterator<Item = [String; N]>,
) -> fmt::Result {
    let cells = |row: [String; N]| row.map(|cell| cell.replace('|', "\\|")).join(" | ");
    writeln!(text, "\n| {} |", head.join(" | "))?;
    writeln!(text, "|---{}|", "|--:".repeat(N - 1))?;
    rows.into_iter().try_for_each(|row| writeln!(text, "| {} |", cells(row)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Bound, Goal, Measurement, report::example};

    #[test]
    fn the_page_names_machine_command_figures_goals_notes_and_pictures() {
        let page = page(&Figures::of(&example()));
        for line in [
            "`cargo xtask bench beads` on 2 x Abacus, 2 MiB, Linux 6.1.0, release build.",
            "## beads",
            "beads: no child was at hand.",
            "![Beads](beads-beads.svg)",
            "| counting beads | 3000.0 us | 1000.0 us .. 9000.0 us | <= 1000.0 us | **no** |",
            "Profile of counting:",
            "| push a bead | 1000.0 us | 2 | 2000.0 us |",
            "| counting beads | 3 | 1000.0 us | 3000.0 us | 1000.0 us .. 9000.0 us | 9000.0 us \
             | 9000.0 us |",
        ] {
            assert!(page.lines().any(|other| other == line), "{line}\n{page}");
        }
    }

    #[test]
    fn the_summary_has_the_worst_goal_of_each_kind() {
        let goal = |name: &str, value, bound| {
            Goal::figure(&Measurement::new(name, Unit::Ratio, vec![value]), bound)
        };
        let mut report = example();
        report.benchmarks[0].1.goals = vec![
            goal("good", 1.0, Bound::AtMost(1.25)),
            goal("alone", 7.0, Bound::AtLeast(5.0)),
            goal("bad", 1.3, Bound::AtMost(1.25)),
        ];
        let summary = summary(&Figures::of(&report), "there/");
        let rows: Vec<&str> = summary.lines().filter(|line| line.starts_with("| beads")).collect();
        assert_eq!(
            rows,
            [
                "| beads | bad (the worst of 2) | 1.30 | <= 1.25 | 1 of 2 |",
                "| beads | alone | 7.00 | >= 5.00 | yes |",
            ]
        );
        assert!(summary.contains("](there/beads-beads.svg)"), "{summary}");
    }

    #[test]
    fn the_headline_has_plain_figures_that_were_measured_and_what_they_compare_with() {
        let mut report = example();
        let figure = |name: &str, value| Measurement::new(name, Unit::Rate, vec![value]);
        report.benchmarks[0].1.measurements =
            PLAIN[..1].iter().map(|plain| figure(plain.measurement, 2e3)).collect();
        report.benchmarks[0].1.measurements.push(figure(PLAIN[0].others[1].1, 1e3));
        let headline = headline(&Figures::of(&report), "there/");
        let rows: Vec<&str> = headline.lines().filter(|line| line.starts_with("| ")).collect();
        let [_, row] = rows[..] else { panic!("{headline}") };
        assert!(row.starts_with(&format!("| {} | ", PLAIN[0].what)), "{row}");
        assert!(row.contains(" | nftables "), "{row}");
        assert!(!row.contains("no filter"), "{row}");
        assert!(headline.contains("](there/report.md)"), "{headline}");
    }

    #[test]
    fn what_stands_between_the_markers_is_replaced_and_nothing_else() {
        let [begin, end] = MARKERS;
        let text = format!("before\n{begin}old\n{end}after\n");
        let new = replaced(&text, "new\n").unwrap();
        assert_eq!(new, format!("before\n{begin}\nnew\n\n{end}after\n"));
        assert_eq!(replaced(&new, "new\n"), Some(new.clone()));
        assert_eq!(replaced("no markers", "new\n"), None);
    }
}
