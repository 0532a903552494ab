//! Every scenario, walked on the host's build of the kernel's logic.

use std::{collections::BTreeSet, fs};

use anyhow::{Context as _, Result, ensure};
use intune_filter_tests::{
    cargo::root,
    scenarios::{Cloud, Failure, Family, Fixture, HostModel, Scenario, Site, Step, walk},
};

use super::{EDITION, SETS, config, group};

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

#[test]
fn each_set_alone_gets_every_device_through() -> Result<()> {
    let fixture = Fixture::read()?;
    let mut failed = Vec::new();
    let mut spared = BTreeSet::new();
    let mut walked = 0;
    for set in SETS {
        for cloud in Cloud::ALL {
            // What does not depend on the tenant is walked once, with every tenant.
            let tenants = fixture.tenants.keys().map(|tenant| Some(tenant.as_str()));
            let is_worldwide = cloud == Cloud::Worldwide;
            for tenant in tenants.filter(|_| is_worldwide).chain([None]) {
                for gcc in [false, true] {
                    let scenarios = || fixture.promised(set, cloud, gcc);
                    let here = scenarios().filter(|it| tenant.is_none() || it.depends_on_tenant());
                    let here: Vec<&Scenario> = here.collect();
                    if here.is_empty() {
                        continue;
                    }
                    let site = fixture.site(cloud, tenant, gcc);
                    let model = HostModel::load(&config(set, &site), None)?;
                    model.check()?;
                    walked += here.len();
                    let (promised, spare) = walk_all(&model, here.into_iter(), &site, &fixture);
                    failed.extend(promised.iter().map(|it| format!("{set}, {site}: {it}")));
                    spared.extend(spare.iter().map(|it| format!("{}: {}", it.act, it.destination)));
                }
            }
        }
    }
    println!("{walked} walks over both families with edition {EDITION}");
    spared.iter().for_each(|it| println!("not promised, {it}"));
    ensure!(failed.is_empty(), "{} steps are denied:\n{}", failed.len(), failed.join("\n"));
    Ok(())
}

/// What a site names beside a set carries what no set does.
#[test]
fn services_beside_a_set_carry_what_no_set_does() -> Result<()> {
    let fixture = Fixture::read()?;
    let promises: BTreeSet<&String> = fixture.sets.values().flatten().collect();
    let beside: Vec<&String> =
        promises.into_iter().filter(|promise| !SETS.contains(&promise.as_str())).collect();
    ensure!(!beside.is_empty(), "no scenario needs more than a set");
    let mut failed = Vec::new();
    for services in beside {
        for gcc in [false, true] {
            let site = fixture.site(Cloud::Worldwide, None, gcc);
            let scenarios: Vec<&Scenario> =
                fixture.promised(services, Cloud::Worldwide, gcc).collect();
            if scenarios.is_empty() {
                continue;
            }
            let model = HostModel::load(&config(services, &site), None)?;
            let (promised, _) = walk_all(&model, scenarios.into_iter(), &site, &fixture);
            failed.extend(promised.iter().map(|it| format!("{services}: {it}")));
        }
    }
    ensure!(failed.is_empty(), "{} steps are denied:\n{}", failed.len(), failed.join("\n"));
    Ok(())
}

/// The edition of 2023-09 is older than most of the documents: what its sets deny is known by name, so
/// that a walk that denies nothing any more, or a scenario that forgets a step, is noticed.
#[test]
fn the_edition_of_2023_09_misses_these() -> Result<()> {
    let fixture = Fixture::read()?;
    let mut missed = BTreeSet::new();
    for set in SETS {
        let model = HostModel::load(&format!("edition: 2023-09\n{}", group(set)), None)?;
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
