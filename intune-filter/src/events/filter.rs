//! Selects events by kind, client and reason.

use std::collections::BTreeSet;

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

use super::What;

/// Kind of events that can be asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// [`What::Denied`].
    Denied,
    /// [`What::Learned`], [`What::Full`] and [`What::Conflict`].
    Learned,
    /// [`What::Opened`] and [`What::Closed`].
    Flows,
}

/// Conditions on events; an empty condition accepts every event.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EventFilter {
    /// Accepted kinds of events.
    pub kinds: BTreeSet<Kind>,
    /// Networks of the accepted clients.
    pub clients: Vec<IpNet>,
    /// Accepted reasons of denials; events other than denials have none.
    pub reasons: BTreeSet<String>,
}

impl EventFilter {
    /// Whether the filter accepts an event. [`What::Lost`] is always accepted.
    #[must_use]
    pub fn wants(&self, what: &What) -> bool {
        let kind = match what {
            What::Denied(_) => Kind::Denied,
            What::Learned(_) | What::Full(_) | What::Conflict(_) => Kind::Learned,
            What::Opened(_) | What::Closed(_) => Kind::Flows,
            What::Lost { .. } => return true,
        };
        let has_reason = || match what {
            What::Denied(denied) => self.reasons.contains(&denied.reason),
            _ => false,
        };
        let is_client = || {
            let client = what.client();
            client
                .is_some_and(|client| self.clients.iter().any(|network| network.contains(&client)))
        };
        (self.kinds.is_empty() || self.kinds.contains(&kind))
            && (self.reasons.is_empty() || has_reason())
            && (self.clients.is_empty() || is_client())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::events::{Denied, Learned};

    fn denied(client: Option<&str>, reason: &str) -> What {
        What::Denied(Denied {
            client: client.map(|client| client.parse().unwrap()),
            protocol: "tcp".into(),
            reason: reason.into(),
            ..Denied::default()
        })
    }

    fn learned(client: &str) -> What {
        What::Learned(Learned {
            name: "a.test".into(),
            addresses: Vec::new(),
            targets: Vec::new(),
            services: Vec::new(),
            client: client.parse().unwrap(),
            expires_in_s: 1,
        })
    }

    #[test]
    fn everything_that_is_said_has_to_be_so() {
        let lost = What::Lost { count: 1 };
        let all = EventFilter::default();
        assert!(all.wants(&denied(None, "malformed")) && all.wants(&lost));

        let kinds = EventFilter { kinds: [Kind::Denied].into(), ..EventFilter::default() };
        assert!(kinds.wants(&denied(None, "port")) && kinds.wants(&lost));
        assert!(!kinds.wants(&learned("10.0.0.1")));

        let reasons = EventFilter { reasons: ["port".to_owned()].into(), ..EventFilter::default() };
        assert!(reasons.wants(&denied(None, "port")) && !reasons.wants(&denied(None, "service")));
        assert!(!reasons.wants(&learned("10.0.0.1")) && reasons.wants(&lost));

        let clients = vec!["10.0.0.0/24".parse().unwrap(), "fd00::1/128".parse().unwrap()];
        let clients = EventFilter { clients, ..reasons };
        assert!(clients.wants(&denied(Some("10.0.0.9"), "port")));
        assert!(clients.wants(&denied(Some("fd00::1"), "port")));
        assert!(!clients.wants(&denied(Some("fd00::2"), "port")));
        assert!(!clients.wants(&denied(Some("10.0.0.9"), "service")));
        assert!(!clients.wants(&denied(None, "port")) && clients.wants(&lost));
    }
}
