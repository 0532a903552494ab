//! Packets per second through a gateway on one core: forwarded in both directions and dropped, by
//! each filter with the same policy.
//!
//! The core makes the packets as well, and receives them behind the gateway, which is a part of
//! every figure: what an XDP program drops that does nothing else shows how small the first is.

mod classes;
mod conntrack;
mod filter;
#[expect(unsafe_code, reason = "the scheduler")]
mod generator;
mod ipset;
mod load;
mod nftables;
mod opponent;
mod site;
mod traffic;
mod variant;
mod verdicts;
mod wiring;

use anyhow::{Context as _, Result};

use super::{Bound, Chart, Effort, Findings, Goal, Measurement, Unit, programs::packets::Family};
use generator::Generator;
use intune_filter_tests::directory::Directory;
use load::Load;
use site::Site;
use traffic::Traffic;
use variant::{FLOOR, Kind, NATIVE, NFTABLES, NOTHING, PASS_ONLY, Variant};
use verdicts::Verdicts;

/// Goals of the filter's rates, as ratios to others'.
const GOALS: [(Load, &str, f64); 6] = [
    (Load::KnownHot, PASS_ONLY, 0.9),
    (Load::Known, PASS_ONLY, 0.9),
    (Load::KnownHot, NFTABLES, 1.6),
    (Load::Known, NFTABLES, 1.6),
    (Load::DeniedHot, NFTABLES, 5.0),
    (Load::Denied, NFTABLES, 5.0),
];

/// Measures every variant.
pub fn run(effort: Effort) -> Result<Findings> {
    let site = Site::new()?;
    let directory = Directory::create()?;
    let mut generator = Generator::load(directory.label(), 2 * (traffic::ROOM + verdicts::ROOM))?;
    let (variants, notes) = variant::all(&site, &mut generator)?;
    let mut findings = Findings { notes, ..Findings::default() };
    let mut bench = Bench { variants, generator, effort };
    for family in [Family::V4, Family::V6] {
        let verdicts = Verdicts::new(family, &site, &mut bench.generator)?;
        bench.check(&verdicts)?;
        findings.notes.push(format!("{family}: before it was measured, {verdicts}"));
        let packets = Traffic::new(family, &site, &mut bench.generator)?;
        let rates = bench.measure(&packets)?;
        findings.add(bench.told(family, &rates)?);
    }
    Ok(findings)
}

struct Bench {
    variants: Vec<Variant>,
    generator: Generator,
    effort: Effort,
}

/// Rates of a variant, by its index, round by round.
struct Rates {
    load: Load,
    variant: usize,
    rates: Vec<f64>,
}

impl Bench {
    /// Fails unless every filter has the verdicts.
    fn check(&mut self, verdicts: &Verdicts) -> Result<()> {
        let judging = |variant: &&Variant| matches!(variant.kind, Kind::Open | Kind::Filter);
        for variant in self.variants.iter().filter(judging) {
            let Variant { name, opponent, wiring, kind, .. } = variant;
            verdicts
                .check(&mut self.generator, wiring, *kind == Kind::Open)
                .with_context(|| name.clone())?;
            opponent.forget(wiring)?;
        }
        Ok(())
    }

    fn measure(&mut self, packets: &Traffic) -> Result<Vec<Rates>> {
        let mut all = self.rounds(packets, &[Load::New])?;
        for Variant { name, opponent, wiring, kind, .. } in &self.variants {
            if *kind != Kind::Closed {
                opponent.forget(wiring)?;
                traffic::establish(packets, &mut self.generator, wiring)
                    .with_context(|| name.clone())?;
            }
        }
        let others = Load::ALL.into_iter().filter(|load| *load != Load::New);
        all.extend(self.rounds(packets, &Vec::from_iter(others))?);
        Ok(all)
    }

    /// Measures the variants in turn, so that what disturbs one disturbs the others too.
    fn rounds(&mut self, packets: &Traffic, loads: &[Load]) -> Result<Vec<Rates>> {
        let mut all: Vec<Rates> = Vec::new();
        for load in loads {
            let variants =
                (0..self.variants.len()).filter(|at| load.is_for(self.variants[*at].kind));
            all.extend(variants.map(|variant| Rates { load: *load, variant, rates: Vec::new() }));
        }
        // Each is of thousands of packets.
        for _ in 0..self.effort.runs.div_ceil(2) {
            for Rates { load, variant, rates } in &mut all {
                let variant = &self.variants[*variant];
                if *load == Load::New {
                    variant.opponent.forget(&variant.wiring)?;
                }
                let rate = load
                    .sample(&mut self.generator, variant, packets)
                    .with_context(|| format!("{}, {}", variant.name, load.name()))?;
                rates.push(rate);
            }
        }
        Ok(all)
    }

    fn told(&self, family: Family, all: &[Rates]) -> Result<Findings> {
        let mut findings = Findings::default();
        let name = |load: Load, variant: &str| format!("{family}, {}: {variant}", load.name());
        let mut rows = Vec::new();
        for load in Load::ALL {
            let bars = self.variants.iter().enumerate().map(|(index, variant)| {
                let found =
                    all.iter().find(|found| found.load == load && found.variant == index)?;
                let name = name(load, &variant.name);
                let measured = Measurement::new(name, Unit::Rate, found.rates.clone());
                let median = measured.median();
                findings.measurements.push(measured);
                Some(median)
            });
            rows.push((load.name(), bars.collect()));
        }
        for load in [Load::KnownHot, Load::Known, Load::Back] {
            findings.measurements.extend(self.beyond_nothing(family, load, all));
        }
        findings.charts.push(Chart {
            title: format!("{family} through a gateway, one core"),
            unit: Unit::Rate,
            variants: self.variants.iter().map(|variant| variant.name.clone()).collect(),
            rows,
        });
        for (load, other, bound) in GOALS {
            let of = |variant| {
                let name = name(load, variant);
                findings.measurements.iter().find(|measured| measured.name == name)
            };
            let (own, others) = of(NATIVE).zip(of(other)).context("both were measured")?;
            let name = format!("{}, to {other}", name(load, NATIVE));
            findings.goals.push(Goal::ratio(name, own, others, Bound::AtLeast(bound)));
        }
        Ok(findings)
    }

    /// Share of variants in a packet's time, which rates show diluted: most of it goes to making
    /// the packet, to the kernel's own forwarding, and to receiving it.
    fn beyond_nothing(&self, family: Family, load: Load, all: &[Rates]) -> Vec<Measurement> {
        let named = |name: &str| {
            let index = self.variants.iter().position(|variant| variant.name == name)?;
            all.iter().find(|found| found.load == load && found.variant == index)
        };
        let measured = [PASS_ONLY, FLOOR, NATIVE, NFTABLES].map(|name| {
            let (own, nothing) = named(name).zip(named(NOTHING))?;
            let pairs = own.rates.iter().zip(&nothing.rates);
            let times = pairs.map(|(own, nothing)| 1e9 / own - 1e9 / nothing).collect();
            let name = format!("{family}, {}: a packet by {name}, beyond {NOTHING}", load.name());
            Some(Measurement::new(name, Unit::Time, times))
        });
        measured.into_iter().flatten().collect()
    }
}
