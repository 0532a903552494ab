//! Writes a report into files: JSON, Markdown and pictures; and into pages what it comes to.

use std::{
    fs,
    os::unix::fs::{MetadataExt as _, chown},
    path::Path,
};

use anyhow::{Context as _, Result};

use super::{
    figures::{Figures, file},
    markdown, picture,
    report::Report,
};

/// The report as it is read again.
pub const JSON: &str = "report.json";
/// The report for people.
pub const PAGE: &str = "report.md";

/// Writes a report and its pictures into a directory, which is made if it is not there.
pub fn write(report: &Report, directory: &Path) -> Result<()> {
    if !directory.exists() {
        fs::create_dir(directory)
            .with_context(|| format!("cannot make {}", directory.display()))?;
        own(directory)?;
    }
    put(directory, JSON, &format!("{:#}\n", Figures::of(report).json()))?;
    put(directory, PAGE, &markdown::page(&Figures::of(report)))?;
    for (name, findings) in &report.benchmarks {
        for chart in &findings.charts {
            put(directory, &file(name, chart), &picture::svg(chart))?;
        }
    }
    Ok(())
}

/// Puts a summary of a report that is in `directory`, seen from the page, into a page.
pub fn summarize(report: &Report, page: &Path, directory: &str) -> Result<()> {
    replace(page, &markdown::summary(&Figures::of(report), directory))
}

/// The same with three plain figures of the report.
pub fn headline(report: &Report, page: &Path, directory: &str) -> Result<()> {
    replace(page, &markdown::headline(&Figures::of(report), directory))
}

fn replace(page: &Path, summary: &str) -> Result<()> {
    let what = || page.display().to_string();
    let text = fs::read_to_string(page).with_context(what)?;
    let text = markdown::replaced(&text, summary);
    let text = text.with_context(|| format!("{} has no place for figures", what()))?;
    fs::write(page, text).with_context(what)
}

fn put(directory: &Path, name: &str, text: &str) -> Result<()> {
    let path = directory.join(name);
    fs::write(&path, text).with_context(|| format!("cannot write {}", path.display()))?;
    own(&path)
}

/// Benchmarks run as root: what they write belongs to the owner of the place nevertheless.
fn own(path: &Path) -> Result<()> {
    let place = fs::canonicalize(path)?;
    let owner = fs::metadata(place.parent().unwrap_or(&place))?;
    chown(path, Some(owner.uid()), Some(owner.gid()))
        .with_context(|| format!("cannot give {} to its owner", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::example;

    #[test]
    fn every_picture_that_the_page_shows_is_written() -> Result<()> {
        let place = tempfile::tempdir()?;
        let directory = place.path().join("figures");
        write(&example(), &directory)?;
        let json = fs::read_to_string(directory.join(JSON))?;
        let figures: Figures = serde_json::from_str(&json)?;
        let page = fs::read_to_string(directory.join(PAGE))?;
        assert_eq!(page, markdown::page(&figures));
        let charts: Vec<_> = figures.benchmarks.iter().flat_map(|found| &found.charts).collect();
        assert_eq!(charts.len(), 1);
        for chart in charts {
            assert!(fs::read_to_string(directory.join(&chart.file))?.starts_with("<svg"));
        }
        Ok(())
    }

    #[test]
    fn a_page_without_a_place_for_figures_is_left_alone() -> Result<()> {
        let place = tempfile::NamedTempFile::new()?;
        fs::write(place.path(), "words")?;
        assert!(summarize(&example(), place.path(), "").is_err());
        assert!(headline(&example(), place.path(), "").is_err());
        assert_eq!(fs::read_to_string(place.path())?, "words");
        Ok(())
    }
}
