//! The testbed itself: without a filter, everything that the demo expects to be denied is
//! reached. So a denial in the other tests is the filter's doing.

use std::time::Duration;

use anyhow::{Result, ensure};
use intune_filter::catalogue::Catalogue;
use intune_filter_demo::{
    plan::{ExpectedAnswer, Plan},
    services::services,
};
use intune_filter_tests::{
    directory::Directory,
    dns::{ADDRESS_TYPES, lookup},
    listeners::Listeners,
    network::Network,
    probe::{ProbeResult, Transport, concurrently, probe},
    records::Records,
    resolver::{Kind, Resolver},
};
use serde_json::json;

const PATIENCE: Duration = Duration::from_secs(5);

#[test]
fn without_a_filter_every_probe_of_the_demo_arrives() -> Result<()> {
    let list = Catalogue::builtin().services().iter().map(
        |service| json!({"id": service.id, "title": service.title, "cidrs": ["10.40.0.0/16"]}),
    );
    let services = services(&list.collect())?;
    let mut records = Records::default();
    let plan = Plan::new(&services, &mut records);

    let directory = Directory::create()?;
    let network = Network::create(directory.label())?;
    let [tcp, udp] = [Transport::Tcp, Transport::Udp].map(|transport| plan.ports(transport));
    let _internet = Listeners::start(&network.internet, tcp, udp)?;
    let _gateway = Listeners::start(&network.gateway, [22], [])?;

    let probes: Vec<_> = plan.probes().collect();
    let outcomes =
        concurrently(&network.client, 16, &probes, |planned| probe(planned.target, PATIENCE));
    for (planned, outcome) in probes.iter().zip(outcomes) {
        ensure!(outcome == ProbeResult::Reached, "{}: {outcome:?}", planned.target);
    }
    Ok(())
}

#[test]
fn without_a_filter_every_name_of_the_demo_is_resolved_by_both_resolvers() -> Result<()> {
    let list = Catalogue::builtin()
        .services()
        .iter()
        .map(|service| json!({"id": service.id, "title": service.title, "cidrs": []}));
    let mut records = Records::default();
    let plan = Plan::new(&services(&list.collect())?, &mut records);

    for kind in [Kind::Dnsmasq, Kind::Unbound] {
        let directory = Directory::create()?;
        let network = Network::create(directory.label())?;
        let resolver = Resolver::start(kind, &network, &directory, &records)?;
        for server in resolver.addresses() {
            let answers = concurrently(&network.client, 16, &plan.lookups, |question| {
                ADDRESS_TYPES.map(|kind| lookup(server, &question.name, kind, PATIENCE))
            });
            for (question, answers) in plan.lookups.iter().zip(answers) {
                let expected = match question.answer {
                    ExpectedAnswer::Addresses(addresses) => Some(addresses),
                    ExpectedAnswer::Refused | ExpectedAnswer::Silence(_) => {
                        records.get(&question.name)
                    }
                };
                let found = answers.map(|answer| answer.map(|answer| answer.addresses));
                for (found, expected) in found.into_iter().zip(expected.into_iter().flatten()) {
                    assert_eq!(found?, [expected], "{} from {server}", question.name);
                }
            }
        }
    }
    Ok(())
}
