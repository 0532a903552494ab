//! Judging what became of packets: by the policies that were in force and what had been learned.

use std::collections::BTreeSet;

use super::{
    model::{Judgement, Mode, ModelPolicy, Verdict},
    packet::{Packet, What},
    timeline::{Fault, Span},
    world::{World, lock},
};

/// A conversation that was opened.
#[derive(Clone, Debug)]
pub struct Flow {
    /// Its first packet.
    pub opening: Packet,
    /// Time at which the opening packet was sent.
    pub opened: Span,
    /// The services by which it may have been allowed.
    services: BTreeSet<String>,
}

impl World {
    /// Judgement of a packet that begins a conversation.
    pub fn judge(&self, packet: &Packet, span: Span) -> Judgement {
        let (timeline, knowledge) = &*self.history();
        let judgements = timeline.policies(span).into_iter().map(|policy| {
            policy.judge(packet, |service, address| match knowledge.leads(service, address, span) {
                Verdict::Denied if self.names.may_be_resolved(&policy, service, address) => {
                    Verdict::Either
                }
                verdict => verdict,
            })
        });
        agreed(judgements)
    }

    /// A conversation whose first packet has arrived, if it can be followed: those of groups that
    /// are enforced. What ends a connection begins none.
    pub fn opened(&self, packet: &Packet, span: Span) -> Option<Flow> {
        if matches!(packet.what, What::Tcp { flags, .. } if flags.fin || flags.rst) {
            return None;
        }
        let policies = self.policies(span);
        let is_enforced =
            policies.iter().all(|policy| policy.mode(packet.client()) == Some(Mode::Enforce));
        let services = policies.iter().flat_map(|policy| policy.services_for(packet));
        let services = services.map(str::to_owned).collect();
        is_enforced.then(|| Flow { opening: packet.clone(), opened: span, services })
    }

    /// Judgement of a packet of a conversation, in either direction.
    pub fn judge_flow(&self, flow: &Flow, packet: &Packet, span: Span) -> Judgement {
        let anew = self.judge(packet, span);
        if anew.0 == Verdict::Passes {
            return anew;
        }
        let whole = flow.opened.with(span);
        let has = |policy: &ModelPolicy, service: &String| {
            policy.services_for(&flow.opening).contains(&service.as_str())
        };
        let kept = self
            .policies(whole)
            .iter()
            .all(|policy| flow.services.iter().all(|service| has(policy, service)));
        let forgotten = self.had(Fault::FlowsFull, whole) || self.had(Fault::Replaced, whole);
        if kept && !forgotten {
            return (Verdict::Passes, "belongs to a conversation that is still allowed");
        }
        let may = self
            .policies(span)
            .iter()
            .any(|policy| flow.services.iter().any(|service| has(policy, service)));
        // What comes unasked to who wants it opens a conversation of its own, and an error may quote
        // what policy has taken back but no packet has tried since.
        let reopened = self.policies(whole).iter().any(|policy| policy.wants(packet.client()));
        let quotes = matches!(packet.what, What::Unreachable { .. });
        if may || reopened || quotes {
            return (Verdict::Either, "its conversation may have been forgotten");
        }
        anew
    }

    /// Holds what became of a packet against the verdict, and counts it.
    pub fn hold(
        &self,
        kind: &'static str,
        packet: &Packet,
        (verdict, reason): Judgement,
        span: Span,
        arrived: bool,
    ) {
        let lost = !arrived && verdict == Verdict::Passes;
        let excused = lost && self.had(Fault::Link, span);
        let wrong = lost && !excused || arrived && verdict == Verdict::Denied;
        let mut tally = self.tally();
        if excused {
            tally.count_excused(kind);
        } else {
            tally.count(kind, verdict, arrived);
        }
        if wrong {
            let found = if arrived { "arrived" } else { "did not arrive" };
            tally.wrong(format!("{kind}: {packet} {found}; expected {verdict:?}: {reason}"));
            drop(tally);
            self.testify(packet, span);
        }
    }

    /// Prints what the model and the filter know of a packet that had another fate than it should.
    fn testify(&self, packet: &Packet, span: Span) {
        println!("    sent {:.3} s ago at the earliest", span.from.elapsed().as_secs_f64());
        for address in [packet.source, packet.destination] {
            self.history().1.told(address).for_each(|told| println!("    {address}: {told}"));
        }
        let client = packet.client().to_string();
        let remote = if packet.to_client { packet.source } else { packet.destination };
        let remote = remote.to_string();
        let run = |arguments: &[&str]| {
            let mut command = lock(&self.filter).command(arguments)?;
            intune_filter_tests::namespace::run(&mut command)
        };
        let of_remote = |text: String| {
            text.lines()
                .filter(|line| line.contains(&remote))
                .map(str::to_owned)
                .collect::<Vec<_>>()
        };
        println!("    names: {:?}", run(&["names"]).map(of_remote));
        println!("    events: {:?}", run(&["events", "--last", "9", "--client", &client]));
        println!("    counted: {:?}", self.counters());
    }
}

/// Common judgement of several policies.
fn agreed(judgements: impl Iterator<Item = Judgement>) -> Judgement {
    judgements
        .reduce(|one, other| {
            if one.0 == other.0 { one } else { (Verdict::Either, "the policy changed meanwhile") }
        })
        .unwrap_or((Verdict::Either, "no policy is known"))
}
