//! Cost of packets in the kernel: the programs, run by the kernel over packets of which each is
//! another one, beside programs that do no more than any filter has to.
//!
//! The time of an empty program for the same packets is subtracted.

mod baseline;
mod load;
mod operations;
pub(super) mod packets;
mod profile;
pub(super) mod tables;
pub mod versus;

use std::time::Duration;

use anyhow::{Context as _, Result};
use intune_filter::config::MapSizes;
use intune_filter::policy::map_sizes;

use super::{Bound, Effort, Findings, Goal, Measurement, Unit};
use baseline::{Baseline, Hook, Measured};
use intune_filter_tests::prog_test_run::{IngressHook, LoadedFilter, run_sized};
use load::Load;
use operations::Operations;
use packets::{Family, Kind, Packets};
use tables::Tables;

/// Flows and destinations that a processor's caches hold.
const HOT: u32 = 64;
/// Networks of the largest policy, of each family.
const MOST_NETWORKS: u32 = 10_000;

/// State of the caches for the packets of a test run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Heat {
    /// Of few flows, one after the other.
    Hot,
    /// Of all there are, in no order.
    Cold,
}

/// Measures every kind of packet with tables of several sizes.
pub fn run(effort: Effort) -> Result<Findings> {
    let mut findings = Findings::default();
    let mut failed = None;
    let sizes = map_sizes(&MapSizes {
        hosts6: MapSizes::default().hosts4,
        flows4: 1_250_000,
        flows6: 1_250_000,
        ..MapSizes::default()
    });
    run_sized(IngressHook::Xdp, &sizes, "", "", |filter| {
        let measured = Bench::new(filter, effort).and_then(|mut bench| bench.run());
        match measured {
            Ok(found) => findings = found,
            Err(error) => failed = Some(error),
        }
    });
    failed.map_or(Ok(findings), Err)
}

struct Bench<'f> {
    filter: &'f mut LoadedFilter,
    baseline: Baseline,
    operations: Operations,
    tables: Tables,
    effort: Effort,
}

/// Cost of one kind of packet, and of the floors at the same time.
struct Costs {
    filter: Measurement,
    floor: Measurement,
    insert: Option<Measurement>,
}

impl<'f> Bench<'f> {
    fn new(filter: &'f mut LoadedFilter, effort: Effort) -> Result<Self> {
        let baseline =
            Baseline::load(Load::MOST_FLOWS + Load::MOST_FLOWS / 4, MapSizes::default().new_flows)?;
        let operations = Operations::load(filter.pins())?;
        Ok(Self { filter, baseline, operations, tables: Tables::default(), effort })
    }

    fn run(&mut self) -> Result<Findings> {
        let mut findings = Findings::default();
        for family in [Family::V4, Family::V6] {
            self.floors(family, &mut findings)?;
            self.flows(family, &mut findings)?;
        }
        self.destinations(&mut findings)?;
        Ok(findings)
    }

    /// Cost of the floors.
    fn floors(&mut self, family: Family, findings: &mut Findings) -> Result<()> {
        self.fill(Load::BASE)?;
        for (name, what) in [
            ("parse", "floor: read the headers"),
            ("lookup", "floor: read, look up a flow, count"),
            ("insert", "floor: read, insert into an LRU map"),
        ] {
            let packets = Packets::new(Kind::Established, family, Load::BASE.flows, HOT);
            let times = self.net(Hook::Ingress, Measured::Own(name), packets)?;
            findings.measurements.push(Measurement::new(
                format!("{family}, {what}"),
                Unit::Time,
                times,
            ));
        }
        Ok(())
    }

