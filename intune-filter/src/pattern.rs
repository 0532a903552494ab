//! Parses and matches patterns of host names, in the catalogue's and the configuration's notation.
//!
//! | pattern | names |
//! |---|---|
//! | `a.example` | that name alone |
//! | `*.example` | every name below `example` at any depth, not `example` itself |
//! | `pre*suf.example` | one label that begins and ends so, then `example`; `*` may stand for nothing |
//! | `a.pre*suf.example`, `*.pre*suf.example` | the same for a label that is not the leftmost |
//! | `a.*.example` | `a`, then one label of any kind, then `example` |
//! | `#-a.example` | `0-a.example` to `50-a.example`, without leading zeros |
//! | `*` | every name |
//!
//! Only a leftmost `*` of its own stands for several labels. Case and a trailing dot do not matter.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

mod broad;
#[cfg(test)]
mod tests;

pub use broad::{Broad, broad, on_shared};

/// Longest label, in octets (RFC 1035 section 2.3.4).
const LABEL_MAX: usize = 63;

/// Longest name, in characters without a trailing dot (RFC 1035: 255 octets on the wire).
const NAME_MAX: usize = 253;

/// Largest number that `#` stands for.
pub const NUMBER_MAX: u32 = 50;

/// Pattern of host names, in lower case and without a trailing dot.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Pattern(String);

/// Labels that a pattern requires of a name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Form<'a> {
    /// Whether one or more labels have to precede `labels`.
    pub below: bool,
    /// Required labels at the end of a name, from left to right; the whole name without `below`.
    pub labels: Vec<Label<'a>>,
}

/// Requirement for one label.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Label<'a> {
    /// Equality with this label.
    Exact(&'a str),
    /// `prefix*suffix`: a prefix and a suffix that do not overlap.
    Glob {
        /// Beginning of the label.
        prefix: &'a str,
        /// End of the label.
        suffix: &'a str,
    },
}

impl Pattern {
    /// Returns the pattern's text, in lower case and without a trailing dot.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether the pattern matches `name`. Slow and plain: the model for the kernel's matcher. An
    /// illegal name (an empty label, too long) matches nothing.
    #[must_use]
    pub fn matches(&self, name: &str) -> bool {
        let Some(name) = labels_of_name(name) else { return false };
        let pattern: Vec<&str> = self.0.split('.').collect();
        match pattern[..] {
            ["*"] => true,
            ["*", ref parent @ ..] => {
                let below = name.len().checked_sub(parent.len()).filter(|more| *more > 0);
                below.and_then(|more| name.get(more..)).is_some_and(|name| same(parent, name))
            }
            ref whole => same(whole, &name),
        }
    }

    /// Returns the labels that the pattern requires. A `#` is left in place: see [`Self::expand`].
    #[must_use]
    pub fn form(&self) -> Form<'_> {
        let rest = self.0.strip_prefix("*.");
        let below = rest.is_some() || self.0 == "*";
        let rest = if self.0 == "*" { "" } else { rest.unwrap_or(&self.0) };
        let labels = rest.split('.').filter(|label| !label.is_empty());
        let labels = labels.map(|label| match label.split_once('*') {
            None => Label::Exact(label),
            Some((prefix, suffix)) => Label::Glob { prefix, suffix },
        });
        Form { below, labels: labels.collect() }
    }

    /// Whether a `*` is in a label that is not the leftmost of a name.
    #[must_use]
    pub fn has_inner_glob(&self) -> bool {
        let Form { below, labels } = self.form();
        labels.iter().skip(usize::from(!below)).any(|label| matches!(label, Label::Glob { .. }))
    }

    /// Returns patterns without `#` that together match the same names: one, or one for each
    /// number.
    #[must_use]
    pub fn expand(&self) -> Vec<Self> {
        if !self.0.contains('#') {
            return vec![self.clone()];
        }
        (0..=NUMBER_MAX).map(|number| Self(self.0.replace('#', &number.to_string()))).collect()
    }

    /// Returns the names of a pattern without `*`; none for a pattern with one.
    #[must_use]
    pub fn names(&self) -> Vec<String> {
        if self.0.contains('*') {
            return Vec::new();
        }
        self.expand().into_iter().map(|pattern| pattern.0).collect()
    }
}

/// Returns the labels of a legal name.
fn labels_of_name(name: &str) -> Option<Vec<&str>> {
    let name = name.strip_suffix('.').unwrap_or(name);
    let labels: Vec<&str> = name.split('.').collect();
    let legal = |label: &&str| (1..=LABEL_MAX).contains(&label.len());
    (name.len() <= NAME_MAX && labels.iter().all(legal)).then_some(labels)
}

