//! Parses a YAML document into a tree whose nodes have line numbers.
//!
//! Scalars stay text: the meaning of a text depends on its key, and the reader of the key reports
//! the expected form.

use std::{
    borrow::Cow,
    collections::{HashMap, hash_map},
};

use saphyr_parser::{Event, Parser, ScalarStyle, ScanError, Span};

use super::error::Collected;

/// Greatest nesting: deeper files are none of this program's, and would exhaust the stack.
const DEPTH_MAX: usize = 16;

/// Values of a document at most, many times the names and networks of a site. Without a limit,
/// reading the largest file would take gigabytes.
const NODES_MAX: usize = 1 << 20;

/// Node of the document.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Node {
    /// First line of the node, from 1.
    pub line: u32,
    /// Content of the node.
    pub value: Value,
}

/// Content of a node.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Value {
    /// Text; `quoted` text is never a number, a boolean or null.
    Scalar { text: String, quoted: bool },
    /// Sequence.
    List(Vec<Node>),
    /// Mapping, in the file's order.
    Map(Vec<Entry>),
}

/// Key with its value.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Entry {
    pub key: String,
    pub line: u32,
    pub value: Node,
}

impl Node {
    /// Whether the value is absent or null.
    pub(super) fn is_null(&self) -> bool {
        matches!(&self.value, Value::Scalar { text, quoted: false }
            if matches!(text.as_str(), "" | "~" | "null" | "Null" | "NULL"))
    }

    /// Describes the node for "expected ..., found ...".
    pub(super) fn describe(&self) -> Cow<'static, str> {
        match &self.value {
            Value::Map(_) => "a map".into(),
            Value::List(_) => "a list".into(),
            Value::Scalar { .. } if self.is_null() => "nothing".into(),
            Value::Scalar { text, quoted: true } => format!("the text {text:?}").into(),
            Value::Scalar { text, .. } => text.clone().into(),
        }
    }
}

/// Parses a file of one document; `what` names the expected contents. All duplicate keys of a map
/// are reported.
pub(super) fn parse(text: &str, what: &str, errors: &mut Collected) -> Option<Node> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let mut builder = Builder {
        parser: Parser::new_from_str(text),
        text,
        open: Vec::new(),
        what,
        nodes: 0,
        twice: false,
        errors,
    };
    match builder.document() {
        Ok(node) => (!builder.twice).then_some(node),
        Err(Fatal { line, key, message }) => {
            builder.errors.push(line, &key, || message);
            None
        }
    }
}

struct Builder<'a> {
    parser: Parser<'a, saphyr_parser::StrInput<'a>>,
    text: &'a str,
    /// Line, from 1, and column, from 0, at which each list and map around the next event begins.
    open: Vec<(usize, usize)>,
    what: &'a str,
    nodes: usize,
    twice: bool,
    errors: &'a mut Collected,
}

/// Fault that ends the reading of a document.
struct Fatal {
    line: Option<u32>,
    key: String,
    message: String,
}

impl<'a> Builder<'a> {
    fn document(&mut self) -> Result<Node, Fatal> {
        loop {
            match self.next()? {
                (Event::StreamStart, _) => {}
                (Event::DocumentStart(_), _) => break,
                (_, _) => return Err(self.empty()),
            }
        }
        let first = self.next()?;
        let node = self.node(first, "", 0)?;
        loop {
            match self.next()? {
                (Event::DocumentEnd, _) => {}
                (Event::StreamEnd, _) => break,
                (_, span) => {
                    return Err(fatal(line(span), "a second document, expected one only"));
                }
            }
        }
        if node.is_null() {
            return Err(self.empty());
        }
        Ok(node)
    }

    fn empty(&self) -> Fatal {
        fatal(None, &format!("the file is empty, expected {}", self.what))
    }

    fn next(&mut self) -> Result<(Event<'a>, Span), Fatal> {
        match self.parser.next_event() {
            Some(Ok(event)) => Ok(event),
            Some(Err(fault)) => Err(syntax(&fault, self.unclosed())),
            None => Err(fatal(None, "the file ends too early")),
        }
    }

    /// Returns the innermost bracket that has been opened and not closed, and its line.
    fn unclosed(&self) -> Option<(char, usize)> {
        self.open.iter().rev().find_map(|(line, column)| {
            let text = self.text.lines().nth(line.checked_sub(1)?)?;
            let bracket = text.chars().nth(*column).filter(|c| matches!(c, '[' | '{'))?;
            Some((bracket, *line))
        })
    }

