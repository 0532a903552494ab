//! Services and their addresses, by the answers that clients were given, with the spans in which
//! they are certain.

use std::{
    collections::{BTreeSet, HashMap},
    net::IpAddr,
    sync::Arc,
    time::{Duration, Instant},
};

use super::{
    model::{ModelPolicy, Verdict},
    timeline::Span,
};

/// Longest time after a query in which its answer may teach.
const LATE: Duration = Duration::from_secs(60);

/// Longest time until the daemon takes one service away from an address that keeps another.
const FORGET: Duration = Duration::from_secs(5);

/// Time after the end of a daemon in which the next one finds addresses without a name.
const FOUND: Duration = Duration::from_secs(20);

/// Grant of an answer to a service.
#[derive(Clone, Debug)]
struct Grant {
    query: u64,
    name: Arc<str>,
    service: String,
    /// While this holds it has to be known.
    surely: Option<Span>,
    /// While this holds it may be known.
    maybe: Span,
    /// End of the grant if no policy takes it away.
    lasts: Instant,
    /// Time of a daemon's kill since, which lost its names.
    orphaned: Option<Instant>,
}

impl Grant {
    fn is_uncertain_from(&mut self, now: Instant) {
        if let Some(surely) = &mut self.surely {
            surely.to = surely.to.min(now);
        }
    }
}

/// Everything that answers have taught, and may have.
#[derive(Debug, Default)]
pub struct Knowledge {
    grants: HashMap<IpAddr, Vec<Grant>>,
    queries: u64,
    /// Queries that may be answered yet.
    open: Vec<(Asked, Arc<str>)>,
    /// Services that have lost a pattern in a policy that is not yet settled.
    narrowed: BTreeSet<String>,
}

/// A query that was sent.
#[derive(Clone, Debug)]
pub struct Asked {
    query: u64,
    at: Instant,
    addresses: Vec<IpAddr>,
}

impl Knowledge {
    /// A query for a name is about to be sent, whose answer will lead to these addresses if one
    /// comes. From now on they may be known.
    pub fn ask(
        &mut self,
        name: &str,
        addresses: &[IpAddr],
        policies: &[Arc<ModelPolicy>],
    ) -> Asked {
        self.queries += 1;
        let at = Instant::now();
        let asked = Asked { query: self.queries, at, addresses: addresses.to_vec() };
        let life = policies.iter().map(|policy| policy.longest_life()).max().unwrap_or_default();
        let maybe = Span { from: at, to: at + LATE + life };
        self.grant(&asked, name, policies, maybe);
        self.open.retain(|(asked, _)| asked.at + LATE > at);
        self.open.push((asked.clone(), name.into()));
        asked
    }

    /// Its answer came, with this time to live.
    ///
    /// `policies` may have judged since the query was sent; `certain` says whether there was room for
    /// what is new.
    pub fn answered(
        &mut self,
        asked: &Asked,
        name: &str,
        ttl: u32,
        policies: &[Arc<ModelPolicy>],
        certain: bool,
    ) {
        let received = Instant::now();
        self.close(asked);
        let lives = || policies.iter().map(|policy| policy.life(ttl));
        let shortest = asked.at + lives().min().unwrap_or_default();
        let maybe = Span { from: asked.at, to: received + lives().max().unwrap_or_default() };
        // A policy that was not yet there when the query was sent may have judged the answer.
        self.grant(asked, name, policies, maybe);
        for address in &asked.addresses {
            let grants = self.grants.get_mut(address).into_iter().flatten();
            for grant in grants.filter(|grant| grant.query == asked.query) {
                let has = |policy: &Arc<ModelPolicy>| {
                    policy.services_of(name).any(|id| id == grant.service)
                };
                grant.maybe.to = grant.maybe.to.min(maybe.to);
                grant.lasts = grant.maybe.to;
                if certain && policies.iter().all(has) {
                    grant.surely = Some(Span { from: received, to: shortest.min(grant.maybe.to) });
                }
            }
        }
    }

    /// The answer said that there is nothing, or was the filter's own.
    pub fn refused(&mut self, asked: &Asked) {
        self.close(asked);
        for address in &asked.addresses {
            if let Some(grants) = self.grants.get_mut(address) {
                grants.retain(|grant| grant.query != asked.query);
            }
        }
    }

