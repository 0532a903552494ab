//! No packet is judged by a mix of two policies: while one takes the other's place over and over,
//! every packet gets an answer that one of them gives. Each proof comes with a control, in which
//! tables are changed one by one, and which has to be noticed.

mod bits;
mod flips;
mod policies;

use std::{
    collections::BTreeMap,
    panic::resume_unwind,
    sync::atomic::{AtomicBool, Ordering},
    thread,
};

use anyhow::{Context as _, Result, ensure};
use aya::programs::{Xdp, XdpMode};
use aya_obj::programs::XdpAttachType;
use intune_filter::{
    kernel::{Hook, Kernel, Pins},
    policy::Policy,
};
use intune_filter_ebpf::abi::Counted;
use intune_filter_tests::{
    prog_test_run::{IngressHook, LoadedFilter, run_at},
    wire::Wire,
};

use flips::{Mixing, TABLES};
use policies::PacketClass;

/// Changes of the policy by reloads, in each proof; `INTUNE_FLIPS` says otherwise.
const FLIPS: usize = 100;

/// Changes by the switch alone. They take so little time that some hit a packet half-way: a program
/// that reads for each table which set is in force fails this test, and passes the one above.
const SWITCHES: usize = 20_000;

/// Changes in each control.
const MIXES: usize = 10;

/// Way of packets to the program.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    /// By test runs, one after the other without a pause.
    TestRun,
    /// Over the interface.
    Wire,
}

/// Counts while the policies changed.
#[derive(Debug)]
struct Observation {
    packets: u64,
    /// By reasons that neither policy has for them.
    surprises: BTreeMap<&'static str, u64>,
}

/// Two policies in the maps of a filter, and an interface that the program is attached to.
struct TwoPolicies<'a> {
    filter: &'a LoadedFilter,
    policies: [Policy; 2],
}

impl TwoPolicies<'_> {
    fn kernel(&self) -> &Kernel {
        self.filter.kernel()
    }

    fn pins(&self) -> &Pins {
        self.filter.pins()
    }

    /// Sends packets of this fate for as long as `change` takes.
    fn observe(
        &self,
        fate: PacketClass,
        way: Way,
        change: impl FnOnce(&Kernel, &Pins) -> Result<()> + Send,
    ) -> Result<Observation> {
        let counted =
            observed(self.kernel(), self.pins(), change, |done| self.send(fate, way, done))?;
        let is_expected = |reason: &str| fate.reasons().iter().any(|one| one.as_str() == reason);
        let packets = counted.values().sum();
        let surprises = counted.into_iter().filter(|(reason, _)| !is_expected(reason)).collect();
        Ok(Observation { packets, surprises })
    }

    fn send(&self, fate: PacketClass, way: Way, done: &dyn Fn() -> bool) -> Result<()> {
        const REPEAT: u32 = 200;

        let wire = Wire::open("peer1")?;
        let frames: Vec<_> = (0..64).flat_map(|number| fate.frames(number)).collect();
        // On a slow machine a change may be over before the first packet: each kind is sent once.
        let kinds = fate.frames(0).len();
        for (sent, frame) in frames.iter().cycle().enumerate() {
            if sent >= kinds && done() {
                break;
            }
            match way {
                Way::TestRun => self.filter.judge_often("eth1", frame, REPEAT)?,
                Way::Wire => wire.send(frame)?,
            }
        }
        Ok(())
    }
}

/// Packets by reason that were counted while `change` ran on a thread of its own and `send` on this
/// one, which asks whether that is done.
fn observed(
    kernel: &Kernel,
    pins: &Pins,
    change: impl FnOnce(&Kernel, &Pins) -> Result<()> + Send,
    send: impl FnOnce(&dyn Fn() -> bool) -> Result<()>,
) -> Result<BTreeMap<&'static str, u64>> {
    let before = pins.counters()?;
    let done = AtomicBool::new(false);
    thread::scope(|scope| -> Result<()> {
        let changing = scope.spawn(|| {
            let result = change(kernel, pins);
            done.store(true, Ordering::Release);
            result
        });
        let sent = send(&|| done.load(Ordering::Acquire));
        changing.join().unwrap_or_else(|panic| resume_unwind(panic))?;
        sent
    })?;
    let mut counted = BTreeMap::new();
    for ((what, before), (_, after)) in before.into_iter().zip(pins.counters()?) {
        let packets = after.packets - before.packets;
        if packets > 0 && matches!(what, Counted::Packets(_)) {
            counted.insert(what.as_str(), packets);
        }
    }
    Ok(counted)
}

