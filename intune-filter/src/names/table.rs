//! Keeps a bounded table of names and the addresses that they led to, with the rules of each.
//!
//! A binding whose time is over lapses: it backs no learned address any more, but stays as long as a
//! flow to its address lives, so that a new policy can tell by which name the flow was opened.

mod targets;

use std::{
    collections::{BTreeMap, BTreeSet},
    net::{IpAddr, Ipv4Addr},
    sync::Arc,
};

use super::target::is_target;

/// Upper bound of bindings: a resolver that invents names for a wildcard must not fill the memory.
const CAPACITY: usize = 1 << 17;

/// Least address in the order of `IpAddr`.
const FIRST: IpAddr = IpAddr::V4(Ipv4Addr::UNSPECIFIED);

/// Number of distinct rule sets that are kept for later bindings, even without a binding now.
const SPARE_RULES: usize = 256;

/// Binding of a name to an address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Binding {
    /// Rules that the name belongs to, `SERVICE/RULE`, in order. Ids, since rule numbers change
    /// with the policy. Shared, since very many bindings have one of a few sets.
    pub rules: Arc<BTreeSet<String>>,
    /// Expiry of the last answer with this binding, in nanoseconds of CLOCK_BOOTTIME.
    pub expires: u64,
    /// Whether it stays for the sake of flows alone, or of a target's addresses.
    pub lapsed: bool,
    /// Name of the target whose key the address is.
    pub target: Option<Arc<str>>,
}

/// Table of bindings, keyed by pairs of name and address: nearly every name has one or two
/// addresses, and a map for each name would be mostly empty.
#[derive(Clone, Debug, Default)]
pub struct Names {
    bindings: BTreeMap<(Arc<str>, IpAddr), Binding>,
    by_address: BTreeSet<(IpAddr, Arc<str>)>,
    /// Names of targets, each with a name that leads to it, and its key.
    by_target: BTreeSet<(Arc<str>, Arc<str>, IpAddr)>,
    /// Number of bindings that have lapsed.
    lapsed: usize,
    /// Rule sets that bindings share.
    rules: BTreeSet<Arc<BTreeSet<String>>>,
}

impl PartialEq for Names {
    fn eq(&self, other: &Self) -> bool {
        self.bindings == other.bindings
    }
}

impl Eq for Names {}

impl Names {
    /// Records that `name` led to `address`. Case does not count; an existing binding is prolonged,
    /// never cut, and one that has lapsed lives again. Returns the addresses of unexpired bindings that were evicted to make room.
    pub fn learn(
        &mut self,
        name: &str,
        address: IpAddr,
        rules: impl IntoIterator<Item = String>,
        expires: u64,
    ) -> Vec<IpAddr> {
        let key = (Arc::<str>::from(name.to_ascii_lowercase()), address);
        let mut rules: BTreeSet<String> = rules.into_iter().collect();
        if let Some(binding) = self.bindings.get_mut(&key) {
            binding.expires = binding.expires.max(expires);
            self.lapsed -= usize::from(std::mem::take(&mut binding.lapsed));
            if !rules.is_subset(&binding.rules) {
                rules.extend(binding.rules.iter().cloned());
                let rules = share(&mut self.rules, rules);
                binding.rules = rules;
            }
            return Vec::new();
        }
        let rules = share(&mut self.rules, rules);
        self.by_address.insert((address, Arc::clone(&key.0)));
        self.bindings.insert(key, Binding { rules, expires, lapsed: false, target: None });
        if self.bindings.len() > CAPACITY { self.forget_oldest() } else { Vec::new() }
    }

    /// Has expired bindings lapse, and returns their addresses.
    pub fn expire(&mut self, now: u64) -> Vec<IpAddr> {
        let mut gone = Vec::new();
        for ((_, address), binding) in &mut self.bindings {
            if binding.expires <= now && !binding.lapsed {
                binding.lapsed = true;
                gone.push(*address);
            }
        }
        self.lapsed += gone.len();
        gone
    }

