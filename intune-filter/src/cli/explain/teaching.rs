//! Finds what the next answers for a name would teach, by the policy's own reading of them.

use std::net::IpAddr;

use intune_filter_ebpf::{
    abi::{AnswerEvent, RuleMask},
    host::{PolicyMaps, Trie},
};

use super::judge::Judge;
use crate::names::{answer::Reader, is_target};

/// Addresses in answers for a name.
#[derive(Clone, Debug, Default)]
pub(super) struct Taught {
    /// Addresses that are learned, with their rules and expiry.
    pub learned: Vec<(IpAddr, RuleMask, u64)>,
    /// Addresses that no answer may teach.
    pub refused: Vec<IpAddr>,
    /// Whether there are more addresses than are read.
    pub is_cut: bool,
}

impl Judge<'_> {
    /// Reads answers as the kernel and the daemon do together.
    pub(super) fn taught(&mut self, name: &str, messages: &[Vec<u8>]) -> Taught {
        let mut taught = Taught::default();
        let event = AnswerEvent { time: self.simulation.tables.now.get(), ..Default::default() };
        let rules = self.rules_of_name(name);
        let mut everything = Reader::over(PolicyMaps {
            answers4: Trie::default(),
            answers6: Trie::default(),
            ..self.simulation.policy().clone()
        });
        for message in messages {
            // The policy's reader first: the other one reads whatever the name is.
            let found = self.reader.read(&event, message, |_| (rules, u64::MAX));
            let learned = found.map(|answer| (answer.rules, answer.addresses)).unwrap_or_default();
            let all = everything.read(&event, message, |_| (RuleMask::ALL, u64::MAX));
            taught.is_cut |= everything.is_cut();
            let is_learned = |one: &IpAddr| learned.1.iter().any(|(address, _)| address == one);
            let all = all.map(|answer| answer.addresses).unwrap_or_default().into_iter();
            let hosts = all.map(|(address, _)| address).filter(|address| !is_target(*address));
            taught.refused.extend(hosts.filter(|address| !is_learned(address)));
            let of_rules = |(address, expires)| (address, learned.0, expires);
            let hosts = learned.1.iter().copied().filter(|(address, _)| !is_target(*address));
            taught.learned.extend(hosts.map(of_rules));
        }
        taught
    }
}
