//! Figures in pages: those of the report that was published last.

use std::fs;

use anyhow::{Context as _, Result, ensure};
use intune_filter_tests::cargo::root;

use crate::{figures::Figures, markdown, written};

const README: &str = "README.md";
/// The page with the goals of the benchmarks.
const TESTS: &str = "tests/README.md";
/// Directory of the figures, seen from the root.
const FIGURES: &str = "tests/figures/";

#[test]
fn the_figures_in_pages_are_those_of_the_report() -> Result<()> {
    let read = |name: &str| {
        let path = root().join(FIGURES).join(name);
        fs::read_to_string(&path).with_context(|| path.display().to_string())
    };
    let figures: Figures = serde_json::from_str(&read(written::JSON)?)?;
    for (path, wanted) in [
        (README, markdown::headline(&figures, FIGURES)),
        (TESTS, markdown::summary(&figures, "figures/")),
    ] {
        let page = fs::read_to_string(root().join(path)).context(path)?;
        let replaced = markdown::replaced(&page, &wanted);
        ensure!(replaced.as_deref() == Some(&*page), "{path} is to show these figures:\n{wanted}");
    }
    ensure!(read(written::PAGE)? == markdown::page(&figures), "the page shows other figures");
    for chart in figures.benchmarks.iter().flat_map(|found| &found.charts) {
        ensure!(read(&chart.file)?.starts_with("<svg"), "{} is no picture", chart.file);
    }
    Ok(())
}