    /// Forgets lapsed bindings that expired before `before`, unless `keep` accepts their address; those
    /// to targets that expired before `before_targets`, unless it accepts one of the addresses that owe
    /// something to them. Returns addresses that may have lost rules: those of targets.
    pub fn forget_lapsed(
        &mut self,
        before: u64,
        before_targets: u64,
        keep: impl Fn(IpAddr) -> bool,
    ) -> Vec<IpAddr> {
        let is_over = |address: IpAddr, binding: &Binding| match binding.target {
            None => binding.expires < before && !keep(address),
            Some(_) => {
                let over = binding.expires < before_targets;
                over && !self.addresses_by(address).into_iter().any(&keep)
            }
        };
        let gone: Vec<(String, IpAddr)> = self
            .iter()
            .filter(|(_, address, binding)| binding.lapsed && is_over(*address, binding))
            .map(|(name, address, _)| (name.to_owned(), address))
            .collect();
        let targets = gone.iter().map(|(_, address)| *address).filter(|one| is_target(*one));
        let owed = targets.flat_map(|key| self.addresses_by(key)).collect();
        for (name, address) in &gone {
            self.forget(name, *address);
        }
        owed
    }

    /// Has bindings lapse all of whose rules have lost the name, with the rules that have the name
    /// now, `rules_of`: a flow may go on by one of these.
    pub fn hand_over(&mut self, rules_of: impl Fn(&str) -> BTreeSet<String>) {
        for ((name, _), binding) in &mut self.bindings {
            let rules = rules_of(name);
            if !rules.is_empty() && rules.is_disjoint(&binding.rules) {
                binding.rules = share(&mut self.rules, rules);
                self.lapsed += usize::from(!std::mem::replace(&mut binding.lapsed, true));
            }
        }
    }

    /// Keeps, of each binding, the rules that `keep` accepts for its name; forgets bindings without
    /// any.
    pub fn retain_rules(&mut self, keep: impl Fn(&str, &str) -> bool) {
        let mut gone = Vec::new();
        for ((name, address), binding) in &mut self.bindings {
            if binding.rules.iter().all(|rule| keep(name, rule)) && !binding.rules.is_empty() {
                continue;
            }
            let kept = binding.rules.iter().filter(|rule| keep(name, rule)).cloned();
            binding.rules = share(&mut self.rules, kept.collect());
            if binding.rules.is_empty() {
                gone.push((name.to_string(), *address));
            }
        }
        for (name, address) in gone {
            self.forget(&name, address);
        }
    }

    /// Returns every binding, ordered by name and address.
    pub fn iter(&self) -> impl Iterator<Item = (&str, IpAddr, &Binding)> {
        self.bindings.iter().map(|((name, address), binding)| (&**name, *address, binding))
    }

    /// Returns the names that led to an address.
    pub fn of_address(&self, address: IpAddr) -> impl Iterator<Item = (&str, &Binding)> {
        self.names_of(address).filter_map(move |name| {
            let ((name, _), binding) = self.bindings.get_key_value(&(Arc::clone(name), address))?;
            Some((&**name, binding))
        })
    }

    /// Returns the addresses that a name led to.
    pub fn of_name(&self, name: &str) -> impl Iterator<Item = (IpAddr, &Binding)> {
        let name = Arc::<str>::from(name.to_ascii_lowercase());
        let all = self.bindings.range((Arc::clone(&name), FIRST)..);
        all.take_while(move |((other, _), _)| *other == name)
            .map(|((_, address), binding)| (*address, binding))
    }

    /// Returns the addresses that have a name, each once.
    pub fn addresses(&self) -> impl Iterator<Item = IpAddr> {
        let mut last = None;
        let all = self.by_address.iter().map(|(address, _)| *address);
        all.filter(move |address| last.replace(*address) != Some(*address))
    }

