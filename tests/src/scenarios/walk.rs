//! Walks scenarios on the host's build of the kernel's logic.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    net::IpAddr,
};

use super::{
    model::{Denial, Family, HostModel},
    step::{Destination, Step},
};
use crate::records;

/// A step that the policy denies.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// Id of the scenario.
    pub scenario: String,
    /// What the device does.
    pub act: String,
    /// Where the step leads.
    pub destination: Destination,
    /// Family of the client.
    pub family: Family,
    /// The packet that was denied.
    pub what: String,
    /// Reason of the verdict.
    pub reason: &'static str,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { scenario, act, destination, family, what, reason } = self;
        let family = family.as_str();
        write!(f, "{scenario}: {act}: {destination}: {family}: {what} is denied ({reason})")
    }
}

/// Addresses of names: no two of them share one, so that no step passes by what another one has learned.
#[must_use]
pub fn addresses<'a>(steps: impl IntoIterator<Item = &'a Step>) -> BTreeMap<String, [IpAddr; 2]> {
    let names: BTreeSet<&str> = steps.into_iter().filter_map(Step::name).collect();
    let names = names.into_iter().map(str::to_owned);
    names.zip(1..).map(|(name, number)| (name, records::addresses(number))).collect()
}

/// Walks the steps of a scenario from an empty state, and returns those that are denied. Each goes on
/// after the first denial with the next step, so that one missing name is one failure.
#[must_use]
pub fn walk(model: &HostModel, scenario: &str, family: Family, steps: &[Step]) -> Vec<Failure> {
    model.forget();
    let addresses = addresses(steps);
    let failed = |step: &Step| {
        let denial = step_of(model, family, step, &addresses).err()?;
        Some(Failure {
            scenario: scenario.to_owned(),
            act: step.act.clone(),
            destination: step.destination.clone(),
            family,
            what: denial.what,
            reason: denial.reason,
        })
    };
    steps.iter().filter_map(failed).collect()
}

fn step_of(
    model: &HostModel,
    family: Family,
    step: &Step,
    addresses: &BTreeMap<String, [IpAddr; 2]>,
) -> Result<(), Denial> {
    let to = match &step.destination {
        Destination::Address(address) if address.is_ipv4() == (family == Family::V4) => *address,
        // A prefix of the other family.
        Destination::Address(_) => return Ok(()),
        Destination::Name(name) => {
            let own = addresses.get(name).map_or(family.unspecified(), |own| family.pick(*own));
            let to = step.answers.map_or(own, |answers| answers.of(family));
            model.ask(family, name, &step.via, to, step.ttl)?;
            to
        }
    };
    for port in &step.tcp {
        model.connect(family, to, *port)?;
    }
    for port in &step.udp {
        model.send(family, to, *port)?;
    }
    Ok(())
}