    fn close(&mut self, asked: &Asked) {
        self.open.retain(|(open, _)| open.query != asked.query);
    }

    /// Adds what is not there yet to services that any of the policies gives the name.
    fn grant(&mut self, asked: &Asked, name: &str, policies: &[Arc<ModelPolicy>], maybe: Span) {
        let mut services: Vec<&str> =
            policies.iter().flat_map(|policy| policy.services_of(name)).collect();
        services.sort_unstable();
        services.dedup();
        let name: Arc<str> = name.into();
        for address in &asked.addresses {
            let grants = self.grants.entry(*address).or_default();
            grants.retain(|grant| grant.maybe.to + LATE > asked.at);
            for service in &services {
                if !grants.iter().any(|one| one.query == asked.query && one.service == **service) {
                    grants.push(Grant {
                        query: asked.query,
                        name: Arc::clone(&name),
                        service: (*service).to_owned(),
                        surely: None,
                        maybe,
                        lasts: maybe.to,
                        orphaned: None,
                    });
                }
            }
        }
    }

    /// A policy begins to be put into force after another one: what only names lead to that it has
    /// no more is uncertain from now on, and what is yet answered to a query may be learned by it.
    pub fn begin(&mut self, policy: &Arc<ModelPolicy>, before: Option<&ModelPolicy>) {
        let now = Instant::now();
        for (asked, name) in self.open.clone() {
            let maybe = Span { from: asked.at, to: asked.at + LATE + policy.longest_life() };
            self.grant(&asked, &name, std::slice::from_ref(policy), maybe);
        }
        self.lost(policy).for_each(|grant| grant.is_uncertain_from(now));
        self.narrowed.extend(before.into_iter().flat_map(|before| policy.narrower_than(before)));
        self.doubt_orphans();
    }

    /// The daemon was killed, and knows no more which names led to what it has in the kernel.
    pub fn orphan(&mut self) {
        let now = Instant::now();
        let grants = self.grants.values_mut().flatten();
        grants.for_each(|grant| grant.orphaned = grant.orphaned.or(Some(now)));
        self.doubt_orphans();
    }

    /// Of a service that loses a pattern, no address is left that no known name leads to.
    fn doubt_orphans(&mut self) {
        let (now, narrowed) = (Instant::now(), &self.narrowed);
        let orphans = self.grants.values_mut().flatten().filter(|grant| grant.orphaned.is_some());
        orphans
            .filter(|grant| narrowed.contains(&grant.service))
            .for_each(|grant| grant.is_uncertain_from(now));
    }

    /// Forgets the policy before, now that this one is in force.
    pub fn settle(&mut self, policy: &ModelPolicy) {
        self.narrowed.clear();
        let now = Instant::now();
        for grant in self.lost(policy) {
            grant.maybe.to = grant.maybe.to.min(now);
        }
    }

    fn lost(&mut self, policy: &ModelPolicy) -> impl Iterator<Item = &mut Grant> {
        let keeps = |grant: &Grant| policy.services_of(&grant.name).any(|id| id == grant.service);
        self.grants.values_mut().flatten().filter(move |grant| !keeps(grant))
    }

    /// History of an address by answers, for the analysis of a wrong verdict.
    pub fn told(&self, address: IpAddr) -> impl Iterator<Item = String> {
        let now = Instant::now();
        let around = move |at: Instant| match now.checked_duration_since(at) {
            Some(past) => format!("-{:.3}", past.as_secs_f64()),
            None => format!("+{:.3}", (at - now).as_secs_f64()),
        };
        let between = move |span: Span| format!("{} to {} s", around(span.from), around(span.to));
        self.grants.get(&address).into_iter().flatten().map(move |grant| {
            let surely = grant.surely.map_or_else(|| "never".to_owned(), between);
            let orphaned = grant
                .orphaned
                .map_or_else(String::new, |at| format!(", orphaned at {} s", around(at)));
            let Grant { name, service, maybe, .. } = grant;
            format!("{name} for {service}: surely {surely}, maybe {}{orphaned}", between(*maybe))
        })
    }

