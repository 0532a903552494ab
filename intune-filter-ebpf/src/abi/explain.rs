//! Return value of the never-attached program `explain`: a verdict and its ground, in one word.

use super::{REASONS, Reason};

/// What a verdict rests on.
#[repr(u8)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Matched {
    /// Nothing.
    Nothing = 0,
    /// A network of the rule.
    Cidr = 1,
    /// An address learned from one of the rule's names.
    Name = 2,
    /// A known flow.
    Flow = 3,
    /// What every client may do whatever its rules.
    Control = 4,
}

/// A verdict and its ground.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Explanation {
    /// Reason of the verdict.
    pub reason: Reason,
    /// The rule that allows the packet, or, of a denied one, the lowest whose destination it is.
    pub rule: Option<u8>,
    /// What the verdict rests on.
    pub matched: Matched,
    /// The client's group.
    pub group: Option<u8>,
}

/// Stands for "none" in a packed word.
const NONE: u8 = u8::MAX;

impl Explanation {
    /// The four octets `reason`, `rule`, `matched`, `group`, the first one lowest.
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
        Self::word(self.reason, rule, self.matched, group)
    }

    /// Packed word of these parts; 255 stands for no rule and no group.
    #[inline(always)]
    #[must_use]
    pub const fn word(reason: Reason, rule: u8, matched: Matched, group: u8) -> u32 {
        u32::from_le_bytes([reason as u8, rule, matched as u8, group])
    }

    /// The inverse of [`Self::pack`]; `None` if the word is none that it makes.
    #[must_use]
    pub fn unpack(word: u32) -> Option<Self> {
        let [reason, rule, matched, group] = word.to_le_bytes();
        Some(Self {
            reason: REASONS.get(usize::from(reason)).copied()?,
            rule: (rule != NONE).then_some(rule),
            matched: match matched {
                0 => Matched::Nothing,
                1 => Matched::Cidr,
                2 => Matched::Name,
                3 => Matched::Flow,
                4 => Matched::Control,
                _ => return None,
            },
            group: (group != NONE).then_some(group),
        })
    }
}
