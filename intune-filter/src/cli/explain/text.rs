//! Formats what `explain` has found for people, on one screen.

use std::fmt::Write as _;

use super::{
    packet::QUERY_NAME,
    report::{Arrival, DestinationReport, Judgement, Teaching},
};
use crate::{
    cli::destination::Protocol,
    report::{Judged, PatternOf},
};

/// Verdicts with a paragraph of their own; those after them are counted.
const SHOWN: usize = 3;

impl DestinationReport {
    /// Formats the verdicts as text for people.
    #[must_use]
    pub(super) fn to_text(&self) -> String {
        let mut text = String::new();
        if self.destination.assumed {
            let _ = writeln!(text, "(no port given: taking {})", self.destination);
        }
        if self.destination.port == 53 && self.destination.protocol == Protocol::UDP {
            let _ = writeln!(text, "(taking a query for {QUERY_NAME})");
        }
        for note in &self.notes {
            let _ = writeln!(text, "({note})");
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
        // A query that passes is no news.
        if let Some(query) = self.query.as_ref().filter(|query| query.policy_denies()) {
            text += &self.paragraph(query, true);
        }
        // Denials first: they decide.
        let mut judgements: Vec<&Judgement> = self.judgements.iter().collect();
        judgements.sort_by_key(|one| (!one.denies(), !one.policy_denies()));
        for one in judgements.iter().take(SHOWN) {
            text += &self.paragraph(one, false);
        }
        let rest: Vec<_> = judgements.iter().skip(SHOWN).collect();
        if !rest.is_empty() {
            let denied = rest.iter().filter(|one| one.denies()).count();
            let _ = writeln!(text, "and {} addresses more, {denied} of them denied", rest.len());
        }
        if let Some(name) = self.name.as_ref().filter(|_| self.is_denied_address()) {
            let _ = writeln!(text, "name      {name}");
        }
        if let Some(nearest) = &self.nearest {
            let _ = writeln!(text, "nearest   {}: {}", nearest.service, nearest.why);
        }
        if let Some(remedy) = &self.remedy {
            text += "to allow it, the configuration needs:\n";
            for line in remedy.yaml.lines() {
                let _ = writeln!(text, "    {line}");
            }
        }
        text
    }

    fn is_denied_address(&self) -> bool {
        self.query.is_none() && self.judgements.iter().any(Judgement::policy_denies)
    }

    fn paragraph(&self, one: &Judgement, is_query: bool) -> String {
        let mut text = String::new();
        let verdict = match (one.denies(), one.is_spared(), self.judged) {
            (true, ..) => "DENY",
            (false, false, _) => "ALLOW",
            (false, true, Judged::InForce) => "ALLOW (audited: passes, and would be denied)",
            (false, true, Judged::File) => "ALLOW (audited: would pass, and be denied otherwise)",
        };
        let _ = match one.address {
            _ if is_query => {
                let name = self.name.as_deref().unwrap_or_default();
                writeln!(text, "{verdict}  {} asks for {name}", self.client)
            }
            Some(address) => {
                let _ = write!(text, "{verdict}  {} -> {address}", self.client);
                let protocol = self.destination.protocol.as_str();
                match self.destination.port {
                    0 => writeln!(text, " {protocol}"),
                    port => writeln!(text, " port {port}/{protocol}"),
                }
            }
            None => writeln!(
                text,
                "{verdict}  {} -> {}, which was not resolved yet; this is what would happen",
                self.client, self.destination
            ),
        };
        let reason = one.reason;
        let _ = writeln!(text, "  reason   {}: {}", reason.as_str(), reason.description());
        let teaching = one.teaching.map(|teaching| match teaching {
            Teaching::Learned => "learned from an earlier answer",
            Teaching::Answered => "learned from the next answer",
            Teaching::Refused => {
                "in the answer, which may not teach it: private, special, or an own address"
            }
            Teaching::Cut => "in the answer, beyond the first 64 records, which alone are read",
        });
        let nearest = if one.policy_denies() { "nearest" } else { "rule" };
        for (what, value) in [
            ("group", one.group.as_deref()),
            (nearest, one.rule.as_deref()),
            ("matched", one.value.as_deref()),
            ("address", teaching),
        ] {
            if let Some(value) = value {
                let _ = writeln!(text, "  {what:8} {value}");
            }
        }
        if let Some(arrival) = &one.arrival {
            let Arrival { place, reason, rule, group, .. } = arrival;
            let verdict = match (arrival.denies(), reason.denies()) {
                (true, _) => "denied",
                (false, true) => "arrives, audited",
                (false, false) => "arrives",
            };
            let _ = writeln!(text, "  at {place} {verdict}");
            let _ = writeln!(text, "  reason   {}: {}", reason.as_str(), reason.description());
            for (what, value) in [("group", group), ("rule", rule)] {
                if let Some(value) = value {
                    let _ = writeln!(text, "  {what:8} {value}");
                }
            }
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use intune_filter_ebpf::abi::Reason;

    use super::{
        super::report::tests::{answer, judgement},
        *,
    };

    #[test]
    fn both_verdicts_are_told_and_the_port_that_was_taken() {
        let answer = answer(vec![judgement(Reason::Policy), judgement(Reason::Expired)]);
        let text = answer.to_text();
        assert!(text.contains("ALLOW") && text.contains("DENY"), "{text}");
        assert!(text.contains("no port given: taking 192.0.2.1:443/tcp"), "{text}");
    }

    #[test]
    fn the_text_of_many_addresses_stays_on_one_screen() {
        let mut many = vec![judgement(Reason::Policy); 60];
        many.push(judgement(Reason::Port));
        let text = answer(many).to_text();
        assert!(text.lines().count() <= 24, "{text}");
        assert!(text.contains("DENY") && text.contains("and 58 addresses more, 0 of"), "{text}");
    }

    #[test]
    fn an_audited_packet_passes_in_words_too() {
        let audited = Judgement { audited: true, ..judgement(Reason::Port) };
        let text = answer(vec![audited]).to_text();
        assert!(text.starts_with("(no port") && text.contains("ALLOW (audited: passes"), "{text}");
        assert!(!text.contains("DENY"), "{text}");
    }
}
