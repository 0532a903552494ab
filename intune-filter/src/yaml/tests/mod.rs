//! Tests [`super`] with hostile texts, and the positions of faults.

mod agreement;
mod hostile;

use super::{Fields, FileError, Findings, Place, Read, Reading, read};
use crate::{pattern::Pattern, ports::PortRange};

/// Contents of a file in the tests.
#[derive(Debug, Default, PartialEq, Eq)]
struct Site {
    name: Option<String>,
    patterns: Vec<Pattern>,
    ports: Vec<PortRange>,
    below: Vec<Self>,
}

impl Read for Site {
    fn read(place: Place<'_>, findings: &mut Findings) -> Option<Self> {
        let mut fields = Fields::open(place, findings)?;
        let site = Self {
            name: fields.optional("name"),
            patterns: fields.or("patterns", Vec::new()),
            ports: fields.or("ports", Vec::new()),
            below: fields.or("below", Vec::new()),
        };
        fields.close();
        Some(site)
    }
}

fn site(text: &str) -> Reading<Site> {
    read(text, "a site")
}

/// Returns the faults of a text as `LINE: KEY: MESSAGE`.
fn faults(text: &str) -> Vec<String> {
    let line = |error: &FileError| error.line.map_or_else(|| "-".to_owned(), |l| l.to_string());
    site(text).errors.iter().map(|error| format!("{}: {error}", line(error))).collect()
}

#[track_caller]
fn good(text: &str) -> Site {
    let Reading { value, errors, .. } = site(text);
    assert_eq!(errors, [], "{text:?}");
    value.unwrap()
}

#[test]
fn every_fault_is_told_with_its_line_key_and_what_was_expected() {
    let text = "\
name: [a]
patterns:
  - a.example
  - a..example
ports: [80,
  0]
below:
  - {nam: x}
  - 7
zzz: 1
";
    let found = faults(text);
    let known = "expected one of name, patterns, ports, below";
    for (fault, expected) in found.iter().zip([
        "1: name: expected text, found a list",
        "4: patterns[1]: bad host name pattern \"a..example\"",
        "6: ports[1]: port 0",
        &format!("8: below[0].nam: unknown key, {known}"),
        "9: below[1]: expected a map of keys, found 7",
        &format!("10: zzz: unknown key, {known}"),
    ]) {
        assert!(fault.starts_with(expected), "{fault}, expected {expected}");
    }
    assert_eq!(found.len(), 6, "{found:#?}");
}

#[test]
fn lines_are_found_by_path_or_around_it() {
    let text = "\
# A comment.
below:
  - name: a
    below:
      - {ports: [80,
          443]}
      - patterns:
          - a.example
          - >-
            b.example
  - name: b
name:
";
    let lines = site(text).lines;
    for (path, line) in [
        ("below", 2),
        ("below[0]", 3),
        ("below[0].name", 3),
        ("below[0].below", 4),
        ("below[0].below[0].ports[0]", 5),
        ("below[0].below[0].ports[1]", 6),
        ("below[0].below[1].patterns", 7),
        ("below[0].below[1].patterns[0]", 8),
        ("below[1].name", 11),
        ("below[1].below[7].name", 11),
        ("name", 12),
    ] {
        assert_eq!(lines.line(path), Some(line), "{path}");
    }
    assert_eq!(lines.line("absent"), None);
    assert!(lines.has("below[1]") && !lines.has("below[2]"));
}

#[test]
fn text_that_would_be_another_type_is_asked_for_in_quotes() {
    for plain in ["7", "0x10", "1e3", "true", "-.inf"] {
        let found = faults(&format!("name: {plain}"));
        assert!(found[0].contains(&format!("in quotes: {plain:?}")), "{found:?}");
        assert_eq!(good(&format!("name: '{plain}'")).name.as_deref(), Some(plain));
    }
}
