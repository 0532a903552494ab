//! A rule that takes another one's bit, since all are taken, gets nothing of what that has learned:
//! not for a single packet.

use std::net::IpAddr;

use anyhow::{Context as _, Result, ensure};
use intune_filter::{
    catalogue::Catalogue,
    config::Config,
    daemon::reload,
    kernel::{Kernel, ZoneMap},
    names::{Names, learning::Learner},
    policy::{Policy, RuleBits, compile},
};
use intune_filter_ebpf::abi::{RULES, Reason, RuleMask};
use intune_filter_tests::{
    prog_test_run::{Datagram, IngressHook, LoadedFilter, run_at},
    unreported::Unreported,
};

use super::observed;

const FOREVER: u64 = u64::MAX / 2;

/// Changes of hands.
const CHANGES: usize = 20;

/// The address that the rule "old" has learned, and the rule "new" never.
const ADDRESS: [u8; 4] = [20, 0, 0, 7];

/// Rules for every bit; the first one is called `first` and has its port.
fn compiled(first: &str, port: u16, bits: &RuleBits) -> Result<Policy> {
    let mut ids = vec![first.to_owned()];
    let mut services = format!("  - {{id: {first}, udp: [{port}], fqdns: [{first}.test]}}\n");
    for number in 1..RULES {
        ids.push(format!("s{number}"));
        services += &format!("  - {{id: s{number}, udp: [1], fqdns: [s{number}.test]}}\n");
    }
    let text = format!(
        "interfaces: [{{name: eth1}}]\n\
         clients: [{{name: all, networks: [10.20.0.0/24], services: [{}], on_deny: drop}}]\n\
         dns: {{resolvers: [192.0.2.53]}}\n\
         services:\n{services}",
        ids.join(", ")
    );
    let config = Config::parse("config.yaml", &text).map_err(anyhow::Error::new)?;
    compile(&config, Catalogue::builtin(), bits).map_err(anyhow::Error::new)
}

/// The two rules in turn: `number` tells whose turn it is, and which bits are taken.
fn policy(number: usize, kernel: &Kernel) -> Result<Policy> {
    let (name, port) = [("old", 2000), ("new", 2001)][number % 2];
    compiled(name, port, &reload::previous_bits(&kernel.pins())?)
}

/// Hands the bit back and forth, by `put`. The rule that has it first has learned the address.
fn hand_over(kernel: &Kernel, mut put: impl FnMut(&Policy) -> Result<()>) -> Result<()> {
    for number in 1..=CHANGES {
        let policy = policy(number, kernel)?;
        ensure!(policy.reused.iter().count() == 1, "a bit changes hands");
        // It learns while it has the bit; the other one, whose port is asked for, never does.
        if number % 2 == 1 {
            kernel.ensure_host(IpAddr::from(ADDRESS), policy.reused, FOREVER)?;
        }
        put(&policy)?;
    }
    Ok(())
}

fn prepare(filter: &LoadedFilter) -> Result<ZoneMap> {
    let policy = policy(0, filter.kernel())?;
    let interface = nix::net::if_::if_nametoindex("eth1")?;
    let zones: ZoneMap = [((interface, 0), policy.zones[0].number)].into();
    filter.set_zones(&zones)?;
    filter.kernel().set_infos("RULE_TITLES", &policy.rule_titles(), |_| true)?;
    filter.kernel().install(&policy, RuleMask::EMPTY)?;
    Ok(zones)
}

/// Number of packets to the port of the rule "new" that passed while the bit changed hands, and
/// number of all.
fn passed(
    filter: &LoadedFilter,
    change: impl FnOnce(&Kernel) -> Result<()> + Send,
) -> Result<(u64, u64)> {
    let client: IpAddr = "10.20.0.10".parse()?;
    let frames: Vec<_> = (0..64_u16)
        .map(|port| Datagram::new(client, IpAddr::from(ADDRESS)).udp(3000 + port, 2001, b"data"))
        .map(|datagram| datagram.frame())
        .collect();
    let counted = observed(
        filter.kernel(),
        filter.pins(),
        |kernel, _| change(kernel),
        |done| {
            for frame in frames.iter().cycle() {
                if done() {
                    break;
                }
                filter.judge_often("eth1", frame, 100)?;
            }
            Ok(())
        },
    )?;
    let of = |reason: Reason| counted.get(&reason.as_str()).copied().unwrap_or_default();
    Ok((of(Reason::Policy) + of(Reason::Flow), counted.values().sum()))
}

fn on_filter(test: impl FnOnce(&LoadedFilter, &ZoneMap) -> Result<()> + Send) -> Result<()> {
    let mut result = Ok(());
    run_at(IngressHook::Xdp, "", "", |filter| {
        result = prepare(filter).and_then(|zones| test(filter, &zones));
    });
    result
}

#[test]
fn while_a_bit_changes_hands_nobody_passes_by_what_the_other_rule_has_learned() -> Result<()> {
    on_filter(|filter, zones| {
        let state = tempfile::tempdir()?;
        let mut learner = Learner::new(Names::default(), policy(0, filter.kernel())?);
        let (passed, packets) = passed(filter, |kernel| {
            hand_over(kernel, |policy| {
                learner.set_policy(policy.clone());
                let mut reports = Unreported(&mut learner);
                reload::apply(kernel, policy, zones, &mut reports, state.path())?;
                let host = kernel.pins().host(IpAddr::from(ADDRESS))?;
                ensure!(host.is_none(), "{host:?} is left");
                Ok(())
            })
        })?;
        println!("{CHANGES} changes of hands, {packets} packets, {passed} passed");
        ensure!(passed == 0 && packets > 1000, "{passed} of {packets} passed");
        Ok(())
    })
}

/// The control: without the clearing before the policy is in force, packets pass.
#[test]
fn a_bit_that_is_not_cleared_first_is_noticed() -> Result<()> {
    on_filter(|filter, _| {
        let (passed, packets) = passed(filter, |kernel| {
            hand_over(kernel, |policy| {
                kernel.install(policy, RuleMask::EMPTY)?;
                kernel.set_infos("RULE_TITLES", &policy.rule_titles(), |_| true)?;
                kernel.take_from_hosts(policy.reused)?;
                kernel.end_flows_of_rules(policy.reused)
            })
        })?;
        println!("{packets} packets, {passed} passed");
        ensure!(passed > 0, "not noticed, in {packets} packets");
        Ok(())
    })
    .context("the control")
}
