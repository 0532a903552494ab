//! Return value of the never-attached program `explain`: a verdict and its ground, in one word.

use super::{REASONS, Reason};

/// Ground of a verdict.
#[repr(u8)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Matched {
    /// No ground.
    Nothing = 0,
    /// Network of the rule.
    Cidr = 1,
    /// Address learned from one of the rule's names.
    Name = 2,
    /// Known flow.
    Flow = 3,
    /// Built-in permission, which does not depend on the client's rules.
    Builtin = 4,
}

/// Verdict and its ground.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Explanation {
    /// Reason of the verdict.
    pub reason: Reason,
    /// Rule that allows the packet; for a denied packet, the lowest rule that has its destination.
    pub rule: Option<u8>,
    /// Ground of the verdict.
    pub matched: Matched,
    /// Group of the client.
    pub group: Option<u8>,
    /// Whether the packet passes only because its group is in audit mode or the warm-up lasts; the
    /// reason is that of the denial that it was spared.
    pub audited: bool,
}

/// Rule or group in a packed word if there is none.
const NONE: u8 = u8::MAX;

/// Bit beside the ground in a packed word that says that the packet was audited.
const AUDITED: u8 = 0x80;

impl Explanation {
    /// Packs the explanation into a word: the octets `reason`, `rule`, `matched`, `group`, from the
    /// lowest up.
    #[must_use]
    pub const fn pack(self) -> u32 {
        let rule = match self.rule {
            Some(rule) => rule,
            None => NONE,
        };
        let group = match self.group {
            Some(group) => group,
            None => NONE,
        };
        Self::word(self.reason, rule, self.matched, group, self.audited as u8)
    }

    /// Packs these parts into a word; 255 stands for no rule and for no group. `audited` is 0 or 1.
    #[inline(always)]
    #[must_use]
    pub const fn word(reason: Reason, rule: u8, matched: Matched, group: u8, audited: u8) -> u32 {
        u32::from_le_bytes([reason as u8, rule, matched as u8 | audited << 7, group])
    }

    /// Whether the packet is denied.
    #[must_use]
    pub const fn denies(&self) -> bool {
        self.reason.denies() && !self.audited
    }

    /// Returns the explanation that [`Self::pack`] has packed; `None` for any other word.
    #[must_use]
    pub fn unpack(word: u32) -> Option<Self> {
        let [reason, rule, matched, group] = word.to_le_bytes();
        Some(Self {
            reason: REASONS.get(usize::from(reason)).copied()?,
            rule: (rule != NONE).then_some(rule),
            matched: match matched & !AUDITED {
                0 => Matched::Nothing,
                1 => Matched::Cidr,
                2 => Matched::Name,
                3 => Matched::Flow,
                4 => Matched::Builtin,
                _ => return None,
            },
            group: (group != NONE).then_some(group),
            audited: matched & AUDITED != 0,
        })
    }
}
