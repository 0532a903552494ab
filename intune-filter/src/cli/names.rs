//! Implements `names`: lists learned addresses with the names that led to them.

use std::net::IpAddr;

use intune_filter_ebpf::abi::{Host, RuleMask};

use super::{
    args::Global,
    context,
    error::{ExitStatus, Failure},
    output,
    services::service_of,
};
use crate::{
    kernel::Pins,
    names::{Names, is_target},
    report::LearnedAddress,
    system::clock,
};

const SECOND: u64 = 1_000_000_000;

/// Runs the command.
pub(super) fn run(global: &Global) -> Result<(ExitStatus, String), Failure> {
    let paths = context::paths(global);
    let learned = match Pins::open(&paths.pin_dir)? {
        Some(pins) => {
            let names = context::names(&paths);
            join(&pins.hosts()?, &names, &pins.rules()?, clock::boot_time())
        }
        None => Vec::new(),
    };
    let text = if global.json {
        output::json(&learned)?
    } else if learned.is_empty() {
        "no address is learned\n".to_owned()
    } else {
        let rows: Vec<[String; 4]> = learned
            .iter()
            .map(|entry| {
                [
                    entry.name.clone().unwrap_or_else(|| "-".into()),
                    entry.address.to_string(),
                    entry.services.iter().cloned().collect::<Vec<_>>().join(", "),
                    output::seconds(entry.expires_in_s),
                ]
            })
            .collect();
        output::table(["NAME", "ADDRESS", "SERVICES", "EXPIRES IN"], &rows)
    };
    Ok((ExitStatus::Yes, text))
}

/// Joins the kernel's addresses, which decide what is listed, with the names that explain them.
fn join(
    hosts: &[(IpAddr, Host)],
    names: &Names,
    rules: &[Option<String>],
    now: u64,
) -> Vec<LearnedAddress> {
    let mut learned = Vec::new();
    let live = hosts.iter().filter(|(address, host)| host.expires > now && !is_target(*address));
    for (address, host) in live {
        let before = learned.len();
        for (name, binding) in
            names.of_address(*address).filter(|(_, binding)| binding.expires > now)
        {
            learned.push(LearnedAddress {
                name: Some(name.to_owned()),
                address: *address,
                services: binding.rules.iter().map(|rule| service_of(rule).to_owned()).collect(),
                expires_in_s: (binding.expires.min(host.expires) - now) / SECOND,
            });
        }
        if learned.len() == before {
            learned.push(LearnedAddress {
                name: None,
                address: *address,
                services: names_of_bits(host.rules, rules)
                    .map(|rule| service_of(rule).to_owned())
                    .collect(),
                expires_in_s: (host.expires - now) / SECOND,
            });
        }
    }
    // Addresses without a name come last.
    learned.sort_by(|a, b| {
        (a.name.is_none(), &a.name, a.address).cmp(&(b.name.is_none(), &b.name, b.address))
    });
    learned
}

/// The full ids of the rules in a mask.
pub(super) fn names_of_bits(
    mask: RuleMask,
    rules: &[Option<String>],
) -> impl Iterator<Item = &str> {
    mask.iter().filter_map(|bit| rules.get(usize::from(bit))?.as_deref())
}

#[cfg(test)]
mod tests {
    use intune_filter_ebpf::abi::RULES;

    use super::*;
    use crate::names::key_of_target;

    #[test]
    fn the_kernel_decides_what_is_listed() {
        let address = |last: u8| IpAddr::from([192, 0, 2, last]);
        let mut rules = vec![None; RULES];
        rules[70] = Some("core/main".to_owned());
        rules[140] = Some("push/wns".to_owned());
        let host = |rules: &[u8], seconds| {
            Host::new(rules.iter().copied().collect(), seconds * SECOND, 0, 0)
        };
        let mut names = Names::default();
        names.learn("b.example", address(1), ["core/main".to_owned()], 90 * SECOND);
        names.learn("a.example", address(1), ["push/wns".to_owned()], 200 * SECOND);
        names.learn("gone.example", address(9), ["push/wns".to_owned()], 200 * SECOND);
        let key = key_of_target("t.example", 7).unwrap();
        names.learn_target("a.example", ("t.example", key), ["push/wns".to_owned()], 200 * SECOND);
        let hosts = [
            (key, host(&[140], 100)),
            (address(2), host(&[70, 140], 70)),
            (address(1), host(&[70, 140], 100)),
            (address(3), host(&[70], 50)),
        ];
        let listed: Vec<_> = join(&hosts, &names, &rules, 60 * SECOND)
            .into_iter()
            .map(|entry| (entry.name, entry.address, entry.services.len(), entry.expires_in_s))
            .collect();
        assert_eq!(
            listed,
            [
                (Some("a.example".into()), address(1), 1, 40),
                (Some("b.example".into()), address(1), 1, 30),
                (None, address(2), 2, 10),
            ]
        );
    }
}