    /// Whether a service leads to an address all the time of a span, at no time, or perhaps.
    #[must_use]
    pub fn leads(&self, service: &str, address: IpAddr, span: Span) -> Verdict {
        let grants = self.grants.get(&address).map(Vec::as_slice).unwrap_or_default();
        let ours = || grants.iter().filter(|grant| grant.service == service);
        let covers = |grant: &Grant| {
            grant.surely.is_some_and(|surely| surely.from <= span.from && span.to <= surely.to)
        };
        let touches = |maybe: Span| maybe.from <= span.to && span.from <= maybe.to;
        if ours().any(covers) {
            return Verdict::Passes;
        }
        // An address that another service's name still leads to keeps this one until the daemon
        // has noticed, which it does while it runs.
        let is_shared = grants.iter().any(|grant| {
            let late = Span { to: grant.maybe.to + FORGET, ..grant.maybe };
            grant.service != service && touches(late)
        });
        // Of an orphan it is not known when it is over: it has the life that the address has when
        // the next daemon has found it.
        let lives_on = |orphan: &Grant| {
            let Some(since) = orphan.orphaned else { return false };
            let lasts = |other: &Grant| {
                other.maybe.from <= since + FOUND
                    && touches(Span { from: orphan.maybe.from, to: other.lasts + FORGET })
            };
            grants.iter().any(lasts)
        };
        let may = |grant: &Grant| {
            touches(grant.maybe) || is_shared && grant.maybe.from <= span.to || lives_on(grant)
        };
        if ours().any(may) { Verdict::Either } else { Verdict::Denied }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ADDRESS: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(198, 18, 0, 1));

    fn policy(fqdns: &str) -> Arc<ModelPolicy> {
        let text = format!(
            "dns: {{resolvers: [], ttl: {{min: 3s, max: 6s, grace: 2s}}}}\n\
             clients: [{{networks: [10.0.0.0/24], services: [web, mail]}}]\n\
             services: [{{id: web, fqdns: [{fqdns}]}}, {{id: mail, fqdns: [mail.test]}}]"
        );
        Arc::new(ModelPolicy::read(&text).unwrap())
    }

    fn at(after: Duration) -> Span {
        let now = Instant::now() + after;
        Span { from: now, to: now }
    }

    const NOW: Duration = Duration::ZERO;
    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn an_address_is_known_from_the_answer_on_until_it_expires() {
        let (mut knowledge, policies) = (Knowledge::default(), [policy("'*.web.test'")]);
        assert_eq!(knowledge.leads("web", ADDRESS, at(NOW)), Verdict::Denied);
        let asked = knowledge.ask("a.web.test", &[ADDRESS], &policies);
        assert_eq!(knowledge.leads("web", ADDRESS, at(NOW)), Verdict::Either);
        knowledge.answered(&asked, "a.web.test", 4, &policies, true);
        assert_eq!(knowledge.leads("web", ADDRESS, at(NOW)), Verdict::Passes);
        assert_eq!(knowledge.leads("mail", ADDRESS, at(NOW)), Verdict::Denied);
        assert_eq!(knowledge.leads("web", ADDRESS, at(5 * SECOND)), Verdict::Passes);
        assert_eq!(knowledge.leads("web", ADDRESS, at(7 * SECOND)), Verdict::Denied);
    }

    #[test]
    fn what_found_no_room_may_be_known_and_what_was_refused_is_not() {
        let (mut knowledge, policies) = (Knowledge::default(), [policy("'*.web.test'")]);
        let asked = knowledge.ask("a.web.test", &[ADDRESS], &policies);
        knowledge.answered(&asked, "a.web.test", 4, &policies, false);
        assert_eq!(knowledge.leads("web", ADDRESS, at(NOW)), Verdict::Either);
        knowledge.refused(&asked);
        assert_eq!(knowledge.leads("web", ADDRESS, at(NOW)), Verdict::Denied);
    }

    #[test]
    fn a_query_that_no_answer_came_to_may_be_answered_under_another_policy() {
        let (with, without) = (policy("'*.web.test'"), policy("b.web.test"));
        let mut knowledge = Knowledge::default();
        let asked = knowledge.ask("a.web.test", &[ADDRESS], &[Arc::clone(&without)]);
        assert_eq!(knowledge.leads("web", ADDRESS, at(SECOND)), Verdict::Denied);
        knowledge.begin(&with, Some(&without));
        assert_eq!(knowledge.leads("web", ADDRESS, at(SECOND)), Verdict::Either);
        knowledge.refused(&asked);
        assert_eq!(knowledge.leads("web", ADDRESS, at(SECOND)), Verdict::Denied);
        knowledge.settle(&with);
        knowledge.begin(&with, Some(&with));
        assert_eq!(knowledge.leads("web", ADDRESS, at(SECOND)), Verdict::Denied);
    }