    /// Packets of known flows, in both directions.
    fn flows(&mut self, family: Family, findings: &mut Findings) -> Result<()> {
        for load in [Load::BASE, Load { flows: Load::MOST_FLOWS, ..Load::BASE }] {
            self.fill(load)?;
            for (hook, direction) in
                [(Hook::Ingress, "from the client"), (Hook::Egress, "to the client")]
            {
                for heat in [Heat::Hot, Heat::Cold] {
                    let flows = if heat == Heat::Hot { HOT } else { load.flows };
                    let mut packets = Packets::new(Kind::Established, family, flows, load.nets);
                    if hook == Hook::Egress {
                        packets = packets.answered();
                    }
                    packets.cycle.scattered = u32::from(heat == Heat::Cold);
                    let name = format!(
                        "{family}, known flow {direction}, 1 of {flows} ({} in the table)",
                        load.flows
                    );
                    let costs = self.costs(&name, hook, &mut packets)?;
                    let allowed = 1.25 * costs.floor.median();
                    let ratio = format!("{name}, to the floor of a lookup");
                    findings.goals.push(Goal::ratio(
                        ratio,
                        &costs.filter,
                        &costs.floor,
                        Bound::AtMost(1.25),
                    ));
                    // The most flows, and the fewest, where the caches hold them all or none.
                    let extreme = (load == Load::BASE) == (heat == Heat::Hot);
                    if hook == Hook::Ingress && extreme {
                        let profile = self.profile(&name, &mut packets, Some(allowed))?;
                        findings.profiles.push(profile);
                    }
                    findings.measurements.push(costs.floor);
                    findings.measurements.push(costs.filter);
                }
            }
        }
        Ok(())
    }

    /// Packets that begin something, with more and more destinations in the tables.
    fn destinations(&mut self, findings: &mut Findings) -> Result<()> {
        let base = Load::BASE;
        let networks = [60, 500, MOST_NETWORKS].map(|nets| Load { nets, ..base });
        let names = [1_000, 100_000].map(|hosts| Load { hosts, ..base });
        for family in [Family::V4, Family::V6] {
            for (kind, loads) in [
                (Kind::ToNetwork, &networks[..]),
                (Kind::ToName, &names[..]),
                (Kind::Denied, &networks[..]),
            ] {
                for heat in [Heat::Hot, Heat::Cold] {
                    self.grow(kind, family, loads, heat, findings)?;
                }
            }
            self.rejected(family, findings)?;
        }
        Ok(())
    }

    fn grow(
        &mut self,
        kind: Kind,
        family: Family,
        loads: &[Load],
        heat: Heat,
        findings: &mut Findings,
    ) -> Result<()> {
        let mut all: Vec<Costs> = Vec::new();
        for load in loads {
            self.fill(*load)?;
            let there = kind.destinations(load);
            let remotes = if heat == Heat::Hot { HOT.min(there) } else { there };
            let mut packets = Packets::new(kind, family, 0, remotes);
            packets.cycle.scattered = u32::from(heat == Heat::Cold);
            let name = format!("{family}, {kind}, 1 of {remotes} ({there} in the table)");
            let costs = self.costs(&name, Hook::Ingress, &mut packets)?;
            let mut allowed = None;
            if let Some(insert) = &costs.insert {
                // What may be spent: two floors and an insertion.
                let allowance = costs.floor.values().iter().zip(insert.values());
                let allowance = allowance.map(|(floor, insert)| 2.0 * floor + insert).collect();
                let allowance = Measurement::new("", Unit::Time, allowance);
                allowed = Some(allowance.median());
                let ratio = format!("{name}, to two lookups and an insertion");
                findings.goals.push(Goal::ratio(
                    ratio,
                    &costs.filter,
                    &allowance,
                    Bound::AtMost(1.0),
                ));
            }
            let worst = load.nets == MOST_NETWORKS && kind == Kind::ToNetwork;
            if if heat == Heat::Hot { *load == Load::BASE } else { worst } {
                findings.profiles.push(self.profile(&name, &mut packets, allowed)?);
            }
            all.push(costs);
        }
        if let [first, .., last] = &all[..]
            && heat == Heat::Hot
        {
            let name = format!("{}, to {}", last.filter.name, first.filter.name);
            let bound = Bound::AtMost(1.3);
            findings.goals.push(Goal::ratio(name, &last.filter, &first.filter, bound));
        }
        findings.measurements.extend(all.into_iter().map(|costs| costs.filter));
        Ok(())
    }

