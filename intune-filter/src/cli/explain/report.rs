//! Combines the verdicts over a query and over first packets into one, and gives it its shape in JSON.

use std::net::IpAddr;

use intune_filter_ebpf::abi::{Matched, Reason};

use crate::{
    cli::{destination::Destination, services::service_of},
    report::{Explained, Judged, MatchedBy, Nearest, PatternOf, Remedy, SCHEMA, Side, Verdict},
};

/// Relation of an address to the name that leads to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Teaching {
    /// The kernel has learned it.
    Learned,
    /// The next answer teaches it.
    Answered,
    /// No answer may teach it.
    Refused,
    /// It is in an answer, beyond what is read.
    Cut,
}

impl Teaching {
    /// Returns the word in JSON.
    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::Learned => "learned",
            Self::Answered => "answered",
            Self::Refused => "refused",
            Self::Cut => "cut",
        }
    }
}

/// Verdict over one query or first packet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Judgement {
    /// Destination address; `None` of a query, and if the name has none yet.
    pub address: Option<IpAddr>,
    /// Reason of the verdict; of an audited packet, that of the denial that it was spared.
    pub reason: Reason,
    /// Whether the packet passes only because of an audit or the warm-up.
    pub audited: bool,
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
    /// Relation of the address to the name.
    pub teaching: Option<Teaching>,
}

/// Verdict of another zone, at the receiver's side.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Arrival {
    /// Interface, or `INTERFACE.VLAN`, of the zone.
    pub place: String,
    /// Reason of the verdict there.
    pub reason: Reason,
    /// Whether the packet arrives only because of an audit.
    pub audited: bool,
    /// Rule that lets the packet in.
    pub rule: Option<String>,
    /// Group of the receiver.
    pub group: Option<String>,
}

impl Arrival {
    /// Whether the packet does not arrive.
    pub(super) const fn denies(&self) -> bool {
        self.reason.denies() && !self.audited
    }
}

const fn word(denies: bool) -> &'static str {
    if denies { "deny" } else { "allow" }
}

impl Judgement {
    /// Whether the packet is denied, on one side or the other.
    pub(super) fn denies(&self) -> bool {
        self.is_denied_here() || self.arrival.as_ref().is_some_and(Arrival::denies)
    }

    /// Whether the packet would be denied without audit and warm-up.
    pub(super) fn policy_denies(&self) -> bool {
        self.reason.denies() || self.arrival.as_ref().is_some_and(|there| there.reason.denies())
    }

    /// Whether the client's own zone denies the packet.
    pub(super) const fn is_denied_here(&self) -> bool {
        self.reason.denies() && !self.audited
    }

    /// Whether the packet passes only because it is audited.
    pub(super) fn is_spared(&self) -> bool {
        !self.denies() && self.policy_denies()
    }

    /// Returns the reason of the side that decides: the first that denies, then the first that would,
    /// or the sender's.
    pub(super) fn deciding(&self) -> Reason {
        match &self.arrival {
            Some(there) if there.denies() && !self.is_denied_here() => there.reason,
            Some(there) if there.reason.denies() && !self.reason.denies() => there.reason,
            _ => self.reason,
        }
    }

    /// Returns the word of the verdict.
    pub(super) fn verdict(&self) -> &'static str {
        word(self.denies())
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
            policy_verdict: word(judgement.policy_denies()),
            audited: judgement.is_spared(),
            reason: judgement.deciding().as_str(),
            description: judgement.deciding().description(),
            service: judgement.rule.as_deref().map(|rule| service_of(rule).to_owned()),
            rule: judgement.rule.clone(),
            client_group: judgement.group.clone(),
            matched: judgement.kind().map(|kind| MatchedBy { kind, value }),
            address: judgement.address,
            teaching: judgement.teaching.map(Teaching::as_str),
            sent: judgement.arrival.as_ref().map(|_| Side {
                zone: None,
                verdict: word(judgement.is_denied_here()),
                audited: judgement.audited,
                reason: judgement.reason.as_str(),
                description: judgement.reason.description(),
                rule: judgement.rule.clone(),
                client_group: judgement.group.clone(),
            }),
            arrives: judgement.arrival.as_ref().map(Side::from),
        }
    }
}

impl From<&Arrival> for Side {
    fn from(arrival: &Arrival) -> Self {
        Self {
            zone: Some(arrival.place.clone()),
            verdict: word(arrival.denies()),
            audited: arrival.audited,
            reason: arrival.reason.as_str(),
            description: arrival.reason.description(),
            rule: arrival.rule.clone(),
            client_group: arrival.group.clone(),
        }
    }
}

