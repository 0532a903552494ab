//! Tests of [`super`]: the vectors shared with the kernel's matcher, and what is refused.

use proptest::prelude::*;

use super::*;

/// Shared with the kernel's matcher.
const VECTORS: &str = include_str!("../../../intune-filter-ebpf/tests/vectors/patterns.txt");

fn pattern(text: &str) -> Pattern {
    text.parse().unwrap_or_else(|error| panic!("{error}"))
}

/// What a pattern means by its form, without [`Pattern::matches`].
fn matches_by_form(form: Form<'_>, name: &str) -> bool {
    let Some(labels) = labels_of_name(name) else { return false };
    let name = labels.join(".").to_ascii_lowercase();
    match form {
        Form::Every => true,
        Form::Exact(exact) => name == exact,
        Form::Below(parent) => name.ends_with(&format!(".{parent}")),
        Form::Glob { prefix, suffix, parent } => {
            let (first, rest) = name.split_once('.').unwrap_or((&name, ""));
            rest == parent && first.strip_prefix(prefix).is_some_and(|rest| rest.ends_with(suffix))
        }
    }
}

#[test]
fn vectors() {
    let mut count = 0;
    for (index, line) in VECTORS.lines().enumerate() {
        if line.is_empty() || line.starts_with(';') {
            continue;
        }
        let fields: Vec<&str> = line.split_whitespace().collect();
        let [text, name, expected] = fields[..] else { panic!("line {}: {line}", index + 1) };
        let expected = match expected {
            "yes" => true,
            "no" => false,
            other => panic!("line {}: {other}", index + 1),
        };
        let pattern = pattern(text);
        assert_eq!(pattern.matches(name), expected, "line {}: {line}", index + 1);
        let by_form = pattern.expand().iter().any(|plain| matches_by_form(plain.form(), name));
        assert_eq!(by_form, expected, "by form, line {}: {line}", index + 1);
        count += 1;
    }
    assert!(count >= 150, "only {count} vectors were read");
}

#[test]
fn refuses_what_is_no_pattern() {
    let long = "a".repeat(64);
    let numbered = format!("{}#.example", "a".repeat(62));
    let name = format!(
        "{}.example",
        ["a".repeat(62), "b".repeat(62), "c".repeat(62), "d".repeat(62)].join(".")
    );
    for (text, says) in [
        ("", "empty"),
        (".", "empty"),
        ("a..example", "a label is empty"),
        (".a.example", "a label is empty"),
        ("a.example..", "a label is empty"),
        ("*.", "a label is empty"),
        ("https://a.example", "without scheme"),
        ("a.example/path", "without scheme"),
        ("10.0.0.0/8", "without scheme"),
        ("10.0.0.1", "belongs under cidrs"),
        ("m\u{fc}nchen.example", "xn--"),
        ("a.example ", "' '"),
        ("a b.example", "' '"),
        ("a.example:443", "':'"),
        ("a?.example", "'?'"),
        ("a.*.example", "leftmost label only"),
        ("a.b*.example", "leftmost label only"),
        ("a*.b*.example", "leftmost label only"),
        ("*.b*.example", "after a leading"),
        ("*.*.example", "after a leading"),
        ("*.*", "after a leading"),
        ("**.example", "several *"),
        ("a*b*.example", "several *"),
        ("a.b**.example", "several *"),
        ("#*.example", "both * and #"),
        ("##.example", "several #"),
        ("#.#.example", "several #"),
        (&long, "63"),
        (&numbered, "63"),
        (&name, "253"),
    ] {
        let error = text.parse::<Pattern>().expect_err(text).to_string();
        assert!(error.contains(says), "{text}: {error}");
    }
}

#[test]
fn forms() {
    assert_eq!(pattern("*").form(), Form::Every);
    assert_eq!(pattern("A.Example.").form(), Form::Exact("a.example"));
    assert_eq!(pattern("*.example").form(), Form::Below("example"));
    let glob = |prefix, suffix, parent| Form::Glob { prefix, suffix, parent };
    assert_eq!(pattern("*cdn.onenote.net").form(), glob("", "cdn", "onenote.net"));
    assert_eq!(pattern("a*z.example").form(), glob("a", "z", "example"));
    assert_eq!(pattern("printer*").form(), glob("printer", "", ""));
}

#[test]
fn numbers_expand_without_leading_zeros() {
    let names = pattern("#-courier.push.apple.com").names();
    assert_eq!(names.len(), 51);
    assert_eq!(names[0], "0-courier.push.apple.com");
    assert_eq!(names[50], "50-courier.push.apple.com");
    assert!(pattern("*.example").names().is_empty());
    assert!(pattern("a*.example").names().is_empty());
    assert_eq!(pattern("a.example").names(), ["a.example"]);
}

#[test]
fn serde_is_the_text() {
    let patterns: Vec<Pattern> = serde_yaml::from_str("['*.A.example.', b.example]").unwrap();
    assert_eq!(serde_json::to_string(&patterns).unwrap(), r#"["*.a.example","b.example"]"#);
    assert!(serde_yaml::from_str::<Vec<Pattern>>("[80]").is_err());
    let error = serde_yaml::from_str::<Vec<Pattern>>("['a..b']").unwrap_err().to_string();
    assert!(error.contains("a label is empty"), "{error}");
}

proptest! {
    #[test]
    fn never_panics(text in "\\PC{0,40}|[-a-c*#._/]{0,12}", name in "\\PC{0,40}|[a-c.*#]{0,9}") {
        if let Ok(pattern) = text.parse::<Pattern>() {
            prop_assert!(!pattern.matches(&name) || labels_of_name(&name).is_some());
            prop_assert_eq!(pattern.to_string().parse(), Ok(pattern.clone()));
            for plain in pattern.expand() {
                prop_assert_eq!(plain.as_str().parse(), Ok(plain.clone()));
                prop_assert!(!plain.as_str().contains('#'));
            }
        }
    }

    #[test]
    fn forms_mean_what_the_pattern_means(
        text in "(\\*\\.|[a-b]{0,2}\\*[a-b]{0,2}\\.)?[ab0#]{1,2}(\\.[ab]{1,2}){0,2}",
        name in "[abAB01]{1,3}(\\.[abAB0]{1,2}){0,4}\\.?",
    ) {
        if let Ok(pattern) = text.parse::<Pattern>() {
            let by_form = pattern.expand().iter().any(|plain| matches_by_form(plain.form(), &name));
            prop_assert_eq!(pattern.matches(&name), by_form);
        }
    }
}