    /// Denied packets that are answered: the answer takes the packet's place, so that each is run
    /// by itself.
    fn rejected(&mut self, family: Family, findings: &mut Findings) -> Result<()> {
        self.fill(Load::BASE)?;
        let frame = Packets::new(Kind::Rejected, family, 0, 1).frame;
        let mut arp = vec![2; 60];
        arp[12..14].copy_from_slice(&[8, 6]);
        let place = intune_filter_tests::prog_test_run::HookPoint::Ingress(
            intune_filter_tests::prog_test_run::site::LAN,
        );
        let mut times = Vec::new();
        for _ in 0..self.effort.runs * 40 {
            let least = self.filter.time(place, &arp)?;
            let time = self.filter.time(place, &frame)?;
            times.push(time.saturating_sub(least));
            // Beyond a thousand at once and a thousand a second nobody is answered.
            std::thread::sleep(Duration::from_millis(1));
        }
        let name = format!("{family}, rejected by a TCP reset, run once each, beyond an ARP frame");
        findings.measurements.push(Measurement::times(name, times));
        Ok(())
    }

    fn fill(&mut self, load: Load) -> Result<()> {
        self.tables.fill(self.filter, &mut self.baseline, load)
    }

    /// The program's cost and the floors', run by run.
    fn costs(&mut self, name: &str, hook: Hook, packets: &mut Packets) -> Result<Costs> {
        let (empty, lookup) = match hook {
            Hook::Ingress => ("empty", "lookup"),
            Hook::Egress => ("empty_tc", "lookup_tc"),
        };
        let opens = matches!(packets.kind, Kind::ToNetwork | Kind::ToName);
        // A new flow has its floor in the table: one that is found there, as hot.
        let mut known = Packets::new(Kind::Established, packets.family, HOT, HOT);
        let [mut filter, mut floor, mut insert] = [Vec::new(), Vec::new(), Vec::new()];
        for run in 0..=self.effort.runs {
            self.tables.point(&mut self.baseline, packets)?;
            let descriptors = self.filter.descriptors()?;
            let own = match hook {
                Hook::Ingress => Measured::Other(descriptors.0),
                Hook::Egress => Measured::Other(descriptors.1),
            };
            let baseline = &mut self.baseline;
            let time = |baseline: &mut Baseline, program, packets: &mut Packets| {
                let passes = packets.kind.passes() || matches!(program, Measured::Own(_));
                let Packets { cycle, frame, .. } = packets;
                let time = baseline.time(hook, program, cycle, frame, passes);
                let time = time.with_context(|| format!("{name}, run {run}"))?;
                Ok::<_, anyhow::Error>(time.as_nanos() as f64)
            };
            self.tables.point(baseline, packets)?;
            let nothing = time(baseline, Measured::Own(empty), packets)?;
            let this = time(baseline, own, packets)? - nothing;
            let (least, inserted) = if packets.kind == Kind::Established {
                (time(baseline, Measured::Own(lookup), packets)? - nothing, 0.0)
            } else {
                let inserted = time(baseline, Measured::Own("insert"), packets)? - nothing;
                self.tables.point(baseline, &known)?;
                let nothing = time(baseline, Measured::Own(empty), &mut known)?;
                (time(baseline, Measured::Own(lookup), &mut known)? - nothing, inserted)
            };
            // The first warms the caches up.
            if run > 0 {
                filter.push(this);
                floor.push(least);
                insert.push(inserted);
            }
        }
        let of = |name: String, values| Measurement::new(name, Unit::Time, values);
        Ok(Costs {
            filter: of(name.to_owned(), filter),
            floor: of(format!("{name}: floor of a lookup"), floor),
            insert: opens.then(|| of(format!("{name}: floor of an insertion"), insert)),
        })
    }

    /// Time of one program beyond the empty one, run by run.
    fn net(&mut self, hook: Hook, program: Measured<'_>, packets: Packets) -> Result<Vec<f64>> {
        self.tables.point(&mut self.baseline, &packets)?;
        let mut cycle = packets.cycle;
        let mut times = Vec::new();
        for _ in 0..self.effort.runs {
            let mut time = |program| {
                let frame = &packets.frame;
                let time = self.baseline.time(hook, program, &mut cycle, frame, true)?;
                Ok::<_, anyhow::Error>(time.as_nanos() as f64)
            };
            let nothing = time(Measured::Own("empty"))?;
            times.push(time(program)? - nothing);
        }
        Ok(times)
    }
}