/// Runs a test with both policies in the maps and the program attached.
fn on_bed(test: impl FnOnce(&TwoPolicies<'_>) -> Result<()> + Send) -> Result<()> {
    let mut result = Ok(());
    run_at(IngressHook::Xdp, "", "", |filter| {
        result = prepare(filter).and_then(|bed| test(&bed));
    });
    result
}

fn prepare(filter: &LoadedFilter) -> Result<TwoPolicies<'_>> {
    let policies = policies::both();
    let interface = nix::net::if_::if_nametoindex("eth1")?;
    filter.set_zones(&[((interface, 0), policies[0].zones[0].number)].into())?;
    for number in 0..2 {
        flips::install(filter.kernel(), &policies, number)?;
    }
    // What passes goes no further, and nobody else says anything.
    for (path, value) in [
        ("ipv4/ip_forward", "0"),
        ("ipv6/conf/all/forwarding", "0"),
        ("ipv6/conf/peer1/disable_ipv6", "1"),
    ] {
        std::fs::write(format!("/proc/sys/net/{path}"), value)?;
    }
    let pin = filter.pins().directory().program(Hook::Ingress.program());
    let mut program = Xdp::from_pin(pin, XdpAttachType::Interface)?;
    let id = program.attach("eth1", XdpMode::Driver)?;
    // Gone with the interface.
    std::mem::forget(program.take_link(id)?);
    Ok(TwoPolicies { filter, policies })
}

fn flips() -> Result<usize> {
    match std::env::var("INTUNE_FLIPS") {
        Ok(text) => text.parse().context("INTUNE_FLIPS is a number"),
        Err(_) => Ok(FLIPS),
    }
}

const WAYS: [Way; 2] = [Way::TestRun, Way::Wire];
const FATES: [PacketClass; 2] = [PacketClass::Passes, PacketClass::Denied];

#[test]
fn each_policy_by_itself_gives_the_answers_that_are_expected() -> Result<()> {
    on_bed(|bed| {
        for (number, way) in [(0, Way::TestRun), (1, Way::TestRun), (0, Way::Wire), (1, Way::Wire)]
        {
            flips::install(bed.kernel(), &bed.policies, number)?;
            for fate in FATES {
                let outcome = bed.observe(fate, way, |kernel, _| {
                    flips::install(kernel, &bed.policies, number)
                })?;
                println!("policy {number}, {fate:?}, {way:?}: {outcome:?}");
                ensure!(outcome.packets > 100 && outcome.surprises.is_empty(), "{outcome:?}");
            }
        }
        Ok(())
    })
}

#[test]
fn while_policies_are_reloaded_no_packet_is_judged_by_two() -> Result<()> {
    on_bed(|bed| {
        let flips = flips()?;
        for (fate, way) in FATES.into_iter().flat_map(|fate| WAYS.map(|way| (fate, way))) {
            let outcome = bed.observe(fate, way, |kernel, _| {
                (0..flips).try_for_each(|number| flips::install(kernel, &bed.policies, number))
            })?;
            println!("{flips} reloads, {fate:?}, {way:?}: {outcome:?}");
            ensure!(outcome.surprises.is_empty(), "{fate:?} {way:?}: {outcome:?}");
            ensure!(outcome.packets >= 100 * flips as u64, "too few: {outcome:?}");
        }
        Ok(())
    })
}

#[test]
fn while_the_policy_is_switched_no_packet_is_judged_by_two() -> Result<()> {
    on_bed(|bed| {
        for (fate, way) in FATES.into_iter().flat_map(|fate| WAYS.map(|way| (fate, way))) {
            let outcome = bed.observe(fate, way, |_, pins| {
                (0..SWITCHES).try_for_each(|_| flips::switch(pins))
            })?;
            println!("{SWITCHES} switches, {fate:?}, {way:?}: {outcome:?}");
            ensure!(outcome.surprises.is_empty(), "{fate:?} {way:?}: {outcome:?}");
        }
        Ok(())
    })
}

#[test]
fn tables_that_change_one_by_one_are_noticed() -> Result<()> {
    on_bed(|bed| {
        let mixing = Mixing::of(bed.pins())?;
        for (fate, way) in FATES.into_iter().flat_map(|fate| WAYS.map(|way| (fate, way))) {
            let outcome = bed.observe(fate, way, |_, pins| {
                (0..MIXES).try_for_each(|number| mixing.flip(pins, number, |_| true))
            })?;
            println!("{MIXES} mixes, {fate:?}, {way:?}: {outcome:?}");
            ensure!(!outcome.surprises.is_empty(), "{fate:?} {way:?}: not noticed: {outcome:?}");
        }
        Ok(())
    })
}

/// A table that lags behind all others for good is noticed, whichever it is: none of them could be
/// read from another set without one of the tests above failing.
#[test]
fn a_table_of_the_other_policy_is_noticed_whichever_it_is() -> Result<()> {
    on_bed(|bed| {
        let mixing = Mixing::of(bed.pins())?;
        for table in TABLES.into_iter().chain(["SETTINGS"]) {
            // Nothing in the policies depends on which addresses answers may have; both know the
            // same servers.
            if matches!(table, "ANSWER_ACL4" | "ANSWER_ACL6" | "SERVERS") {
                continue;
            }
            let mut surprises = 0;
            for number in 0..2 {
                for fate in FATES {
                    mixing.flip(bed.pins(), number, |_| true)?;
                    mixing.flip(bed.pins(), number + 1, |name| name == table)?;
                    let outcome = bed.observe(fate, Way::TestRun, |_, pins| {
                        // As long as a grace period takes.
                        mixing.flip(pins, number, |name| name == "SERVERS")
                    })?;
                    surprises += outcome.surprises.values().sum::<u64>();
                }
            }
            ensure!(surprises > 0, "{table} of the other policy makes no difference");
        }
        Ok(())
    })
}