    #[test]
    fn a_policy_without_the_name_forgets_it_for_good() {
        let (with, without) = (policy("'*.web.test'"), policy("b.web.test"));
        let mut knowledge = Knowledge::default();
        let asked = knowledge.ask("a.web.test", &[ADDRESS], &[Arc::clone(&with)]);
        knowledge.answered(&asked, "a.web.test", 4, &[Arc::clone(&with)], true);
        let before = Span::since(Instant::now());
        std::thread::sleep(Duration::from_millis(1));
        knowledge.begin(&without, Some(&with));
        assert_eq!(knowledge.leads("web", ADDRESS, before), Verdict::Passes);
        assert_eq!(knowledge.leads("web", ADDRESS, at(SECOND)), Verdict::Either);
        knowledge.settle(&without);
        assert_eq!(knowledge.leads("web", ADDRESS, at(SECOND)), Verdict::Denied);
        knowledge.begin(&with, Some(&without));
        knowledge.settle(&with);
        assert_eq!(knowledge.leads("web", ADDRESS, at(SECOND)), Verdict::Denied);
    }

    #[test]
    fn a_shared_address_keeps_a_service_until_the_daemon_has_noticed() {
        let (mut knowledge, policies) = (Knowledge::default(), [policy("'*.web.test'")]);
        let first = knowledge.ask("a.web.test", &[ADDRESS], &policies);
        knowledge.answered(&first, "a.web.test", 1, &policies, true);
        let second = knowledge.ask("mail.test", &[ADDRESS], &policies);
        knowledge.answered(&second, "mail.test", 6, &policies, true);
        // The first lives for five seconds, the second for eight.
        assert_eq!(knowledge.leads("web", ADDRESS, at(4 * SECOND)), Verdict::Passes);
        assert_eq!(knowledge.leads("web", ADDRESS, at(7 * SECOND)), Verdict::Either);
        assert_eq!(knowledge.leads("web", ADDRESS, at(14 * SECOND)), Verdict::Denied);
    }

    #[test]
    fn a_service_that_loses_a_pattern_loses_what_a_killed_daemon_knew() {
        let (with, without) = (policy("'*.web.test', b.test"), policy("'*.web.test'"));
        let mut knowledge = Knowledge::default();
        let asked = knowledge.ask("a.web.test", &[ADDRESS], &[Arc::clone(&with)]);
        knowledge.answered(&asked, "a.web.test", 4, &[Arc::clone(&with)], true);
        knowledge.orphan();
        assert_eq!(knowledge.leads("web", ADDRESS, at(NOW)), Verdict::Passes);
        knowledge.begin(&without, Some(&with));
        assert_eq!(knowledge.leads("web", ADDRESS, at(SECOND)), Verdict::Either);
        // One that is answered from now on is known again.
        knowledge.settle(&without);
        let asked = knowledge.ask("a.web.test", &[ADDRESS], &[Arc::clone(&without)]);
        knowledge.answered(&asked, "a.web.test", 4, &[Arc::clone(&without)], true);
        knowledge.begin(&with, Some(&without));
        assert_eq!(knowledge.leads("web", ADDRESS, at(NOW)), Verdict::Passes);
    }

    #[test]
    fn what_a_killed_daemon_knew_lives_as_long_as_its_address() {
        let (mut knowledge, policies) = (Knowledge::default(), [policy("'*.web.test'")]);
        let first = knowledge.ask("a.web.test", &[ADDRESS], &policies);
        knowledge.answered(&first, "a.web.test", 1, &policies, true);
        knowledge.orphan();
        let second = knowledge.ask("mail.test", &[ADDRESS], &policies);
        knowledge.answered(&second, "mail.test", 6, &policies, true);
        assert_eq!(knowledge.leads("web", ADDRESS, at(12 * SECOND)), Verdict::Either);
        assert_eq!(knowledge.leads("web", ADDRESS, at(14 * SECOND)), Verdict::Denied);
    }
}