/// Whether each label of a name matches the pattern's label in its place.
fn same(pattern: &[&str], name: &[&str]) -> bool {
    pattern.len() == name.len()
        && pattern.iter().zip(name).all(|(pattern, label)| {
            let label = label.to_ascii_lowercase();
            if let Some((prefix, suffix)) = pattern.split_once('*') {
                label.len() >= prefix.len() + suffix.len()
                    && label.starts_with(prefix)
                    && label.ends_with(suffix)
            } else if let Some((prefix, suffix)) = pattern.split_once('#') {
                (0..=NUMBER_MAX).any(|number| label == format!("{prefix}{number}{suffix}"))
            } else {
                label == *pattern
            }
        })
}

impl FromStr for Pattern {
    type Err = PatternError;

    fn from_str(text: &str) -> Result<Self, PatternError> {
        let error = |fault| PatternError { pattern: text.to_owned(), fault };
        // An unfinished `*.something` must not become every name.
        if text == "*." {
            return Err(error(Fault::EmptyLabel));
        }
        let pattern = text.strip_suffix('.').unwrap_or(text).to_ascii_lowercase();
        check(&pattern).map_err(error)?;
        Ok(Self(pattern))
    }
}

fn check(pattern: &str) -> Result<(), Fault> {
    if pattern.is_empty() {
        return Err(Fault::Empty);
    }
    if pattern.contains("://") || pattern.contains('/') {
        return Err(Fault::Url);
    }
    if !pattern.is_ascii() {
        return Err(Fault::NotAscii);
    }
    let labels: Vec<&str> = pattern.split('.').collect();
    for label in &labels {
        check_label(label)?;
    }
    if is_address(&labels) {
        return Err(Fault::Address);
    }
    if pattern.matches('#').count() > 1 {
        return Err(Fault::SeveralNumbers);
    }
    // A `*` of its own needs at least one octet; any other may stand for nothing.
    let whole = labels.iter().filter(|label| **label == "*").count();
    if longest(pattern) + whole > NAME_MAX {
        return Err(Fault::TooLong);
    }
    Ok(())
}

/// Whether a pattern looks like an address or a range of addresses: its last label is a number, or,
/// as in `10.0.*.*`, all labels are numbers or `*`.
fn is_address(labels: &[&str]) -> bool {
    let number = |label: &str| label.bytes().all(|octet| octet.is_ascii_digit() || octet == b'#');
    let numbers = labels.iter().filter(|label| number(label)).count();
    let stars = labels.iter().filter(|label| **label == "*").count();
    labels.last().is_some_and(|last| number(last))
        || (numbers > 0 && numbers + stars == labels.len())
}

fn check_label(label: &str) -> Result<(), Fault> {
    if label.is_empty() {
        return Err(Fault::EmptyLabel);
    }
    if let Some(other) =
        label.chars().find(|c| !matches!(c, 'a'..='z' | '0'..='9' | '-' | '_' | '*' | '#'))
    {
        return Err(Fault::Character(other));
    }
    if label.matches('*').count() > 1 {
        return Err(Fault::SeveralGlobs);
    }
    if label.contains('*') && label.contains('#') {
        return Err(Fault::GlobAndNumber);
    }
    if longest(label) > LABEL_MAX {
        return Err(Fault::LabelTooLong);
    }
    Ok(())
}

/// Returns the length of a name for `text` when each `*` is empty and `#` has two digits.
fn longest(text: &str) -> usize {
    text.len() - text.matches('*').count() + text.matches('#').count()
}

impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Serialize for Pattern {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for Pattern {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(de::Error::custom)
    }
}

/// Error for text that is no pattern.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PatternError {
    pattern: String,
    fault: Fault,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fault {
    Empty,
    EmptyLabel,
    Url,
    NotAscii,
    Character(char),
    Address,
    LabelTooLong,
    TooLong,
    SeveralGlobs,
    GlobAndNumber,
    SeveralNumbers,
}

impl fmt::Display for PatternError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "bad host name pattern {:?}: ", self.pattern)?;
        match self.fault {
            Fault::Empty => f.write_str("it is empty, expected a name such as a.example"),
            Fault::EmptyLabel => f.write_str("a label is empty, expected text between the dots"),
            Fault::Url => {
                f.write_str("expected a host name alone, without scheme, path or prefix length")
            }
            Fault::NotAscii => {
                f.write_str("expected ASCII: write an international name as its A-label (xn--...)")
            }
            Fault::Character(c) => {
                write!(f, "character {c:?}, expected letters, digits, -, _, * and #")
            }
            Fault::Address => {
                f.write_str("the last label is a number; an address belongs under cidrs")
            }
            Fault::LabelTooLong => write!(f, "a label is longer than {LABEL_MAX} octets"),
            Fault::TooLong => write!(f, "the name is longer than {NAME_MAX} octets"),
            Fault::SeveralGlobs => f.write_str("several * in one label, expected at most one"),
            Fault::GlobAndNumber => f.write_str("both * and # in one label, expected one of them"),
            Fault::SeveralNumbers => f.write_str("several #, expected at most one"),
        }
    }
}

impl std::error::Error for PatternError {}
