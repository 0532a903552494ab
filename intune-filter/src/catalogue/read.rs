//! Reads the types that both formats of a catalogue share.

use super::{Date, Provenance, RuleId};
use crate::yaml::{Findings, Place, Read, parsed};

impl Read for RuleId {
    fn read(place: Place<'_>, findings: &mut Findings) -> Option<Self> {
        parsed(place, findings, "SERVICE/RULE")
    }
}

impl Read for Date {
    fn read(place: Place<'_>, findings: &mut Findings) -> Option<Self> {
        parsed(place, findings, "a day such as 2023-09-19")
    }
}

impl Read for Provenance {
    fn read(place: Place<'_>, findings: &mut Findings) -> Option<Self> {
        parsed(place, findings, "SOURCE or SOURCE#SECTION")
    }
}
