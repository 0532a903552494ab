//! Tests that the tree reads a document as serde_yaml does, with its lines.

use serde_yaml::Value as Yaml;

use super::super::{
    error::Collected,
    tree::{self, Node, Value},
};

fn parse(text: &str) -> Node {
    let mut errors = Collected::default();
    let node = tree::parse(text, "a document", &mut errors);
    node.unwrap_or_else(|| panic!("{errors:?}"))
}

/// Converts a node to serde_yaml's types, with scalars as text.
fn plain(node: &Node) -> Yaml {
    match &node.value {
        Value::Scalar { .. } if node.is_null() => Yaml::Null,
        Value::Scalar { text, .. } => Yaml::String(text.clone()),
        Value::List(nodes) => Yaml::Sequence(nodes.iter().map(plain).collect()),
        Value::Map(entries) => Yaml::Mapping(
            entries
                .iter()
                .map(|entry| (Yaml::String(entry.key.clone()), plain(&entry.value)))
                .collect(),
        ),
    }
}

/// Converts scalars to text in the spelling of a file.
fn as_text(value: Yaml) -> Yaml {
    match value {
        Yaml::Bool(bool) => Yaml::String(bool.to_string()),
        Yaml::Number(number) => Yaml::String(number.to_string()),
        Yaml::Sequence(values) => Yaml::Sequence(values.into_iter().map(as_text).collect()),
        Yaml::Mapping(entries) => Yaml::Mapping(
            entries.into_iter().map(|(key, value)| (as_text(key), as_text(value))).collect(),
        ),
        other => other,
    }
}

#[test]
fn agrees_with_serde_yaml() {
    for text in [
        include_str!("../../../../config/config.yaml"),
        include_str!("../../../../config/catalogue/2023-09/core.yaml"),
        include_str!("../../../../config/catalogue/2023-09/apple.yaml"),
        "a: |\n  x\n  y\nb: >-\n  x\n  y\nc: 'it''s'\nd: \"\\u0041\\n\"\ne: ~\nf:\n",
        "a: [1, [2, {b: c}], '']\n? k\n: v\n'q': \"\"\n",
        "- - a\n  - b\n- {x: y}\n-\n- plain # comment\n",
    ] {
        let theirs: Yaml = serde_yaml::from_str(text).unwrap();
        assert_eq!(plain(&parse(text)), as_text(theirs), "{text}");
    }
}

#[test]
fn lines() {
    let root = parse("a: 1\nb:\n  - x\n  -\n  - y:\n      z\nc:\nd: 2\n");
    let Value::Map(entries) = &root.value else { panic!("{root:?}") };
    let lines: Vec<_> =
        entries.iter().map(|entry| (entry.key.as_str(), entry.line, entry.value.line)).collect();
    assert_eq!(lines, [("a", 1, 1), ("b", 2, 3), ("c", 7, 7), ("d", 8, 8)]);
    let Value::List(nodes) = &entries[1].value.value else { panic!("{root:?}") };
    assert_eq!((nodes[0].line, nodes[2].line), (3, 5));
}
