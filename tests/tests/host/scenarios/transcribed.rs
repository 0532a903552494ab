//! The fixture itself: what it says of its sources, and that no kind of device is forgotten.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Result, ensure};
use intune_filter_tests::scenarios::{Cloud, Fixture, Need, Step};

/// Scenarios that have to be there, by cloud: those of the devices and tasks that Intune has in it.
const EXPECTED: &[(Cloud, &[&str])] = &[
    (
        Cloud::Worldwide,
        &[
            "windows/autopilot-user-driven",
            "windows/autopilot-self-deploying",
            "windows/autopilot-pre-provisioned",
            "windows/autopilot-device-association",
            "windows/win32-app",
            "windows/update",
            "windows/store",
            "windows/remote-help-attended",
            "windows/remote-help-unattended",
            "windows/remote-help-gcc",
            "windows/defender",
            "windows/activation",
            "apple/ios-ade",
            "apple/ios-app",
            "apple/macos-ade",
            "android/enterprise",
            "android/aosp",
            "server/certificate-connector",
        ],
    ),
    (
        Cloud::UsGovernment,
        &[
            "windows/gov-device-preparation",
            "apple/gov-ios-ade",
            "apple/gov-macos-ade",
            "android/gov-enterprise",
            "android/gov-aosp",
        ],
    ),
    (
        Cloud::China,
        &[
            "windows/china-device-preparation",
            "apple/china-ios-ade",
            "apple/china-macos-ade",
            "android/china-company-portal",
        ],
    ),
];

#[test]
fn every_kind_of_device_has_its_scenario_in_the_clouds_where_it_is() -> Result<()> {
    let fixture = Fixture::read()?;
    let there: BTreeSet<(Cloud, &str)> =
        fixture.scenarios.iter().map(|it| (it.cloud, it.id.as_str())).collect();
    for (cloud, ids) in EXPECTED {
        for id in *ids {
            ensure!(there.contains(&(*cloud, *id)), "{id} is not there for {}", cloud.as_str());
        }
    }
    let steps: Vec<&Step> = fixture.scenarios.iter().flat_map(|it| &it.steps).collect();
    let of = |need| steps.iter().filter(|step| step.need == need).count();
    let places: BTreeSet<_> = steps.iter().map(|step| &step.destination).collect();
    println!(
        "{} scenarios, {} steps to {} destinations: {} required by documents, {} observed, {} spare; {} \
         sources, {} tenants",
        fixture.scenarios.len(),
        steps.len(),
        places.len(),
        of(Need::Required),
        of(Need::Observed),
        of(Need::Spare),
        fixture.sources.len(),
        fixture.tenants.len(),
    );
    Ok(())
}

/// Whether a step is of a kind.
type Is = fn(&Step) -> bool;

/// Of every way to reach something there is an example.
#[test]
fn every_kind_of_step_is_among_them() -> Result<()> {
    let fixture = Fixture::read()?;
    let steps: Vec<&Step> = fixture.scenarios.iter().flat_map(|it| &it.steps).collect();
    let kinds: [(&str, Is); 10] = [
        ("aliases", |step| step.via.len() > 2),
        ("a redirect", |step| step.redirected_by.is_some()),
        ("plain http", |step| step.plain.contains(&80)),
        ("TLS on another port than 443", |step| step.tcp.contains(&5223)),
        ("time", |step| step.udp.contains(&123)),
        ("media", |step| step.udp.contains(&3478)),
        ("a probe by DNS alone", |step| step.tcp.is_empty() && step.udp.is_empty()),
        ("an IPv4 prefix without DNS", |step| step.name().is_none() && is_v4(step)),
        ("an IPv6 prefix without DNS", |step| step.name().is_none() && !is_v4(step)),
        ("a name of the site's own", |step| step.name().is_some_and(|it| it.contains("{domain}"))),
    ];
    for (kind, is_there) in kinds {
        ensure!(steps.iter().any(|step| is_there(step)), "no step is {kind}");
    }
    Ok(())
}

fn is_v4(step: &Step) -> bool {
    step.destination.to_string().parse().is_ok_and(|address: std::net::IpAddr| address.is_ipv4())
}

/// A resolver has one target for an alias, whichever name has led there.
#[test]
fn an_alias_leads_to_one_target() -> Result<()> {
    let fixture = Fixture::read()?;
    let mut targets: BTreeMap<(Cloud, String), &str> = BTreeMap::new();
    let steps =
        fixture.scenarios.iter().flat_map(|it| it.steps.iter().map(|step| (it.cloud, step)));
    for (cloud, step) in steps {
        let Some(name) = step.name() else { continue };
        let names = std::iter::once(name).chain(step.via.iter().map(String::as_str));
        for (owner, target) in names.zip(&step.via) {
            let known = targets.entry((cloud, owner.to_ascii_lowercase())).or_insert(target);
            ensure!(known.eq_ignore_ascii_case(target), "{owner} leads to {known} and {target}");
        }
    }
    Ok(())
}
