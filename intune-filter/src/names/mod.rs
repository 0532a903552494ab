//! Which name led to which learned address: exact, by name, kept beside the kernel's table, which
//! knows addresses alone.
//!
//! The kernel decides; this table explains, and says what can be taken away again: see
//! [`accounts`]. Losing it takes nothing from anybody.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
};

pub mod accounts;
pub mod answer;
mod file;

pub use file::{Clocks, FILE_NAME, Lives, from_json, load, save, set_aside, to_json, to_text};

/// Names at most. A resolver that invents names for a wildcard must not fill the memory.
const CAPACITY: usize = 1 << 17;

/// A name's claim to an address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Claim {
    /// The rules that the name belongs to, `SERVICE/RULE`, in order. Not their numbers: those
    /// change when policies do.
    pub rules: BTreeSet<String>,
    /// When the last answer that gave it is forgotten, in nanoseconds of CLOCK_BOOTTIME.
    pub expires: u64,
}

/// The table.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Names {
    by_name: BTreeMap<String, BTreeMap<IpAddr, Claim>>,
    by_address: BTreeMap<IpAddr, BTreeSet<String>>,
    claims: usize,
}

impl Names {
    /// Records that `name` led to `address`. Names are compared without regard to case; a claim
    /// that is there already is prolonged, never cut. Returns the addresses whose claims had to make
    /// room although they have not expired.
    pub fn learn(
        &mut self,
        name: &str,
        address: IpAddr,
        rules: impl IntoIterator<Item = String>,
        expires: u64,
    ) -> Vec<IpAddr> {
        let name = name.to_ascii_lowercase();
        let addresses = self.by_name.entry(name.clone()).or_default();
        if let Some(claim) = addresses.get_mut(&address) {
            claim.rules.extend(rules);
            claim.expires = claim.expires.max(expires);
            return Vec::new();
        }
        addresses.insert(address, Claim { rules: rules.into_iter().collect(), expires });
        self.by_address.entry(address).or_default().insert(name);
        self.claims += 1;
        if self.claims > CAPACITY { self.forget_oldest() } else { Vec::new() }
    }

    /// Forgets what has expired. Returns the addresses that it was claims to.
    pub fn expire(&mut self, now: u64) -> Vec<IpAddr> {
        let gone: Vec<(String, IpAddr)> = self
            .iter()
            .filter(|(_, _, claim)| claim.expires <= now)
            .map(|(name, address, _)| (name.to_owned(), address))
            .collect();
        for (name, address) in &gone {
            self.forget(name, *address);
        }
        gone.into_iter().map(|(_, address)| address).collect()
    }

    /// Keeps, of each claim, the rules that `keep` lets the name have; forgets claims without any.
    pub fn retain_rules(&mut self, keep: impl Fn(&str, &str) -> bool) {
        let mut gone = Vec::new();
        for (name, addresses) in &mut self.by_name {
            for (address, claim) in addresses {
                claim.rules.retain(|rule| keep(name, rule));
                if claim.rules.is_empty() {
                    gone.push((name.clone(), *address));
                }
            }
        }
        for (name, address) in gone {
            self.forget(&name, address);
        }
    }

    /// Every claim, by name and address.
    pub fn iter(&self) -> impl Iterator<Item = (&str, IpAddr, &Claim)> {
        self.by_name.iter().flat_map(|(name, addresses)| {
            addresses.iter().map(move |(address, claim)| (name.as_str(), *address, claim))
        })
    }

    /// The names that led to an address.
    pub fn of_address(&self, address: IpAddr) -> impl Iterator<Item = (&str, &Claim)> {
        self.by_address.get(&address).into_iter().flatten().filter_map(move |name| {
            let (name, addresses) = self.by_name.get_key_value(name)?;
            Some((name.as_str(), addresses.get(&address)?))
        })
    }

    /// The addresses that a name led to.
    pub fn of_name(&self, name: &str) -> impl Iterator<Item = (IpAddr, &Claim)> {
        self.by_name
            .get(&name.to_ascii_lowercase())
            .into_iter()
            .flatten()
            .map(|(address, claim)| (*address, claim))
    }

    /// The addresses that names led to.
    pub fn addresses(&self) -> impl Iterator<Item = IpAddr> {
        self.by_address.keys().copied()
    }

    /// Forgets all claims to an address.
    pub fn forget_address(&mut self, address: IpAddr) {
        for name in self.by_address.get(&address).cloned().unwrap_or_default() {
            self.forget(&name, address);
        }
    }

    /// How many claims there are.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.claims
    }

    /// Whether there is none.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.claims == 0
    }

    fn forget(&mut self, name: &str, address: IpAddr) {
        if let Some(addresses) = self.by_name.get_mut(name)
            && addresses.remove(&address).is_some()
        {
            self.claims -= 1;
            if addresses.is_empty() {
                self.by_name.remove(name);
            }
        }
        if let Some(names) = self.by_address.get_mut(&address) {
            names.remove(name);
            if names.is_empty() {
                self.by_address.remove(&address);
            }
        }
    }

    /// Makes room: an eighth of the table at once, so that a flood does not sort it again and
    /// again. Returns the addresses.
    fn forget_oldest(&mut self) -> Vec<IpAddr> {
        let mut claims: Vec<(u64, String, IpAddr)> = self
            .iter()
            .map(|(name, address, claim)| (claim.expires, name.to_owned(), address))
            .collect();
        claims.sort_unstable();
        claims.truncate(CAPACITY / 8);
        for (_, name, address) in &claims {
            self.forget(name, *address);
        }
        claims.into_iter().map(|(_, _, address)| address).collect()
    }
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
    fn a_claim_is_prolonged_and_never_cut() {
        let mut names = Names::default();
        names.learn("A.Example", address(1), rules(&["s/a"]), 100);
        names.learn("a.example", address(1), rules(&["s/b"]), 50);
        assert_eq!(names.len(), 1);
        let (_, claim) = names.of_name("a.EXAMPLE").next().unwrap();
        assert_eq!(claim.expires, 100);
        assert_eq!(claim.rules, rules(&["s/a", "s/b"]).into_iter().collect());
        names.expire(99);
        assert_eq!(names.len(), 1);
        names.expire(100);
        assert_eq!(names, Names::default());
    }

    #[test]
    fn an_address_keeps_the_names_that_remain() {
        let mut names = Names::default();
        names.learn("a.example", address(1), rules(&["s/a"]), 100);
        names.learn("b.example", address(1), rules(&["s/b"]), 200);
        names.learn("b.example", address(2), rules(&["s/b"]), 200);
        names.expire(150);
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
