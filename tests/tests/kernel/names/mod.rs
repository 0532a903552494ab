//! Names in the kernel: its matcher and what it learns, by the loaded programs.

#[path = "../../../../intune-filter-ebpf/tests/dns/choices.rs"]
mod choices;
#[path = "../../../../intune-filter-ebpf/tests/dns/damage.rs"]
mod damage;
mod exchanges;
mod matcher;
#[expect(dead_code, reason = "shared with the tests of the logic on the host, which use the rest")]
#[path = "../../../../intune-filter-ebpf/tests/dns/message.rs"]
mod message;
#[expect(dead_code, reason = "shared with the tests of the logic on the host, which use the rest")]
#[path = "../../../../intune-filter-ebpf/tests/dns/model/mod.rs"]
mod model;
#[path = "../../../../intune-filter-ebpf/tests/dns/random.rs"]
mod random;
#[path = "../../../../intune-filter-ebpf/tests/dns/recorded.rs"]
mod recorded;

use std::{
    collections::BTreeMap,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
};

use anyhow::Result;
use intune_filter::config::Config;
use intune_filter_ebpf::abi::{Host, RuleMask, V4, V6};
use intune_filter_tests::prog_test_run::{Addresses, Datagram, LoadedFilter};

/// A client and a resolver beyond the gateway.
const PORT: u16 = 40_000;

/// A configuration of one group, with a service for each list of patterns.
fn config(services: &[Vec<&str>]) -> Config {
    let ids: Vec<String> = (0..services.len()).map(|index| format!("s{index}")).collect();
    let entries = ids.iter().zip(services).map(|(id, patterns)| {
        let patterns: Vec<String> = patterns.iter().map(|pattern| format!("'{pattern}'")).collect();
        format!(
            "  - {{id: {id}, title: S, allow_broad: true, fqdns: [{}], tcp: [443]}}\n",
            patterns.join(", ")
        )
    });
    let entries: String = entries.collect();
    let text = format!(
        "interfaces: [{{name: eth1}}]\n\
         clients:\n  - {{name: lan, networks: [10.20.0.0/24, 'fd00:20::/64'], services: [{}]}}\n\
         dns: {{resolvers: [192.0.2.53, '2001:db8:53::53']}}\n\
         limits: {{queries: off, flows: off}}\n\
         services:\n{entries}",
        ids.join(", ")
    );
    Config::parse("config.yaml", &text).unwrap_or_else(|errors| panic!("{errors}"))
}

/// The frame of a query.
fn asked(who: &Addresses, message: &[u8]) -> Vec<u8> {
    Datagram::new(who.client, who.resolver).udp(PORT, 53, message).frame()
}

/// The frame of an answer.
fn answered(who: &Addresses, message: &[u8]) -> Vec<u8> {
    Datagram::new(who.resolver, who.client).udp(53, PORT, message).frame()
}

/// Rules and expiry of each learned address.
fn learned(filter: &LoadedFilter) -> Result<BTreeMap<IpAddr, (RuleMask, u64)>> {
    let value = |host: Host| (host.rules, host.expires);
    let four = filter.pins().elements::<V4, Host>("HOSTS4")?;
    let six = filter.pins().elements::<V6, Host>("HOSTS6")?;
    let four = four.into_iter().map(|(at, host)| (Ipv4Addr::from(at).into(), value(host)));
    let six = six.into_iter().map(|(at, host)| (Ipv6Addr::from(at).into(), value(host)));
    Ok(four.chain(six).collect())
}
