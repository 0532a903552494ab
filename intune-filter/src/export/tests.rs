//! Tests of exporting, by readers of the forms that share nothing with their writers.

use std::collections::BTreeSet;

use super::{File, Form, Unit, export, units};
use crate::{catalogue::Catalogue, cli::services_of, pattern::Pattern};

fn editions() -> Vec<&'static Catalogue> {
    Catalogue::editions().filter_map(Catalogue::edition_named).collect()
}

fn unit(names: &[&str], networks: &[&str]) -> Unit {
    let mut ports = crate::ports::Ports::default();
    ports[intune_filter_ebpf::abi::TransportProtocol::Tcp] = vec!["443".parse().unwrap()];
    Unit {
        service: "web".to_owned(),
        title: "The web\nnft flush ruleset".to_owned(),
        source: "A document, \"a table\"".to_owned(),
        ports,
        names: names.iter().map(|name| name.parse().unwrap()).collect(),
        networks: networks.iter().map(|network| network.parse().unwrap()).collect(),
    }
}

/// What a file of names lets pass, as its program reads it.
enum Rule {
    Exact(String),
    /// The name and everything below it.
    Tree(String),
    /// Everything below the name.
    Below(String),
}

impl Rule {
    fn passes(&self, name: &str) -> bool {
        let is_below = |parent: &str| {
            name.strip_suffix(parent).is_some_and(|rest| rest.len() > 1 && rest.ends_with('.'))
        };
        match self {
            Self::Exact(own) => name == own,
            Self::Tree(own) => name == own || is_below(own),
            Self::Below(own) => is_below(own),
        }
    }
}

fn read(form: Form, text: &str) -> Vec<Rule> {
    let list = |line: &str| match line.strip_prefix("*.") {
        Some(name) => Rule::Below(name.to_owned()),
        None => Rule::Exact(line.to_owned()),
    };
    text.lines()
        .filter_map(|line| match form {
            Form::Dnsmasq => {
                let name = line.strip_prefix("nftset=/")?.split('/').next()?;
                Some(Rule::Tree(name.to_owned()))
            }
            Form::Unbound => {
                let name = line.trim().strip_prefix("local-zone: \"")?.split('"').next()?;
                Some(Rule::Tree(name.trim_end_matches('.').to_owned()))
            }
            Form::Rpz => Some(list(line.strip_suffix(" CNAME rpz-passthru.")?)),
            Form::List => (!line.starts_with("# ")).then(|| list(line)),
            Form::Csv => None,
            Form::Nftables | Form::Ipset => None,
        })
        .collect()
}

/// Names that a header tells after a line with these words.
fn told<'a>(text: &'a str, words: &str) -> BTreeSet<&'a str> {
    let mut lines = text.lines();
    let mut names = BTreeSet::new();
    while let Some(line) = lines.next() {
        if !line.contains(words) {
            continue;
        }
        for line in lines.by_ref() {
            let body = line.trim_start_matches(['#', ';']);
            if !body.starts_with("   ") {
                break;
            }
            names.extend(body.split_whitespace());
        }
    }
    names
}

/// Names around a pattern: what it matches, and what is near.
fn around(pattern: &Pattern) -> Vec<String> {
    let mut names = Vec::new();
    for star in ["x", "x.y", "", "x-y1"] {
        for text in pattern.expand() {
            let text = text.as_str().replace('*', star);
            let text = text.trim_start_matches('.').to_owned();
            names.push(format!("x.{text}"));
            names.push(format!("x.y.{text}"));
            names.push(format!("x{text}"));
            names.extend(text.split_once('.').map(|(_, parent)| parent.to_owned()));
            names.extend(text.split_once('.').map(|(_, parent)| format!("other.{parent}")));
            names.push(text);
        }
    }
    names.retain(|name| !name.contains("..") && !name.is_empty());
    names
}

/// Compares what files let pass with what the catalogue does, names told in a header apart.
fn judge(form: Form, unit: &Unit, files: &[File]) -> usize {
    let mut judged = 0;
    for file in files.iter().filter(|file| !file.name.ends_with(".networks.txt")) {
        let rules = read(form, &file.text);
        let below = told(&file.text, "everything below these names passes");
        let apex = told(&file.text, "these names pass themselves");
        let left_out = told(&file.text, "patterns with a * inside");
        for name in unit.names.iter().flat_map(around) {
            judged += 1;
            let matching: Vec<&Pattern> =
                unit.names.iter().filter(|pattern| pattern.matches(&name)).collect();
            let passes = rules.iter().any(|rule| rule.passes(&name));
            if passes && matching.is_empty() {
                let is_told = apex.contains(name.as_str())
                    || below.iter().any(|told| name.ends_with(&format!(".{told}")));
                assert!(is_told, "{}: {name} passes, and the header does not say so", file.name);
            }
            if !passes && !matching.is_empty() {
                let is_told = matching.iter().all(|pattern| left_out.contains(pattern.as_str()));
                assert!(is_told, "{}: {name} is left out in silence", file.name);
            }
        }
    }
    judged
}

