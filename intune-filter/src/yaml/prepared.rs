//! Reads files that the build has turned into JSON, in a fraction of the time that YAML takes.

use std::fmt;

use serde::{
    Deserialize, Deserializer,
    de::{self, MapAccess, SeqAccess, Visitor},
};

use super::{
    error::Collected,
    tree::{Entry, Node, Value},
};

/// Parses a text into the tree that its YAML has, except for the lines.
pub(super) fn parse(text: &str, what: &str, errors: &mut Collected) -> Option<Node> {
    serde_json::from_str(text)
        .map_err(|error| errors.push(None, "", || format!("{error}, expected {what}")))
        .ok()
}

impl<'de> Deserialize<'de> for Node {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(ToNode)
    }
}

struct ToNode;

const fn node(value: Value) -> Node {
    Node { line: 0, value }
}

/// Returns a scalar that YAML has without quotes.
fn plain(text: impl ToString) -> Node {
    node(Value::Scalar { text: text.to_string(), quoted: false })
}

impl<'de> Visitor<'de> for ToNode {
    type Value = Node;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<Node, E> {
        Ok(node(Value::Scalar { text: text.to_owned(), quoted: true }))
    }

    fn visit_bool<E: de::Error>(self, value: bool) -> Result<Node, E> {
        Ok(plain(value))
    }

    fn visit_u64<E: de::Error>(self, value: u64) -> Result<Node, E> {
        Ok(plain(value))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut values: A) -> Result<Node, A::Error> {
        let mut nodes = Vec::new();
        while let Some(one) = values.next_element()? {
            nodes.push(one);
        }
        Ok(node(Value::List(nodes)))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut values: A) -> Result<Node, A::Error> {
        let mut entries = Vec::new();
        while let Some((key, value)) = values.next_entry()? {
            entries.push(Entry { key, line: 0, value });
        }
        Ok(node(Value::Map(entries)))
    }
}
