//! Remembers the names that answers in a capture gave to addresses, and learns as the daemon does.

use std::{collections::HashMap, net::IpAddr};

use intune_filter_ebpf::{
    abi::{AnswerEvent, RuleMask},
    host::{PolicyMaps, Trie},
};

use super::bounds::ADDRESSES;
use crate::{
    names::{
        answer::{Reader, question_name},
        is_target,
    },
    simulation::Simulation,
};

/// Names by address: those that were known before, and those of the capture.
pub(super) struct NamesOfCapture {
    names: HashMap<IpAddr, String>,
    taught: Reader,
    everything: Reader,
}

impl NamesOfCapture {
    /// Returns the names that are known before the capture.
    pub(super) fn new(
        simulation: &Simulation,
        known: impl Iterator<Item = (IpAddr, String)>,
    ) -> Self {
        let mut taught = Reader::over(simulation.policy().clone());
        taught.set_seed(simulation.tables.active.get().seed);
        let own = simulation.tables.own_addresses.iter().map(|address| IpAddr::from(*address));
        taught.set_own_addresses(&own.collect());
        let everything = Reader::over(PolicyMaps {
            answers4: Trie::default(),
            answers6: Trie::default(),
            ..simulation.policy().clone()
        });
        Self { names: known.take(ADDRESSES).collect(), taught, everything }
    }

    /// Returns the name that led to an address last.
    pub(super) fn of(&self, simulation: &Simulation, address: IpAddr) -> Option<&str> {
        let addresses = simulation.nat64.learned_as(address);
        addresses.into_iter().find_map(|one| self.names.get(&one)).map(String::as_str)
    }

    /// Returns the name that a message asks for.
    pub(super) fn asked(message: &[u8]) -> Option<String> {
        question_name(message).filter(|name| !name.is_empty() && name.len() < 256)
    }

    /// Remembers the addresses of an answer, whether the filter learns from it or not.
    pub(super) fn note(&mut self, time: u64, message: &[u8]) {
        let event = AnswerEvent { time, ..AnswerEvent::default() };
        let found = self.everything.read(&event, message, |_| (RuleMask::ALL, u64::MAX));
        let Some(answer) = found else { return };
        for (address, _) in answer.addresses.iter().filter(|(address, _)| !is_target(*address)) {
            if self.names.len() >= ADDRESSES {
                self.names.clear();
            }
            self.names.insert(*address, answer.name.clone());
        }
    }

    /// Learns the addresses of an answer that the kernel leaves to the daemon.
    pub(super) fn learn(&mut self, simulation: &Simulation, event: &AnswerEvent, message: &[u8]) {
        let inherited = |key| {
            let target = simulation.learned(key).filter(|target| target.expires > event.time);
            target.map_or((RuleMask::EMPTY, 0), |target| (target.rules, target.expires))
        };
        let Some(answer) = self.taught.read(event, message, inherited) else { return };
        for (address, expires) in answer.addresses {
            let before = simulation.learned(address);
            if before.is_none_or(|host| host.expires <= event.time) {
                simulation.learn(address, answer.rules, expires);
            }
        }
    }
}