#[test]
fn no_export_lets_pass_what_the_catalogue_denies() {
    let mut judged = 0;
    for edition in editions() {
        for unit in units(&services_of(edition)) {
            for form in [Form::Dnsmasq, Form::Unbound, Form::Rpz, Form::List] {
                let files = export(form, &unit, &edition.edition().name);
                if files.is_empty() {
                    let is_plain = |name: &Pattern| !name.as_str().contains('*');
                    assert!(!unit.names.iter().any(is_plain), "{form}: no file of {}", unit.id());
                }
                judged += judge(form, &unit, &files);
            }
        }
    }
    assert!(judged > 10_000, "{judged}");
}

#[test]
fn prefixes_are_exported_as_they_are() {
    for edition in editions() {
        for unit in units(&services_of(edition)) {
            let expected: BTreeSet<String> =
                unit.networks.iter().map(ToString::to_string).collect();
            let words = |text: &str, first: &str| -> BTreeSet<String> {
                let lines = text.lines().filter(|line| line.starts_with(first));
                lines.filter_map(|line| line.split_whitespace().last()).map(str::to_owned).collect()
            };
            let ipset = export(Form::Ipset, &unit, "");
            assert_eq!(
                ipset.iter().flat_map(|file| words(&file.text, "add ")).collect::<BTreeSet<_>>(),
                expected
            );
            let [nftables] = &export(Form::Nftables, &unit, "")[..] else { panic!("one file") };
            let elements: BTreeSet<String> = nftables
                .text
                .lines()
                .filter(|line| line.starts_with("\t\t\t"))
                .map(|line| line.trim().trim_end_matches(',').to_owned())
                .collect();
            assert_eq!(elements, expected);
            let list = export(Form::List, &unit, "");
            let networks = list.iter().filter(|file| file.name.ends_with(".networks.txt"));
            let listed: BTreeSet<String> = networks
                .flat_map(|file| file.text.lines().filter(|line| !line.starts_with('#')))
                .map(str::to_owned)
                .collect();
            assert_eq!(listed, expected);
        }
    }
}

#[test]
fn csv_reads_back_as_a_table() {
    let unit = unit(&["a.example", "*.b.example", "c*d.example", "#-e.example"], &["192.0.2.0/24"]);
    let [file] = &export(Form::Csv, &unit, "")[..] else { panic!("one file") };
    let gathered =
        crate::import::read(&file.name, file.text.as_bytes(), &crate::import::Options::default())
            .unwrap();
    let read: BTreeSet<String> = gathered
        .groups
        .iter()
        .flat_map(|group| group.rules.values())
        .flat_map(|rule| rule.keys().map(ToString::to_string))
        .collect();
    let expected = unit
        .names
        .iter()
        .map(ToString::to_string)
        .chain(unit.networks.iter().map(ToString::to_string))
        .collect();
    assert_eq!(read, expected);
}

#[test]
fn headers_say_what_a_form_cannot() {
    let unit = unit(&["a.example", "*.b.example", "c*d.example"], &["192.0.2.0/24"]);
    let [dnsmasq] = &export(Form::Dnsmasq, &unit, "2026-08")[..] else { panic!("one file") };
    for line in [
        "catalogue 2026-08",
        "# ports: tcp 443",
        "# no ports: use it for tcp 443 alone",
        "# too wide: everything below these names passes too\n#   a.example",
        "# too wide: these names pass themselves, not only those below\n#   b.example",
        "# left out: patterns with a * inside\n#   c*d.example",
        "# left out: 1 prefixes",
    ] {
        assert!(dnsmasq.text.contains(line), "{line}\n{}", dnsmasq.text);
    }
    for form in Form::ALL.into_iter().filter(|form| *form != Form::Csv) {
        for file in export(form, &unit, "2026-08") {
            assert!(!file.text.lines().any(|line| line.starts_with("nft ")), "{}", file.text);
        }
    }
}

#[test]
fn long_ids_stay_apart() {
    let mut one = unit(&["a.example"], &["192.0.2.0/24", "0.0.0.0/0"]);
    one.service = "a-service-with-a-long-id-of-its-own-first".to_owned();
    let mut other = one.clone();
    other.service = "a-service-with-a-long-id-of-its-own-second".to_owned();
    assert_ne!(one.id_within(29), other.id_within(29));
    assert!(one.id_within(29).len() <= 29);
    let [file] = &export(Form::Ipset, &one, "")[..] else { panic!("one file") };
    assert!(
        file.text.contains(" 0.0.0.0/1\n") && file.text.contains(" 128.0.0.0/1\n"),
        "{}",
        file.text
    );
}