/// Verdicts over a destination: over the query for its name, and for each of its addresses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct DestinationReport {
    /// Address of the client.
    pub client: IpAddr,
    /// Destination with port and protocol.
    pub destination: Destination,
    /// Policy that judged.
    pub judged: Judged,
    /// Edition of the catalogue.
    pub edition: String,
    /// Name of the destination, or names that led to its address.
    pub name: Option<String>,
    /// Sources of what the verdict rests on.
    pub sources: Vec<String>,
    /// Services with a pattern that matches the name, each with the pattern.
    pub patterns: Vec<PatternOf>,
    /// Service that comes nearest to a denied destination.
    pub nearest: Option<Nearest>,
    /// Change of the configuration that would allow a denied destination.
    pub remedy: Option<Remedy>,
    /// Notes about the verdict and its sources.
    pub notes: Vec<String>,
    /// Verdict over the query for the name.
    pub query: Option<Judgement>,
    /// Verdict for each address of the destination; for a name without addresses, the expected
    /// verdict.
    pub judgements: Vec<Judgement>,
}

impl DestinationReport {
    /// Returns the verdict for the destination as a whole: a denial if there is one, since a client
    /// asks first and may take any of the addresses; else one that was spared.
    #[must_use]
    pub(super) fn overall(&self) -> Option<&Judgement> {
        let all = || self.query.iter().chain(&self.judgements);
        all()
            .find(|one| one.denies())
            .or_else(|| all().find(|one| one.policy_denies()))
            .or_else(|| self.judgements.first())
    }

    /// Returns the shape in JSON: the fields of the overall verdict, and all verdicts.
    #[must_use]
    pub(super) fn to_json(&self) -> Explained {
        Explained {
            schema: SCHEMA,
            overall: self.overall().map(Verdict::from),
            judged: self.judged,
            name: self.name.clone(),
            nearest: self.nearest.clone(),
            remedy: self.remedy.clone(),
            notes: self.notes.clone(),
            client: self.client,
            destination: self.destination.to_string(),
            judged_by: match self.judged {
                Judged::InForce => "kernel",
                Judged::File => "policy",
            },
            resolved: self.judgements.iter().all(|one| one.address.is_some()),
            edition: self.edition.clone(),
            sources: self.sources.clone(),
            patterns: self.patterns.clone(),
            query: self.query.as_ref().map(Verdict::from),
            addresses: self.judgements.iter().map(Verdict::from).collect(),
        }
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    pub(crate) fn judgement(reason: Reason) -> Judgement {
        Judgement {
            address: Some("192.0.2.1".parse().unwrap()),
            reason,
            audited: false,
            rule: Some("apple/push".into()),
            group: Some("enrolment".into()),
            matched: Matched::Cidr,
            value: Some("192.0.2.0/24".into()),
            arrival: None,
            teaching: None,
        }
    }

    pub(crate) fn answer(judgements: Vec<Judgement>) -> DestinationReport {
        DestinationReport {
            client: "10.0.0.5".parse().unwrap(),
            destination: "192.0.2.1".parse().unwrap(),
            judged: Judged::InForce,
            edition: "2026-08".into(),
            name: None,
            sources: Vec::new(),
            patterns: Vec::new(),
            nearest: None,
            remedy: None,
            notes: Vec::new(),
            query: None,
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
    }

    #[test]
    fn what_an_audit_spares_passes_and_a_denial_elsewhere_still_counts() {
        let audited = Judgement { audited: true, ..judgement(Reason::Port) };
        let told = answer(vec![judgement(Reason::Policy), audited.clone()]).to_json();
        let overall = told.overall.unwrap();
        assert_eq!((overall.verdict, overall.policy_verdict), ("allow", "deny"));
        assert_eq!((overall.audited, overall.reason), (true, "port"));
        let arrival = |reason, audited| {
            Some(Arrival { place: "eth2".into(), reason, audited, rule: None, group: None })
        };
        let beyond = Judgement { arrival: arrival(Reason::Unsolicited, false), ..audited };
        let verdict = Verdict::from(&beyond);
        assert_eq!((verdict.verdict, verdict.audited), ("deny", false));
        assert_eq!((verdict.reason, verdict.sent.unwrap().verdict), ("unsolicited", "allow"));
        let spared = Judgement {
            arrival: arrival(Reason::Unsolicited, true),
            ..judgement(Reason::UnlistedAllowed)
        };
        let verdict = Verdict::from(&spared);
        assert_eq!((verdict.verdict, verdict.policy_verdict), ("allow", "deny"));
        assert_eq!(verdict.reason, "unsolicited");
    }
}