    fn names_of(&self, address: IpAddr) -> impl Iterator<Item = &Arc<str>> {
        let all = self.by_address.range((address, Arc::from(""))..);
        all.take_while(move |(other, _)| *other == address).map(|(_, name)| name)
    }

    /// Forgets all bindings to an address.
    pub fn forget_address(&mut self, address: IpAddr) {
        for name in self.names_of(address).cloned().collect::<Vec<_>>() {
            self.forget(&name, address);
        }
    }

    /// Returns the number of bindings that have not lapsed.
    #[must_use]
    pub fn len(&self) -> usize {
        self.bindings.len() - self.lapsed
    }

    /// Whether every binding has lapsed.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Forgets a binding.
    pub fn forget(&mut self, name: &str, address: IpAddr) {
        let name = Arc::<str>::from(name);
        self.by_address.remove(&(address, Arc::clone(&name)));
        let binding = self.bindings.remove(&(Arc::clone(&name), address));
        if let Some(target) = binding.as_ref().and_then(|binding| binding.target.clone()) {
            self.by_target.remove(&(target, name, address));
        }
        self.lapsed -= usize::from(binding.is_some_and(|binding| binding.lapsed));
    }

    /// Evicts the eighth of the table that expires first, so that a flood of names does not sort
    /// the table for each. Returns the addresses that the evicted gave something to, but those of lapsed
    /// bindings.
    fn forget_oldest(&mut self) -> Vec<IpAddr> {
        let mut bindings: Vec<(u64, String, IpAddr, bool)> = self
            .iter()
            .map(|(name, address, binding)| {
                (binding.expires, name.to_owned(), address, binding.lapsed)
            })
            .collect();
        bindings.sort_unstable();
        bindings.truncate(CAPACITY / 8);
        let (mut shed, mut targets) = (Vec::new(), Vec::new());
        for (_, _, address, lapsed) in &bindings {
            if is_target(*address) {
                targets.push(*address);
            } else if !lapsed {
                shed.push(*address);
            }
        }
        shed.extend(targets.into_iter().flat_map(|key| self.addresses_by(key)));
        for (_, name, address, _) in &bindings {
            self.forget(name, *address);
        }
        shed
    }
}

