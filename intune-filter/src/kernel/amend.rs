//! Amending one learned address by the kernel's own program: it alone can change an element that
//! answers are refreshing, and say what it was when it was changed.

use std::{mem::size_of, net::IpAddr};

use anyhow::{Context as _, Result, bail};
use aya::{TestRun as _, TestRunOptions, programs::Xdp};
use intune_filter_ebpf::abi::{Amendment, Host, Operation, Outcome, RuleMask, V6};

use super::{Kernel, load::AMEND, pod};

/// How often an address is tried that answers are refreshing at this moment.
const ATTEMPTS: usize = 64;

/// What became of an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Amended {
    /// It was done.
    Done {
        /// The version before; 0 if the address was not there. Of one that was refreshed alone.
        before: u64,
        /// What is there now; of one that was removed, what was asked for.
        host: Host,
    },
    /// The address is not known.
    Absent,
    /// It was refreshed since it had the version expected, or it expires later.
    Changed,
    /// There is no room for it.
    Full,
    /// Answers keep refreshing it.
    Busy,
}

/// The program that amends.
pub(super) struct Amender<'a>(&'a Xdp);

impl Kernel {
    pub(super) fn amender(&self) -> Result<Amender<'_>> {
        let program = self
            .ebpf
            .program(AMEND)
            .with_context(|| format!("the BPF object has no program {AMEND}"))?;
        let program = program.try_into();
        Ok(Amender(program.with_context(|| format!("the program {AMEND} is not XDP"))?))
    }
}

impl Amender<'_> {
    /// Adds rules to an address, and prolongs it: as an answer does.
    pub fn refresh(&self, address: IpAddr, rules: RuleMask, expires: u64) -> Result<Amended> {
        self.insist(Operation::Refresh, address, 0, Host { rules, expires, ..Host::default() })
    }

    /// Takes all rules but these away, and has the address expire at `expires` at the latest;
    /// only while it has the `expected` version, unless that is 0.
    pub fn narrow(
        &self,
        address: IpAddr,
        expected: u64,
        rules: RuleMask,
        expires: u64,
    ) -> Result<Amended> {
        let host = Host { rules, expires, ..Host::default() };
        self.insist(Operation::Narrow, address, expected, host)
    }

    /// Removes an address that expires before `before`.
    pub fn remove(&self, address: IpAddr, before: u64) -> Result<Amended> {
        let host = Host { expires: before, ..Host::default() };
        self.insist(Operation::Remove, address, 0, host)
    }

    fn insist(
        &self,
        operation: Operation,
        address: IpAddr,
        expected: u64,
        host: Host,
    ) -> Result<Amended> {
        let amendment = Amendment {
            address: V6::from(address),
            operation: operation as u32,
            family: if address.is_ipv4() { 4 } else { 6 },
            expected,
            host,
        };
        for _ in 0..ATTEMPTS {
            let amended = self.run(amendment)?;
            if amended != Amended::Busy {
                return Ok(amended);
            }
        }
        Ok(Amended::Busy)
    }

    fn run(&self, amendment: Amendment) -> Result<Amended> {
        let frame = octets(&amendment);
        let mut after = [0; size_of::<Amendment>()];
        let result = self
            .0
            .test_run(TestRunOptions {
                data_in: Some(&frame),
                data_out: Some(&mut after),
                ..TestRunOptions::default()
            })
            .context("cannot run the program that amends learned addresses")?;
        if result.data_size_out as usize != after.len() {
            bail!("the program that amends learned addresses returned another frame");
        }
        let amended = pod::split_first::<Amendment>(&after);
        let (amendment, _) = amended.context("an amendment has its own size")?;
        Ok(match Outcome::from_number(result.return_value) {
            Some(Outcome::Done) => {
                Amended::Done { before: amendment.expected, host: amendment.host }
            }
            Some(Outcome::Absent) => Amended::Absent,
            Some(Outcome::Changed) => Amended::Changed,
            Some(Outcome::Full) => Amended::Full,
            Some(Outcome::Busy) => Amended::Busy,
            None => {
                bail!("the program that amends learned addresses returned {}", result.return_value)
            }
        })
    }
}

const fn octets(amendment: &Amendment) -> [u8; size_of::<Amendment>()] {
    // SAFETY: the type has this size and no padding, and any octets are allowed in the array.
    unsafe { *(&raw const *amendment).cast::<[u8; size_of::<Amendment>()]>() }
}