    fn node(
        &mut self,
        (event, span): (Event<'a>, Span),
        path: &str,
        depth: usize,
    ) -> Result<Node, Fatal> {
        let line = line(span);
        let refuse =
            |what: &str| Err(Fatal { line, key: path.to_owned(), message: what.to_owned() });
        if depth > DEPTH_MAX {
            return refuse("nested too deeply");
        }
        self.nodes += 1;
        if self.nodes > NODES_MAX {
            return Err(fatal(line, &format!("more than {NODES_MAX} values, expected fewer")));
        }
        let value = match event {
            Event::Scalar(.., Some(_))
            | Event::SequenceStart(_, Some(_))
            | Event::MappingStart(_, Some(_)) => {
                return refuse("a YAML tag, expected a plain value");
            }
            Event::Alias(_) => return refuse("a YAML alias, expected the value written out"),
            Event::Scalar(text, style, ..) => {
                Value::Scalar { text: text.into_owned(), quoted: style != ScalarStyle::Plain }
            }
            Event::SequenceStart(..) => {
                self.open.push((span.start.line(), span.start.col()));
                let nodes = self.list(path, depth)?;
                self.open.pop();
                Value::List(nodes)
            }
            Event::MappingStart(..) => {
                self.open.push((span.start.line(), span.start.col()));
                let entries = self.map(path, depth)?;
                self.open.pop();
                Value::Map(entries)
            }
            _ => return refuse("expected a value"),
        };
        Ok(Node { line: line.unwrap_or(1), value })
    }

    fn list(&mut self, path: &str, depth: usize) -> Result<Vec<Node>, Fatal> {
        let mut nodes = Vec::new();
        loop {
            match self.next()? {
                (Event::SequenceEnd, _) => return Ok(nodes),
                event => {
                    let path = format!("{path}[{}]", nodes.len());
                    nodes.push(self.node(event, &path, depth + 1)?);
                }
            }
        }
    }

    fn map(&mut self, path: &str, depth: usize) -> Result<Vec<Entry>, Fatal> {
        let mut entries: Vec<Entry> = Vec::new();
        let mut first: HashMap<String, u32> = HashMap::new();
        loop {
            let (event, span) = self.next()?;
            let key = match event {
                Event::MappingEnd => return Ok(entries),
                Event::Scalar(key, ..) => key.into_owned(),
                _ => return Err(fatal(line(span), "a key that is no text, expected a word")),
            };
            let key_line = line(span);
            let path = if path.is_empty() { key.clone() } else { format!("{path}.{key}") };
            let event = self.next()?;
            let mut value = self.node(event, &path, depth + 1)?;
            if value.is_null() {
                // The parser places an absent value at the next token.
                value.line = key_line.unwrap_or(value.line);
            }
            let line = key_line.unwrap_or(1);
            match first.entry(key.clone()) {
                hash_map::Entry::Occupied(first) => {
                    self.twice = true;
                    let message = || format!("given twice, first on line {}", first.get());
                    self.errors.push(key_line, &path, message);
                }
                hash_map::Entry::Vacant(place) => {
                    place.insert(line);
                    entries.push(Entry { key, line, value });
                }
            }
        }
    }
}

fn line(span: Span) -> Option<u32> {
    u32::try_from(span.start.line()).ok()
}

fn fatal(line: Option<u32>, message: &str) -> Fatal {
    Fatal { line, key: String::new(), message: message.to_owned() }
}

/// Describes a fault of the syntax; a bracket that is still open is the likelier place of it.
fn syntax(fault: &ScanError, unclosed: Option<(char, usize)>) -> Fatal {
    let (marker, info) = (fault.marker(), fault.info());
    let column = marker.col() + 1;
    let (line, message) = if info.contains("anchor") {
        let quoted = "a value that begins with * has to be quoted: \"*.example.com\"";
        (marker.line(), format!("not YAML, column {column}: {info}; {quoted}"))
    } else if let Some((bracket, line)) = unclosed {
        let at = format!("line {}, column {column}", marker.line());
        (line, format!("not YAML: the {bracket} of this line is not closed by {at}: {info}"))
    } else {
        (marker.line(), format!("not YAML, column {column}: {info}"))
    };
    fatal(u32::try_from(line).ok(), &message)
}
