//! Takes apart what a packet costs: each thing that the filter does with it, by itself and with the
//! same packets.

use std::collections::BTreeMap;

use anyhow::{Context as _, Result, ensure};

use super::{
    Bench,
    baseline::{Hook, Measured},
    operations::{self, EMPTY, RECORD},
    packets::Packets,
};
use crate::{
    Measurement, Unit,
    profile::{Part, Profile},
};

/// Packets of a run of an operation.
const PACKETS: u32 = 10_000;
/// Packets that make a record each: half of the ring has room for them.
const RECORDS: u32 = 2_000;

impl Bench<'_> {
    /// The profile of these packets at XDP, of which each may take so long.
    pub(super) fn profile(
        &mut self,
        name: &str,
        packets: &mut Packets,
        allowed: Option<f64>,
    ) -> Result<Profile> {
        let operations = operations::of(packets.kind);
        let mut whole = Vec::new();
        let mut each = vec![Vec::new(); operations.len()];
        self.tables.point(&mut self.baseline, packets)?;
        // A test run of the kernel's takes tens of milliseconds beside what is measured.
        for _ in 0..self.effort.runs.div_ceil(2) {
            let nothing = self.run_operation(EMPTY, packets)?;
            let passes = packets.kind.passes();
            let Packets { cycle, frame, .. } = &mut *packets;
            let filter = Measured::Other(self.filter.descriptors()?.0);
            let time = self.baseline.time(Hook::Ingress, filter, cycle, frame, passes)?;
            whole.push(time.as_nanos() as f64 - nothing);
            let mut bases = BTreeMap::from([(EMPTY, nothing)]);
            for ((operation, _), times) in operations.iter().zip(&mut each) {
                let mut time = |program| {
                    let time = self.run_operation(program, packets);
                    time.with_context(|| format!("{name}: {program}, to {}", operation.name))
                };
                let base = match bases.get(operation.base) {
                    Some(base) => *base,
                    None => time(operation.base)?,
                };
                bases.insert(operation.base, base);
                let time = time(operation.program)? - base;
                times.push(time / f64::from(operation.repeated));
            }
        }
        let median = |times| Measurement::new("", Unit::Time, times).median();
        let parts = operations.iter().zip(each).map(|((one, times), each)| Part {
            name: one.name.to_owned(),
            each: median(each),
            times: *times,
        });
        Ok(Profile::new(name.to_owned(), parts.collect(), median(whole), allowed))
    }

    /// Time of one program for each packet, in nanoseconds.
    fn run_operation(&mut self, program: &'static str, packets: &mut Packets) -> Result<f64> {
        let Packets { cycle, frame, .. } = packets;
        let measured = match program {
            EMPTY => Measured::Own(EMPTY),
            _ => Measured::Other(self.operations.descriptor(program)?),
        };
        let records = program == RECORD;
        if records {
            while self.filter.events.next().is_some() {}
        }
        let number = if records { RECORDS } else { PACKETS };
        let baseline = &mut self.baseline;
        let time = baseline.time_of(number, Hook::Ingress, measured, cycle, frame, true)?;
        if records {
            let made = std::iter::from_fn(|| self.filter.events.next().map(drop)).count();
            ensure!(made == RECORDS as usize, "{made} records were made");
        }
        Ok(time.as_nanos() as f64)
    }
}
