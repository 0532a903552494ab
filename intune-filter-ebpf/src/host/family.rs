//! Implementation of the maps of one address family over the tables of the host.

use core::{cell::RefCell, hash::Hash};
use std::{collections::HashMap, vec::Vec};

use super::Tables;
use crate::{
    abi::{
        ANSWER_ACCEPTED, Address as _, COUNT_ALL, COUNT_ROOM, Flow, FlowKey, Host, RuleMask, V4,
        V6, count_of_client, count_of_rule, may_insert,
    },
    datapath::{ClientMaps, FlowMaps, HostMaps, Insertion, Member},
    memory::RuleCell,
    scratch::Scratch,
};

macro_rules! maps_of {
    ($address:ty, $clients:ident, $networks:ident, $answers:ident, $hosts:ident, $flows:ident,
     $new_flows:ident) => {
        impl ClientMaps<$address> for &Tables {
            fn client(
                self,
                scratch: &Scratch,
                set: u32,
                zone: u16,
                address: &$address,
            ) -> Option<Member> {
                let mut key: Vec<u8> = u32::from(zone).to_ne_bytes().into();
                key.extend(octets(&address.wide(), <$address>::BITS));
                let client = self.policy(set).$clients.get(&key)?;
                scratch.ctx.client_rules.set(&client.rules);
                let (group, mode) = (client.group, client.mode);
                Some(Member { group, mode, flags: client.flags, devices: client.devices })
            }

            fn networks(self, _: &Scratch, set: u32, address: &$address, rules: &RuleCell) {
                let key = octets(&address.wide(), <$address>::BITS);
                rules.set(&self.policy(set).$networks.get(&key).unwrap_or_default());
            }

            fn answer(self, _: &Scratch, set: u32, address: &$address) -> u32 {
                let key = octets(&address.wide(), <$address>::BITS);
                self.policy(set).$answers.get(&key).unwrap_or(ANSWER_ACCEPTED)
            }
        }

        impl HostMaps<$address> for &Tables {
            fn host(self, address: &$address, rules: &RuleCell) -> u64 {
                let host = self.$hosts.borrow().get(address).copied().unwrap_or_default();
                rules.set(&host.rules);
                host.expires
            }

            fn learn(
                self,
                address: &$address,
                rules: &RuleMask,
                expires: u64,
                now: u64,
                owner: u64,
            ) -> Insertion {
                let mut hosts = self.$hosts.borrow_mut();
                let room = self.hosts_capacity == 0 || hosts.len() < self.hosts_capacity;
                if !hosts.contains_key(address) {
                    let room_of_all = self.hosts_capacity as u64;
                    let owners = || hosts.values().map(|host| host.owner);
                    if room_of_all != 0 && !may_insert(owner, count(owners(), room_of_all)) {
                        return Insertion::OverShare;
                    }
                    if !room {
                        return Insertion::Full;
                    }
                }
                let host = hosts.entry(*address).or_default();
                if host.version & Host::CLAIMED != 0 {
                    return Insertion::Busy;
                }
                host.version += Host::REFRESH;
                let (lives, before) = (host.expires > now, *host);
                host.owner = if lives { before.owner } else { owner };
                host.rules = *rules | if lives { before.rules } else { RuleMask::EMPTY };
                host.expires = expires.max(if lives { before.expires } else { 0 });
                Insertion::Done
            }
        }

        impl FlowMaps<$address> for &Tables {
            fn flow<R>(
                self,
                key: &FlowKey<$address>,
                visit: impl FnOnce(&mut Flow) -> R,
            ) -> Option<R> {
                visit_entry(&self.$flows, key, visit)
            }

            fn new_flow<R>(
                self,
                key: &FlowKey<$address>,
                visit: impl FnOnce(&mut Flow) -> R,
            ) -> Option<R> {
                visit_entry(&self.$new_flows, key, visit)
            }

            fn open(self, key: &FlowKey<$address>, flow: &Flow, may_be_answered: bool) {
                let answered = self.$flows.borrow_mut().remove(key);
                assert!(may_be_answered || answered.is_none(), "{key:?} would be hidden");
                self.$new_flows.borrow_mut().insert(*key, *flow);
            }

            fn answered(self, key: &FlowKey<$address>, flow: &Flow) {
                self.$flows.borrow_mut().insert(*key, *flow);
                self.$new_flows.borrow_mut().remove(key);
            }

            fn close(self, key: &FlowKey<$address>) {
                self.$flows.borrow_mut().remove(key);
                self.$new_flows.borrow_mut().remove(key);
            }
        }
    };
}

maps_of!(V4, clients4, nets4, answers4, hosts4, flows4, new_flows4);
maps_of!(V6, clients6, nets6, answers6, hosts6, flows6, new_flows6);

/// Calls `visit` with an entry. The map is not borrowed meanwhile: `visit` may use it as well.
fn visit_entry<K: Copy + Eq + Hash, R>(
    map: &RefCell<HashMap<K, Flow>>,
    key: &K,
    visit: impl FnOnce(&mut Flow) -> R,
) -> Option<R> {
    let mut flow = *map.borrow().get(key)?;
    let result = visit(&mut flow);
    if let Some(entry) = map.borrow_mut().get_mut(key) {
        *entry = flow;
    }
    Some(result)
}

/// Returns the octets of an address, which are the last `bits` of its mapped form.
fn octets(address: &V6, bits: u32) -> Vec<u8> {
    let all: Vec<u8> = address.0.iter().flat_map(|word| word.to_ne_bytes()).collect();
    all[all.len() - bits as usize / 8..].into()
}

/// Returns the counts of a table with room for `room` addresses, which have these owners.
fn count(owners: impl Iterator<Item = u64>, room: u64) -> impl Fn(u32) -> u64 {
    let mut counts = HashMap::from([(COUNT_ROOM, room)]);
    for owner in owners {
        for element in [COUNT_ALL, count_of_rule(owner), count_of_client(owner)] {
            *counts.entry(element).or_default() += 1;
        }
    }
    move |element| counts.get(&element).copied().unwrap_or_default()
}
