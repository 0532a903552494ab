//! Every scenario, walked on the host's build of the kernel's logic.

use std::{collections::BTreeSet, fs};

use anyhow::{Context as _, Result, ensure};
use intune_filter_tests::{
    cargo::root,
    scenarios::{Cloud, Failure, Family, Fixture, HostModel, Scenario, Site, Step, walk},
};

use super::{SETS, config};

/// What the sets of the edition of 2023-09 miss: a golden file, and the proof that the walk can fail.
const MISSED: &str = "tests/scenarios/missed-2023-09.txt";

/// Walks scenarios over both families, and returns the denied steps: those that are promised, and spare.
fn walk_all<'a>(
    model: &HostModel,
    scenarios: impl Iterator<Item = &'a Scenario>,
    site: &Site,
    fixture: &Fixture,
) -> (Vec<Failure>, Vec<Failure>) {
    let (mut promised, mut spare) = (Vec::new(), Vec::new());
    for scenario in scenarios {
        let steps = scenario.steps_at(site, &fixture.tenants);
        let (needed, rest): (Vec<Step>, Vec<Step>) = steps.into_iter().partition(Step::is_promised);
        for family in Family::BOTH {
            promised.extend(walk(model, &scenario.id, family, &needed));
            spare.extend(walk(model, &scenario.id, family, &rest));
        }
    }
    (promised, spare)
}

/// The edition of 2023-09 is older than most of the documents: what its sets deny is known by name, so
/// that a walk that denies nothing any more, or a scenario that forgets a step, is noticed.
#[test]
fn the_edition_of_2023_09_misses_these() -> Result<()> {
    let fixture = Fixture::read()?;
    let mut missed = BTreeSet::new();
    for set in SETS {
        let model = HostModel::load(&config(set), None)?;
        model.check()?;
        let site = fixture.site(Cloud::Worldwide, None, false);
        let scenarios = fixture.promised(set, Cloud::Worldwide, false);
        for failure in walk_all(&model, scenarios, &site, &fixture).0 {
            let Failure { destination, family, reason, .. } = failure;
            missed.insert(format!("{set} {destination} {} {reason}", family.as_str()));
        }
    }
    let text: String = missed.iter().map(|line| format!("{line}\n")).collect();
    let path = root().join(MISSED);
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        fs::write(&path, &text)?;
    }
    let golden = fs::read_to_string(&path).with_context(|| MISSED)?;
    let golden: BTreeSet<&str> = golden.lines().collect();
    let found: BTreeSet<&str> = text.lines().collect();
    let (new, gone) = (found.difference(&golden), golden.difference(&found));
    let changed: Vec<String> =
        new.map(|it| format!("+ {it}")).chain(gone.map(|it| format!("- {it}"))).collect();
    ensure!(changed.is_empty(), "{MISSED}: UPDATE_GOLDEN=1 writes it:\n{}", changed.join("\n"));
    Ok(())
}
