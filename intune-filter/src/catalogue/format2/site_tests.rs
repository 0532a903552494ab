//! Tests of a site's own catalogue, which adds to an edition.

use crate::catalogue::Catalogue;

const EDITION: &str = "format: 2\nedition: site\nextends: 2023-09\n";
const PRINTERS: &str = "\
format: 2
sources:
  list: {title: A list, date: 2030-01-01, read: {file: list.txt, sha256: \"00\"}}
services:
  - id: printers
    title: Printers
    rules:
      - {id: raw, tcp: [9100], to: [{cidr: 192.0.2.0/24, from: list}]}
";

fn parse(edition: &str, printers: &str) -> Result<Catalogue, String> {
    Catalogue::parse([("edition.yaml", edition), ("printers.yaml", printers)])
        .map_err(|error| error.to_string())
}

#[test]
fn a_sites_services_stand_beside_those_of_the_edition() {
    let base = Catalogue::edition_named("2023-09").unwrap();
    let with_set = format!("{EDITION}sets: {{office: [printers, windows]}}\n");
    let site = parse(&with_set, PRINTERS).unwrap();
    assert_eq!(site.services().len(), base.services().len() + 1);
    assert_eq!(site.edition().name, "2023-09+site");
    assert_eq!(site.edition().date(), base.edition().date(), "a list makes no edition younger");
    let printers = site.service("printers").unwrap();
    assert_eq!(site.cite(printers), "A list (2030-01-01)");
    let office = site.set("office").unwrap().len();
    assert_eq!(office, base.set("windows").unwrap().len() + 1);
    assert_eq!(site.set("all").unwrap().len(), site.services().len());
    assert_eq!(site.tenants().count(), base.tenants().count());
}

#[test]
fn nothing_of_the_edition_changes_its_meaning() {
    for (edition, printers, error) in [
        ("extends: 2023-09", "extends: 1999-01", "edition.yaml:3: extends: "),
        (
            "id: printers",
            "id: intune-core",
            "printers.yaml:5: services[0].id: duplicate id \"intune-core\", first used at edition 2023-09",
        ),
        ("id: printers", "id: windows", "\"windows\" is the name of a set"),
        (
            "title: Printers",
            "title: Printers\n    aliases: [default]",
            "\"default\" is the name of a set",
        ),
        (
            "extends: 2023-09",
            "extends: 2023-09\nsets: {windows: [printers]}",
            "a set of the edition that this one adds to",
        ),
        ("from: list", "from: lists", "unknown source \"lists\""),
        (
            "extends: 2023-09",
            "extends: 2023-09\nsources: {list: {title: Another}}",
            "duplicate source \"list\"",
        ),
        ("{file: list.txt, sha256: \"00\"}", "{path: list.txt}", "neither repo nor file"),
    ] {
        let replaced = |text: &str| text.replacen(edition, printers, 1);
        let found = parse(&replaced(EDITION), &replaced(PRINTERS)).expect_err(printers);
        assert!(found.contains(error), "{printers}: {found}");
    }
}
