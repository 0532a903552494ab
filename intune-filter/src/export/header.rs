//! Says at the beginning of a file what it is, and what its form cannot say.

use std::fmt::{self, Write as _};

use super::unit::Unit;

/// Word that a header begins with.
const MARK: &str = "intune-filter";

/// Whether a file begins with a header.
pub(super) fn is_header(content: &[u8]) -> bool {
    ["#", ";"].iter().any(|comment| content.starts_with(format!("{comment} {MARK} ").as_bytes()))
}

/// Longest line of a header, in characters: some programs refuse long ones.
const LINE_MAX: usize = 100;

/// What a form cannot say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Loss {
    /// Ports: the file has to be used for them alone.
    Ports(String),
    /// Names alone: everything below them passes too.
    Below(Vec<String>),
    /// Names of which only what is below matches: they pass themselves too.
    Apex(Vec<String>),
    /// Patterns with a `*` inside: left out.
    Patterns(Vec<String>),
    /// Names: left out.
    Names(usize),
    /// Prefixes: left out.
    Networks(usize),
}

impl Loss {
    /// Names that are told one by one.
    #[must_use]
    pub fn names(&self) -> &[String] {
        match self {
            Self::Below(names) | Self::Apex(names) | Self::Patterns(names) => names,
            Self::Ports(_) | Self::Names(_) | Self::Networks(_) => &[],
        }
    }
}

impl fmt::Display for Loss {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ports(ports) => write!(f, "no ports: use it for {ports} alone"),
            Self::Below(_) => f.write_str("too wide: everything below these names passes too"),
            Self::Apex(_) => {
                f.write_str("too wide: these names pass themselves, not only those below")
            }
            Self::Patterns(_) => f.write_str("left out: patterns with a * inside"),
            Self::Names(number) => write!(f, "left out: {number} names, it holds addresses alone"),
            Self::Networks(number) => {
                write!(f, "left out: {number} prefixes, it holds names alone")
            }
        }
    }
}

/// Writes a header; each line begins with `comment`.
pub(super) fn header(
    comment: &str,
    unit: &Unit,
    edition: &str,
    use_it: &[&str],
    losses: &[Loss],
) -> String {
    let mut text = String::new();
    let version = env!("CARGO_PKG_VERSION");
    let _ = writeln!(text, "{comment} {MARK} {version}, catalogue {edition}");
    let _ = writeln!(text, "{comment} {}: {}", unit.service, printable(&unit.title));
    let _ = writeln!(text, "{comment} ports: {}", unit.ports());
    for line in use_it {
        let _ = writeln!(text, "{comment} {line}");
    }
    for loss in losses {
        let _ = writeln!(text, "{comment} {loss}");
        let mut line = String::new();
        for name in loss.names() {
            if !line.is_empty() && line.len() + name.len() >= LINE_MAX {
                let _ = writeln!(text, "{comment}  {line}");
                line.clear();
            }
            line.push(' ');
            line.push_str(name);
        }
        if !line.is_empty() {
            let _ = writeln!(text, "{comment}  {line}");
        }
    }
    text
}

/// Keeps a title from ending the comment that it stands in.
fn printable(title: &str) -> String {
    title.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}

/// Collects losses that there are: lists that are not empty, numbers above zero.
pub(super) fn losses(losses: impl IntoIterator<Item = Loss>) -> Vec<Loss> {
    let is_one = |loss: &Loss| match loss {
        Loss::Ports(_) => true,
        Loss::Below(names) | Loss::Apex(names) | Loss::Patterns(names) => !names.is_empty(),
        Loss::Names(number) | Loss::Networks(number) => *number != 0,
    };
    losses.into_iter().filter(is_one).collect()
}
