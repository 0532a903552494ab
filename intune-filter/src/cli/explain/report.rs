//! Formats verdicts with their grounds as JSON and text.

use std::{fmt::Write as _, net::IpAddr};

use intune_filter_ebpf::abi::{Client, Explanation, Matched, Reason, RuleMask};

use super::{arrival::Arrival, packet::QUERY_NAME};
use crate::{
    cli::{
        destination::{Destination, Protocol},
        services::service_of,
    },
    report::{Explained, MatchedBy, PatternOf, SCHEMA, Side, Verdict},
};

/// Verdict over one first packet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Judgement {
    /// Destination address; `None` if the name has none yet.
    pub address: Option<IpAddr>,
    /// Reason of the verdict.
    pub reason: Reason,
    /// Id, with its service, of the rule that allows the packet, or is nearest to a denied one.
    pub rule: Option<String>,
    /// Group of the client.
    pub group: Option<String>,
    /// Kind of ground.
    pub matched: Matched,
    /// Prefix, names, or built-in rule that the verdict rests on.
    pub value: Option<String>,
    /// Verdict of the zone that the packet goes to, if that is another one.
    pub arrival: Option<Arrival>,
}

impl Judgement {
    /// Returns the kernel's verdict with names for its numbers, without `value`.
    #[must_use]
    pub fn new(
        address: IpAddr,
        explanation: Explanation,
        rules: &[Option<String>],
        groups: &[Option<String>],
    ) -> Self {
        let named = |names: &[Option<String>], number: Option<u8>| {
            number.and_then(|number| names.get(usize::from(number)).cloned().flatten())
        };
        Self {
            address: Some(address),
            reason: explanation.reason,
            rule: named(rules, explanation.rule),
            group: named(groups, explanation.group),
            matched: explanation.matched,
            value: None,
            arrival: None,
        }
    }

    /// Returns the verdict for a name that has no address yet. `nearest` is the mask of the rules
    /// that allow the name, or are nearest.
    #[must_use]
    pub fn predicted(
        reason: Reason,
        nearest: RuleMask,
        client: Option<&Client>,
        rules: &[Option<String>],
        groups: &[Option<String>],
    ) -> Self {
        let rule = rules.get(usize::from(nearest.lowest())).cloned().flatten();
        let group = client.and_then(|client| groups.get(usize::try_from(client.group).ok()?));
        Self {
            address: None,
            reason,
            rule,
            group: group.cloned().flatten(),
            matched: if reason == Reason::Policy { Matched::Name } else { Matched::Nothing },
            value: None,
            arrival: None,
        }
    }

    /// Whether the packet is denied.
    #[must_use]
    pub fn denies(&self) -> bool {
        self.deciding().denies()
    }

    /// Returns the reason of the side that decides: the first that denies, or the sender's.
    fn deciding(&self) -> Reason {
        let there = self.arrival.as_ref().map(|arrival| arrival.reason);
        there.filter(|there| there.denies() && !self.reason.denies()).unwrap_or(self.reason)
    }

    fn verdict(&self) -> &'static str {
        if self.denies() { "deny" } else { "allow" }
    }

    const fn kind(&self) -> Option<&'static str> {
        match self.matched {
            Matched::Nothing => None,
            Matched::Cidr => Some("cidr"),
            Matched::Name => Some("name"),
            Matched::Flow => Some("flow"),
            Matched::Builtin => Some("control"),
        }
    }
}

/// Converts a verdict to its shape in JSON.
impl From<&Judgement> for Verdict {
    fn from(judgement: &Judgement) -> Self {
        let value = judgement.value.clone();
        Self {
            verdict: judgement.verdict(),
            reason: judgement.deciding().as_str(),
            description: judgement.deciding().description(),
            service: judgement.rule.as_deref().map(|rule| service_of(rule).to_owned()),
            rule: judgement.rule.clone(),
            client_group: judgement.group.clone(),
            matched: judgement.kind().map(|kind| MatchedBy { kind, value }),
            address: judgement.address,
            sent: judgement.arrival.as_ref().map(|_| Side {
                zone: None,
                verdict: if judgement.reason.denies() { "deny" } else { "allow" },
                reason: judgement.reason.as_str(),
                description: judgement.reason.description(),
                rule: judgement.rule.clone(),
                client_group: judgement.group.clone(),
            }),
            arrives: judgement.arrival.as_ref().map(Side::from),
        }
    }
}

/// Verdicts for all addresses of a destination.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct DestinationReport {
    /// Address of the client.
    pub client: IpAddr,
    /// Destination with port and protocol.
    pub destination: Destination,
    /// Whether the loaded program has judged, rather than the policy on its own.
    pub by_kernel: bool,
    /// Edition of the catalogue.
    pub edition: String,
    /// Sources of what the verdict rests on.
    pub sources: Vec<String>,
    /// Services with a pattern that matches the name, each with the pattern.
    pub patterns: Vec<PatternOf>,
    /// Verdict for each address of the destination; for a name without addresses, the expected
    /// verdict.
    pub judgements: Vec<Judgement>,
}

impl DestinationReport {
    /// Returns the verdict for the destination as a whole: a denial if there is one, since a client
    /// may take any of the addresses.
    #[must_use]
    pub(super) fn overall(&self) -> Option<&Judgement> {
        self.judgements.iter().find(|one| one.denies()).or_else(|| self.judgements.first())
    }

