//! What serde_yaml leaves out: the lines of a document's values, and scalars that are read by
//! `FromStr` with an error that stands at the scalar itself.

use std::{collections::HashMap, fmt, marker::PhantomData, str::FromStr};

use saphyr_parser::{Event, Parser};
use serde::{Deserializer, de};

/// The lines of a document's values, by their paths as serde_yaml writes them:
/// `services[0].rules[2].id`.
#[derive(Clone, Debug, Default)]
pub struct Lines(HashMap<String, usize>);

/// A mapping or sequence that has begun and not ended.
struct Open {
    path: String,
    next: Next,
}

/// What comes next in it.
enum Next {
    Key,
    ValueOf(String, usize),
    Element(usize),
}

impl Lines {
    /// Reads a document. What follows a syntax error has no lines.
    #[must_use]
    pub fn of(text: &str) -> Self {
        let mut lines = HashMap::new();
        let mut open: Vec<Open> = Vec::new();
        for event in Parser::new_from_str(text) {
            let Ok((event, span)) = event else { break };
            let line = span.start.line();
            let is_key = matches!(open.last(), Some(Open { next: Next::Key, .. }));
            match event {
                Event::Scalar(key, ..) if is_key => {
                    if let Some(mapping) = open.last_mut() {
                        mapping.next = Next::ValueOf(key.into_owned(), line);
                    }
                }
                Event::Scalar(..) | Event::Alias(_) => {
                    begin(&mut lines, &mut open, line);
                }
                Event::MappingStart(..) => {
                    let path = begin(&mut lines, &mut open, line);
                    open.push(Open { path, next: Next::Key });
                }
                Event::SequenceStart(..) => {
                    let path = begin(&mut lines, &mut open, line);
                    open.push(Open { path, next: Next::Element(0) });
                }
                Event::MappingEnd | Event::SequenceEnd => {
                    open.pop();
                }
                _ => {}
            }
        }
        Self(lines)
    }

    /// The line of the value at `path`, which is its key's where it has one; or that of the
    /// nearest value around it.
    #[must_use]
    pub fn line(&self, path: &str) -> Option<usize> {
        let mut path = path;
        loop {
            if let Some(line) = self.0.get(path) {
                return Some(*line);
            }
            path = &path[..path.rfind(['.', '['])?];
        }
    }
}

/// Notes the line of a value that begins, and returns its path.
fn begin(lines: &mut HashMap<String, usize>, open: &mut [Open], line: usize) -> String {
    let (path, line) = match open.last_mut() {
        None => (String::new(), line),
        Some(Open { path: parent, next }) => match std::mem::replace(next, Next::Key) {
            // A mapping or sequence as a key: no path names what is in it.
            Next::Key => {
                *next = Next::ValueOf("?".to_owned(), line);
                (format!("{parent}?"), line)
            }
            Next::ValueOf(key, line) if parent.is_empty() => (key, line),
            Next::ValueOf(key, line) => (format!("{parent}.{key}"), line),
            Next::Element(index) => {
                *next = Next::Element(index + 1);
                (format!("{parent}[{index}]"), line)
            }
        },
    };
    lines.entry(path.clone()).or_insert(line);
    path
}

/// Reads a scalar by its `FromStr`. Unlike `String::deserialize` and a conversion after it, a
/// failure has the path and line of the scalar, not of what is around it.
///
/// # Errors
/// When the value is no text, or its `FromStr` refuses it.
pub fn from_text<'de, D, T>(deserializer: D) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
    T: FromStr<Err: fmt::Display>,
{
    struct Visitor<T>(PhantomData<T>);

    impl<T: FromStr<Err: fmt::Display>> de::Visitor<'_> for Visitor<T> {
        type Value = T;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("text")
        }

        fn visit_str<E: de::Error>(self, text: &str) -> Result<T, E> {
            text.parse().map_err(E::custom)
        }
    }

    deserializer.deserialize_str(Visitor(PhantomData))
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;

    use super::*;
    use crate::{pattern::Pattern, ports::PortRange};

    const TEXT: &str = "\
# A comment.
services:
  - id: a
    rules:
      - {tcp: [80,
          443]}
      - fqdns:
          - a.example
          - >-
            b.example
  - id: b
other: {deep: [[1], [2,
  3]]}
";

    #[test]
    fn lines_are_found_by_path() {
        let lines = Lines::of(TEXT);
        for (path, line) in [
            ("services", 2),
            ("services[0]", 3),
            ("services[0].id", 3),
            ("services[0].rules", 4),
            ("services[0].rules[0].tcp[0]", 5),
            ("services[0].rules[0].tcp[1]", 6),
            ("services[0].rules[1].fqdns", 7),
            ("services[0].rules[1].fqdns[0]", 8),
            ("services[0].rules[1].fqdns[1]", 10),
            ("services[1].id", 11),
            ("other.deep[1][1]", 13),
            ("services[1].rules[7].id", 11),
        ] {
            assert_eq!(lines.line(path), Some(line), "{path}");
        }
        assert_eq!(lines.line("absent"), None);
    }

    #[test]
    fn lines_survive_what_is_no_document() {
        for text in ["", "a: [", "? [x, y]\n: 1\nb: 2", "&a [*a, *a]", "\t", "- - -\n-"] {
            let lines = Lines::of(text);
            assert!(lines.line("").is_none_or(|line| line >= 1), "{text}");
        }
        assert_eq!(Lines::of("? [x, y]\n: 1\nb: 2").line("b"), Some(3));
    }

    #[test]
    fn a_refused_scalar_has_its_own_path_and_line() {
        #[derive(Deserialize)]
        struct Rule {
            #[serde(deserialize_with = "from_text")]
            port: PortRange,
        }
        let rules: Vec<Rule> = serde_yaml::from_str("- port: '80'").unwrap();
        assert!(rules[0].port.contains(80));
        let Err(error) = serde_yaml::from_str::<Vec<Rule>>("- port: '80'\n- x: 1\n  port: '0'")
        else {
            panic!("port 0 was read");
        };
        assert_eq!(error.location().unwrap().line(), 3);
        assert!(error.to_string().contains("[1].port: port 0"), "{error}");
    }

    #[test]
    fn patterns_are_refused_at_their_line() {
        let text = "- a.example\n- b.example\n- c..example\n";
        let error = serde_yaml::from_str::<Vec<Pattern>>(text).unwrap_err();
        assert_eq!(error.location().unwrap().line(), 3, "{error}");
    }
}
