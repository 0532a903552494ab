//! Judges whether a packet arrives in another zone, at its receiver's side.

use intune_filter_ebpf::abi::{Client, MODE_AUDIT, MODE_EXEMPT, Reason, RuleMask, client_flags};

use crate::report::Side;

/// Another zone's side of a verdict.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Arrival {
    /// Interface, or `INTERFACE.VLAN`, of the zone.
    pub place: String,
    /// Reason of the verdict there.
    pub reason: Reason,
    /// Rule that lets the packet in.
    pub rule: Option<String>,
    /// Group of the receiver.
    pub group: Option<String>,
}

/// The receiver in another zone.
#[derive(Clone, Debug)]
pub(super) struct Receiver {
    /// Interface, or `INTERFACE.VLAN`, of the zone.
    pub place: String,
    /// Element of the receiver's group; `None` if it is in none.
    pub client: Option<Client>,
    /// Rules by which the packet may reach it: of its group, the packet's sender, and the port.
    pub lets: RuleMask,
    /// Whether receivers in no group are let alone.
    pub allows_unlisted: bool,
}

impl Receiver {
    /// Returns the receiver's side of a verdict, by the sender's.
    pub(super) fn judge(
        &self,
        sent: Reason,
        rules: &[Option<String>],
        groups: &[Option<String>],
    ) -> Arrival {
        let named = |names: &[Option<String>], at: usize| names.get(at).cloned().flatten();
        let mode = self.client.map(|client| client.mode);
        let flags = self.client.map_or(0, |client| client.flags);
        let rule = Some(self.lets.lowest()).filter(|_| !self.lets.is_empty());
        let is_sent = matches!(sent, Reason::Policy | Reason::Exempt);
        let (reason, rule) = if mode == Some(MODE_EXEMPT) {
            (Reason::Exempt, None)
        } else if is_sent {
            (Reason::FromZone, None)
        } else if self.client.is_none() && self.allows_unlisted {
            (Reason::UnlistedAllowed, None)
        } else if flags & client_flags::INBOUND != 0 {
            (Reason::Inbound, None)
        } else if flags & client_flags::INBOUND_RULES != 0 && rule.is_some() {
            (Reason::Inbound, rule)
        } else if mode == Some(MODE_AUDIT) {
            (Reason::Audit, None)
        } else {
            (Reason::Unsolicited, None)
        };
        Arrival {
            place: self.place.clone(),
            reason,
            rule: rule.and_then(|rule| named(rules, usize::from(rule))),
            group: self.client.and_then(|one| named(groups, usize::try_from(one.group).ok()?)),
        }
    }
}

impl From<&Arrival> for Side {
    fn from(arrival: &Arrival) -> Self {
        Self {
            zone: Some(arrival.place.clone()),
            verdict: if arrival.reason.denies() { "deny" } else { "allow" },
            reason: arrival.reason.as_str(),
            description: arrival.reason.description(),
            rule: arrival.rule.clone(),
            client_group: arrival.group.clone(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reason(sent: Reason, mode: u8, flags: u8, lets: RuleMask) -> Reason {
        let client = Some(Client { mode, flags, ..Client::default() });
        let receiver = Receiver { place: "eth2".into(), client, lets, allows_unlisted: false };
        receiver.judge(sent, &[], &[]).reason
    }

    #[test]
    fn what_may_be_sent_arrives_and_inbound_decides_on_the_rest() {
        const NONE: RuleMask = RuleMask::EMPTY;
        let some = RuleMask::of(7);
        let by_rules = client_flags::INBOUND_RULES;
        for sent in [Reason::Policy, Reason::Exempt] {
            assert_eq!(reason(sent, 0, 0, NONE), Reason::FromZone);
        }
        assert_eq!(reason(Reason::UnlistedAllowed, 0, 0, NONE), Reason::Unsolicited);
        assert_eq!(reason(Reason::Port, 0, 0, some), Reason::Unsolicited);
        assert_eq!(reason(Reason::Port, 0, by_rules, some), Reason::Inbound);
        assert_eq!(reason(Reason::Port, 0, by_rules, NONE), Reason::Unsolicited);
        assert_eq!(reason(Reason::Port, 0, client_flags::INBOUND, NONE), Reason::Inbound);
        assert_eq!(reason(Reason::Port, MODE_AUDIT, 0, NONE), Reason::Audit);
        assert_eq!(reason(Reason::Policy, MODE_EXEMPT, 0, NONE), Reason::Exempt);
    }
}
