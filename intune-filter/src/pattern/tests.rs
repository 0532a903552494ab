//! Tests the vectors shared with the kernel's matcher, and refused patterns.

use proptest::prelude::*;

use super::*;

/// Vectors shared with the kernel's matcher.
const VECTORS: &str = include_str!("../../../intune-filter-ebpf/tests/vectors/patterns.txt");

fn pattern(text: &str) -> Pattern {
    text.parse().unwrap_or_else(|error| panic!("{error}"))
}

/// Whether a name matches by the pattern's form, without [`Pattern::matches`].
fn matches_by_form(form: &Form<'_>, name: &str) -> bool {
    let Some(labels) = labels_of_name(name) else { return false };
    let matches = |(label, asked): (&&str, &Label<'_>)| {
        let label = label.to_ascii_lowercase();
        match asked {
            Label::Exact(exact) => label == *exact,
            Label::Glob { prefix, suffix } => {
                label.strip_prefix(prefix).is_some_and(|rest| rest.ends_with(suffix))
            }
        }
    };
    let more = labels.len().checked_sub(form.labels.len());
    let all = labels.iter().rev().zip(form.labels.iter().rev()).all(matches);
    all && more.is_some_and(|more| (more > 0) == form.below)
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
        let by_form = pattern.expand().iter().any(|plain| matches_by_form(&plain.form(), name));
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
        ("10.0.0.*", "belongs under cidrs"),
        ("10.*.*.*", "belongs under cidrs"),
        ("*.*.*.1", "belongs under cidrs"),
        ("a.b*c*.example", "several *"),
        ("a..*.example", "a label is empty"),
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
    let form = |below, labels: &[Label<'static>]| Form { below, labels: labels.to_vec() };
    let exact = Label::Exact;
    let glob = |prefix, suffix| Label::Glob { prefix, suffix };
    for (text, expected) in [
        ("*", form(true, &[])),
        ("A.Example.", form(false, &[exact("a"), exact("example")])),
        ("*.example", form(true, &[exact("example")])),
        ("*cdn.onenote.net", form(false, &[glob("", "cdn"), exact("onenote"), exact("net")])),
        ("a*z.example", form(false, &[glob("a", "z"), exact("example")])),
        ("printer*", form(false, &[glob("printer", "")])),
        ("a.*.example", form(false, &[exact("a"), glob("", ""), exact("example")])),
        ("*.a*.example", form(true, &[glob("a", ""), exact("example")])),
        ("*.*", form(true, &[glob("", "")])),
    ] {
        assert_eq!(pattern(text).form(), expected, "{text}");
    }
    for inner in ["a.*.example", "*.a*.example", "*.*", "a*.b*.example", "a.b*"] {
        assert!(pattern(inner).has_inner_glob(), "{inner}");
    }
    for plain in ["*", "*.example", "a*.example", "printer*", "a.example"] {
        assert!(!pattern(plain).has_inner_glob(), "{plain}");
    }
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
        text in "(\\*\\.|[ab]{0,2}\\*[ab]{0,2}\\.)?[ab0#]{1,2}(\\.[ab]{1,2}|\\.[ab]?\\*[ab]?){0,2}",
        name in "[abAB01]{1,3}(\\.[abAB0]{1,2}){0,4}\\.?",
    ) {
        if let Ok(pattern) = text.parse::<Pattern>() {
            let by_form = pattern.expand().iter().any(|plain| matches_by_form(&plain.form(), &name));
            prop_assert_eq!(pattern.matches(&name), by_form);
        }
    }
}