    /// Returns the shape in JSON: the fields of the overall verdict, and all verdicts.
    #[must_use]
    pub(super) fn to_json(&self) -> Explained {
        Explained {
            schema: SCHEMA,
            overall: self.overall().map(Verdict::from),
            client: self.client,
            destination: self.destination.to_string(),
            judged_by: if self.by_kernel { "kernel" } else { "policy" },
            resolved: self.judgements.iter().all(|one| one.address.is_some()),
            edition: self.edition.clone(),
            sources: self.sources.clone(),
            patterns: self.patterns.clone(),
            addresses: self.judgements.iter().map(Verdict::from).collect(),
        }
    }

    /// Formats the verdicts as text for people.
    #[must_use]
    pub(super) fn to_text(&self) -> String {
        let mut text = String::new();
        if self.destination.assumed {
            let _ = writeln!(text, "(no port given: taking {})", self.destination);
        }
        if !self.by_kernel {
            text += "(nothing is enforced here: judged by the policy alone)\n";
        }
        if self.destination.port == 53 && self.destination.protocol == Protocol::UDP {
            let _ = writeln!(text, "(taking a query for {QUERY_NAME})");
        }
        for PatternOf { id, pattern, sources } in &self.patterns {
            let sources = sources.join("; ");
            let _ = writeln!(
                text,
                "name matches {pattern} of {id}, edition {}: {sources}",
                self.edition
            );
        }
        if self.patterns.is_empty() && !self.sources.is_empty() {
            let _ = writeln!(text, "edition {}: {}", self.edition, self.sources.join("; "));
        }
        for one in &self.judgements {
            let verdict = one.verdict().to_uppercase();
            match one.address {
                Some(address) => {
                    let port = self.destination.port;
                    let protocol = self.destination.protocol.as_str();
                    let _ = write!(text, "{verdict}  {} -> {address}", self.client);
                    let _ = match port {
                        0 => writeln!(text, " {protocol}"),
                        port => writeln!(text, " port {port}/{protocol}"),
                    };
                }
                None => {
                    let _ = writeln!(
                        text,
                        "{verdict}  {} -> {}, which was not resolved yet; this is what would happen",
                        self.client, self.destination
                    );
                }
            }
            let reason = one.reason;
            let _ = writeln!(text, "  reason   {}: {}", reason.as_str(), reason.description());
            for (what, value) in [
                ("group", one.group.as_deref()),
                (if one.denies() { "nearest" } else { "rule" }, one.rule.as_deref()),
                ("matched", one.value.as_deref()),
            ] {
                if let Some(value) = value {
                    let _ = writeln!(text, "  {what:8} {value}");
                }
            }
            if let Some(arrival) = &one.arrival {
                let Arrival { place, reason, rule, group } = arrival;
                let verdict = if reason.denies() { "denied" } else { "arrives" };
                let _ = writeln!(text, "  at {place} {verdict}");
                let _ = writeln!(text, "  reason   {}: {}", reason.as_str(), reason.description());
                for (what, value) in [("group", group), ("rule", rule)] {
                    if let Some(value) = value {
                        let _ = writeln!(text, "  {what:8} {value}");
                    }
                }
            }
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn judgement(reason: Reason) -> Judgement {
        Judgement {
            address: Some("192.0.2.1".parse().unwrap()),
            reason,
            rule: Some("apple/push".into()),
            group: Some("enrolment".into()),
            matched: Matched::Cidr,
            value: Some("192.0.2.0/24".into()),
            arrival: None,
        }
    }

    fn answer(judgements: Vec<Judgement>) -> DestinationReport {
        DestinationReport {
            client: "10.0.0.5".parse().unwrap(),
            destination: "192.0.2.1".parse().unwrap(),
            by_kernel: true,
            edition: "2026-08".into(),
            sources: Vec::new(),
            patterns: Vec::new(),
            judgements,
        }
    }

    #[test]
    fn json_has_the_fields_that_tools_rely_on() {
        let told = answer(vec![judgement(Reason::Policy)]).to_json();
        assert_eq!(told.destination, "192.0.2.1:443/tcp");
        let overall = told.overall.unwrap();
        assert_eq!((overall.verdict, overall.reason), ("allow", "policy"));
        assert_eq!(overall.service.as_deref(), Some("apple"));
        assert_eq!(overall.client_group.as_deref(), Some("enrolment"));
        let matched = MatchedBy { kind: "cidr", value: Some("192.0.2.0/24".to_owned()) };
        assert_eq!(overall.matched, Some(matched));
    }

    #[test]
    fn one_denied_address_is_a_no() {
        let answer = answer(vec![judgement(Reason::Policy), judgement(Reason::Expired)]);
        assert_eq!(answer.overall().map(|one| one.reason), Some(Reason::Expired));
        assert_eq!(answer.to_json().overall.unwrap().verdict, "deny");
        let text = answer.to_text();
        assert!(text.contains("ALLOW") && text.contains("DENY"), "{text}");
        assert!(text.contains("no port given: taking 192.0.2.1:443/tcp"), "{text}");
    }
}
