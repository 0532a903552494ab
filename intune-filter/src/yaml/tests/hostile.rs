//! Tests hostile texts, and texts from odd editors: each is read or refused in short time and
//! bounded memory.

use std::time::{Duration, Instant};

use super::{faults, good, site};

/// Time limit that a debug build keeps even on a busy machine.
const PATIENCE: Duration = Duration::from_secs(30);

/// Octets of the large texts.
const LARGE: usize = 10 << 20;

#[track_caller]
fn refused(text: &str, says: &str) {
    let begin = Instant::now();
    let found = faults(text);
    let shown = text.get(..60).unwrap_or(text);
    assert!(found.iter().any(|fault| fault.contains(says)), "{shown:?}: {found:.3?}");
    assert!(begin.elapsed() < PATIENCE, "{shown:?} took {:?}", begin.elapsed());
}

#[test]
fn aliases_and_tags_are_refused_at_their_place() {
    refused(
        "name: &a x\nbelow: [*a]\n",
        "2: below[0]: a YAML alias, expected the value written out",
    );
    refused("name: !!str 1\n", "1: name: a YAML tag, expected a plain value");
    refused("name: !include /etc/shadow\n", "1: name: a YAML tag");
    refused("<<: *absent\n", "");
    // A billion laughs: refused at the first alias, before anything expands.
    let mut bomb = String::from("below:\n- &a0 {name: lol}\n");
    for level in 1..40 {
        let aliases = vec![format!("*a{}", level - 1); 10].join(", ");
        bomb += &format!("- &a{level} {{below: [{aliases}]}}\n");
    }
    refused(&bomb, "3: below[1].below[0]: a YAML alias");
    // An anchor without an alias has no effect.
    assert_eq!(good("name: &a x\n").name.as_deref(), Some("x"));
}

#[test]
fn nesting_is_refused_before_it_costs_the_stack() {
    for (open, close) in [("[", "]"), ("{a: ", "}"), ("- ", "")] {
        let nested = |depth| format!("below:\n  {}x{}\n", open.repeat(depth), close.repeat(depth));
        refused(&nested(50), "nested too deeply");
    }
    for open in ["[", "{", "- ", "? ", "[{a: "] {
        refused(&open.repeat(LARGE / 10 / open.len()), "");
    }
}

#[test]
fn large_files_take_short_time() {
    // Text without any value.
    refused(&"#".repeat(LARGE), "the file is empty, expected a site");
    refused(&"\n".repeat(LARGE), "the file is empty");
    // A single value.
    let name = "x".repeat(LARGE);
    assert_eq!(good(&format!("name: {name}\n")).name, Some(name));
    // Too many values: refused at the first beyond the limit.
    refused(
        &format!("patterns:\n{}", "- a\n".repeat(LARGE / 4)),
        "1048576: more than 1048576 values",
    );
}

#[test]
fn faults_beyond_a_thousand_are_counted() {
    let keys: String = (0..100_000).map(|key| format!("k{key}: 1\n")).collect();
    let found = faults(&keys);
    assert_eq!(found.len(), 1001);
    assert!(found[0].starts_with("1: k0: unknown key"), "{}", found[0]);
    assert!(found[1000].starts_with("-: 99000 more faults"), "{}", found[1000]);
    let twice = "name: a\n".repeat(5000);
    assert_eq!(faults(&twice).len(), 1001);
    assert_eq!(faults(&twice)[0], "2: name: given twice, first on line 1");
}

#[test]
fn every_line_end_and_a_byte_order_mark_are_read() {
    let text = "name: a\nports:\n- 80\n- 443\n";
    for text in [
        text.replace('\n', "\r\n"),
        format!("\u{feff}{text}"),
        format!("\u{feff}---\n{text}...\n"),
        format!("%YAML 1.2\n---\n{text}"),
    ] {
        let read = good(&text);
        assert_eq!((read.name.as_deref(), read.ports.len()), (Some("a"), 2), "{text:?}");
    }
    let crlf = text.replace('\n', "\r\n").replace("443", "0");
    assert!(faults(&crlf)[0].starts_with("4: ports[1]: port 0"), "{:?}", faults(&crlf));
    // Elsewhere a byte order mark is a letter of a key, which is then unknown.
    refused("name: a\n\u{feff}ports: [80]\n", "");
}

#[test]
fn controls_and_tabs_are_no_indentation() {
    refused("name: a\0b\n", "");
    refused("\0", "");
    refused("name: a\n\0ports: [80]\n", "");
    refused("below:\n\t- name: a\n", "not YAML");
    // Before a comment a tab is white space.
    assert_eq!(good("name: a\t# b\n").name.as_deref(), Some("a"));
}

#[test]
fn one_file_is_one_document() {
    refused("name: a\n---\nname: b\n", "2: a second document, expected one only");
    refused("---\n---\nname: b\n", "a second document");
    refused("name: a\n...\nname: b\n", "a second document");
    refused("", "-: the file is empty, expected a site");
    refused("---\n...\n", "the file is empty");
    refused("~\n", "the file is empty");
    assert_eq!(good("---\nname: a\n...\n").name.as_deref(), Some("a"));
}

#[test]
fn keys_that_are_no_words_are_refused() {
    refused("? [a]\n: 1\n", "1: a key that is no text, expected a word");
    refused("? {a: 1}\n: 1\n", "a key that is no text");
    refused("*a: 1\n", "");
    refused("name: a\nname: b\nname: c\n", "3: name: given twice, first on line 1");
    refused("below: [{name: a, name: b}]\n", "1: below[0].name: given twice");
    // A file with a duplicate key yields no value, since either may be meant.
    assert_eq!(site("name: a\nname: b\n").value, None);
    refused("\"\": 1\n", "unknown key");
}