/// Returns the shared copy of a rule set.
fn share(
    all: &mut BTreeSet<Arc<BTreeSet<String>>>,
    rules: BTreeSet<String>,
) -> Arc<BTreeSet<String>> {
    if let Some(same) = all.get(&rules) {
        return Arc::clone(same);
    }
    if all.len() >= SPARE_RULES {
        all.retain(|rules| Arc::strong_count(rules) > 1);
    }
    let rules = Arc::new(rules);
    all.insert(Arc::clone(&rules));
    rules
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(last: u8) -> IpAddr {
        IpAddr::from([192, 0, 2, last])
    }

    fn rules(names: &[&str]) -> Vec<String> {
        names.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn claims_with_the_same_rules_share_them() {
        let mut names = Names::default();
        for host in 0..=255 {
            names.learn(&format!("{host}.example"), address(host), rules(&["s/a"]), 100);
        }
        names.learn("0.example", address(0), rules(&["s/b"]), 100);
        let all = names.iter().map(|(_, _, binding)| Arc::as_ptr(&binding.rules));
        assert_eq!(all.collect::<BTreeSet<_>>().len(), 2);
        let (_, binding) = names.of_name("1.example").next().unwrap();
        assert!(binding.rules.iter().eq(&rules(&["s/a"])), "those of others have not changed");
    }

    #[test]
    fn sets_of_rules_that_no_claim_has_do_not_pile_up() {
        let mut names = Names::default();
        for number in 0..10 * SPARE_RULES {
            names.learn("a.example", address(1), rules(&[&format!("s/{number}")]), 1);
            names.expire(1);
            names.forget_lapsed(2, 2, |_| false);
        }
        assert!(names.rules.len() <= SPARE_RULES, "{}", names.rules.len());
    }

    #[test]
    fn a_claim_is_prolonged_and_never_cut() {
        let mut names = Names::default();
        names.learn("A.Example", address(1), rules(&["s/a"]), 100);
        names.learn("a.example", address(1), rules(&["s/b"]), 50);
        assert_eq!(names.len(), 1);
        let (_, binding) = names.of_name("a.EXAMPLE").next().unwrap();
        assert_eq!(binding.expires, 100);
        assert!(binding.rules.iter().eq(&rules(&["s/a", "s/b"])));
        names.expire(99);
        assert_eq!(names.len(), 1);
        names.expire(100);
        assert!(names.is_empty());
    }

    #[test]
    fn what_has_lapsed_stays_while_a_flow_needs_it_and_lives_again_by_an_answer() {
        let mut names = Names::default();
        names.learn("a.example", address(1), rules(&["s/a"]), 100);
        names.learn("b.example", address(2), rules(&["s/a"]), 100);
        assert_eq!(names.expire(100), [address(1), address(2)]);
        assert_eq!((names.expire(100), names.len()), (vec![], 0));
        names.forget_lapsed(100, 100, |_| false);
        assert_eq!(names.iter().count(), 2, "a flow may have been opened just now");
        names.forget_lapsed(101, 101, |one| one == address(1));
        assert_eq!(names.iter().map(|(name, ..)| name).collect::<Vec<_>>(), ["a.example"]);
        names.learn("a.example", address(1), rules(&["s/b"]), 200);
        assert_eq!((names.len(), names.expire(150)), (1, vec![]));
        names.forget_lapsed(u64::MAX, u64::MAX, |_| false);
        assert_eq!(names.len(), 1);
        names.expire(200);
        names.forget_lapsed(201, 201, |_| false);
        assert_eq!(names, Names::default());
    }

    #[test]
    fn a_name_that_another_rule_has_now_is_kept_for_flows_alone() {
        let mut names = Names::default();
        names.learn("a.example", address(1), rules(&["s/a"]), 100);
        names.learn("b.example", address(1), rules(&["s/a"]), 100);
        names.hand_over(|name| match name {
            "a.example" => rules(&["s/b"]).into_iter().collect(),
            _ => rules(&["s/a", "s/b"]).into_iter().collect(),
        });
        let left: Vec<_> = names.of_address(address(1)).map(|(_, one)| one.lapsed).collect();
        assert_eq!((left, names.len()), (vec![true, false], 1));
    }

    #[test]
    fn an_address_keeps_the_names_that_remain() {
        let mut names = Names::default();
        names.learn("a.example", address(1), rules(&["s/a"]), 100);
        names.learn("b.example", address(1), rules(&["s/b"]), 200);
        names.learn("b.example", address(2), rules(&["s/b"]), 200);
        names.expire(150);
        names.forget_lapsed(150, 150, |_| false);
        let left: Vec<_> = names.of_address(address(1)).map(|(name, _)| name).collect();
        assert_eq!(left, ["b.example"]);
        names.retain_rules(|_, rule| rule != "s/b");
        assert!(names.is_empty());
        assert_eq!(names.of_address(address(2)).count(), 0);
    }

    #[test]
    fn the_table_stays_bounded_and_forgets_what_expires_first() {
        let mut names = Names::default();
        let many = u32::try_from(CAPACITY).unwrap() + 1;
        for number in 0..many {
            let address = IpAddr::from(number.to_be_bytes());
            names.learn(&format!("{number}.example"), address, rules(&["s/a"]), number.into());
        }
        assert_eq!(names.len(), CAPACITY + 1 - CAPACITY / 8);
        assert_eq!(names.of_name("0.example").count(), 0);
        assert_eq!(names.of_name(&format!("{}.example", many - 1)).count(), 1);
        assert_eq!(names.iter().count(), names.len());
    }
}
