//! Targets: names that have the rules of others, whose service records lead to them.
//!
//! A binding to a target is one to the target's key, which the kernel has among its addresses. It counts
//! for the target's rules even when it has lapsed: until the addresses that the target had by then are
//! forgotten.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
    sync::Arc,
};

use intune_filter_ebpf::abi::RuleMask;

use super::{Binding, Names};

impl Names {
    /// Records that a name's service record led to a target with this key: see [`Names::learn`].
    pub fn learn_target(
        &mut self,
        name: &str,
        (target, key): (&str, IpAddr),
        rules: impl IntoIterator<Item = String>,
        expires: u64,
    ) -> Vec<IpAddr> {
        let shed = self.learn(name, key, rules, expires);
        let (name, target) = (name.to_ascii_lowercase(), target.to_ascii_lowercase());
        let (name, target) = (Arc::<str>::from(name), Arc::<str>::from(target));
        if let Some(binding) = self.bindings.get_mut(&(Arc::clone(&name), key)) {
            binding.target = Some(Arc::clone(&target));
            self.by_target.insert((target, name, key));
        }
        shed
    }

    /// Returns the bindings that lead to a name as their target, each with its name.
    pub fn of_target(&self, target: &str) -> impl Iterator<Item = (&str, &Binding)> {
        let target = Arc::<str>::from(target.to_ascii_lowercase());
        let first = (Arc::clone(&target), Arc::from(""), super::FIRST);
        let all = self.by_target.range(first..).take_while(move |(other, ..)| *other == target);
        all.filter_map(|(_, name, key)| {
            let ((name, _), binding) = self.bindings.get_key_value(&(Arc::clone(name), *key))?;
            Some((&**name, binding))
        })
    }

    /// Returns the rules of a name: those that `of` gives it, and as a target, those of the names that
    /// led to it.
    pub fn rules_of(&self, name: &str, of: impl Fn(&str) -> RuleMask) -> RuleMask {
        let mut rules = of(name);
        if self.by_target.is_empty() {
            return rules;
        }
        // Targets may lead to each other in a circle.
        let (mut seen, mut left) = (BTreeSet::from([name]), vec![name]);
        while let Some(name) = left.pop() {
            for (parent, _) in self.of_target(name) {
                if seen.insert(parent) {
                    rules |= of(parent);
                    left.push(parent);
                }
            }
        }
        rules
    }

    /// Returns the rules of every target, as [`Names::rules_of`] does.
    pub fn rules_of_targets(&self, of: impl Fn(&str) -> RuleMask) -> BTreeMap<String, RuleMask> {
        let targets: BTreeSet<&str> = self.by_target.iter().map(|(target, ..)| &**target).collect();
        let rules = |target: &str| (target.to_owned(), self.rules_of(target, &of));
        targets.into_iter().map(rules).collect()
    }

    /// Returns the addresses that owe something to a binding: its own and, of one to a target, those
    /// of the target.
    #[must_use]
    pub fn addresses_by(&self, address: IpAddr) -> Vec<IpAddr> {
        let mut found = BTreeSet::from([address]);
        let mut left = vec![address];
        while let Some(address) = left.pop() {
            // Bindings to one key all have the same name.
            let mut bindings = self.of_address(address);
            let target = bindings.find_map(|(_, binding)| binding.target.as_ref());
            for (address, _) in target.into_iter().flat_map(|target| self.of_name(target)) {
                if found.insert(address) {
                    left.push(address);
                }
            }
        }
        found.into_iter().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::names::{is_target, key_of_target};

    const SEED: u64 = 7;

    fn key(name: &str) -> IpAddr {
        key_of_target(name, SEED).unwrap()
    }

    fn address(last: u8) -> IpAddr {
        IpAddr::from([192, 0, 2, last])
    }

    fn rules() -> [String; 1] {
        ["s/a".to_owned()]
    }

    /// A name of a rule, a target of it, and one of that, which leads back.
    fn names() -> Names {
        let mut names = Names::default();
        names.learn_target("a.one", ("T.none", key("t.none")), rules(), 100);
        names.learn_target("t.none", ("u.none", key("u.none")), rules(), 100);
        names.learn_target("u.none", ("t.none", key("t.none")), rules(), 100);
        names.learn("t.none", address(1), rules(), 300);
        names.learn("u.none", address(2), rules(), 400);
        names
    }

    fn of(name: &str) -> RuleMask {
        if name == "a.one" { RuleMask::of(3) } else { RuleMask::EMPTY }
    }

    #[test]
    fn targets_have_the_rules_of_the_names_that_led_to_them() {
        let mut names = names();
        for name in ["a.one", "t.none", "U.none"] {
            assert_eq!(names.rules_of(&name.to_lowercase(), of), RuleMask::of(3), "{name}");
        }
        assert_eq!(names.rules_of("b.one", of), RuleMask::EMPTY);
        assert_eq!(names.rules_of_targets(of).len(), 2);
        // A circle alone gives nothing.
        names.forget("a.one", key("t.none"));
        assert_eq!(names.rules_of("t.none", of), RuleMask::EMPTY);
        assert_eq!(names.rules_of("u.none", of), RuleMask::EMPTY);
    }

    #[test]
    fn what_is_taken_from_a_name_is_taken_from_all_behind_its_target() {
        let all: BTreeSet<_> = names().addresses_by(key("t.none")).into_iter().collect();
        let expected = [address(1), address(2), key("t.none"), key("u.none")];
        assert_eq!(all, BTreeSet::from(expected));
        assert_eq!(names().addresses_by(address(1)), [address(1)]);
    }

    #[test]
    fn a_lapsed_target_stays_as_long_as_its_addresses_may_and_flows_to_them_live() {
        let mut names = names();
        names.expire(500);
        let live = |one: IpAddr| one == address(2);
        names.forget_lapsed(500, 100, live);
        assert_eq!(names.rules_of("u.none", of), RuleMask::of(3));
        names.forget_lapsed(500, 500, live);
        assert_eq!(names.rules_of("u.none", of), RuleMask::of(3), "a flow needs it");
        assert_eq!(names.of_name("t.none").filter(|(one, _)| !is_target(*one)).count(), 0);
        assert!(names.forget_lapsed(500, 100, |_| false).is_empty());
        names.forget_lapsed(500, 500, |_| false);
        assert_eq!(names, Names::default());
        assert!(names.by_target.is_empty() && names.by_address.is_empty());
    }
}
