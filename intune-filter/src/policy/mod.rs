//! The policy compiler: configuration and catalogue in, contents of the kernel maps out.
//!
//! Pure: what it makes is values of the ABI, and who loads them is elsewhere.

use std::collections::{BTreeMap, HashMap};

use intune_filter_ebpf::abi::{
    Client, ClientKey, EdgeKey, GROUPS, Glob, INFO_CAPACITY, Info, NameNode, RULES, RuleMask,
    Settings, V4, V6,
};

mod answers;
mod compile;
mod difference;
mod digest;
mod groups;
mod host;
mod lookup;
mod memory;
mod names;
mod networks;
pub mod over_https;
mod port_classes;
mod port_sets;
pub mod services;
mod summary;
#[cfg(test)]
mod tests;

pub use compile::{Loaded, compile, load, load_text, load_text_with};
pub use difference::{Difference, Grant, Leaf, Setting, difference, leaves};
pub use digest::{digest, hexadecimal};
pub use memory::{MapMemory, map_memory, map_sizes};
pub use networks::Prefix;
pub use services::{Origin, Rule, Service, Services};
pub use summary::{
    Counts, GroupSummary, MapSummary, Memory, RuleSummary, ServiceSummary, Summary, ZoneSummary,
    summarize,
};

use crate::{
    catalogue::RuleId,
    config::{GroupMode, Zone},
    yaml::FileError,
};

/// Which bit each rule has.
pub type RuleBits = BTreeMap<RuleId, u8>;

/// An element of `CLIENTS4` or `CLIENTS6`. Its length counts the zone's 32 bits.
pub type ClientPrefix<A> = Prefix<ClientKey<A>, Client>;

/// A compiled policy: what goes into the maps, and what it means.
#[derive(Clone, Debug)]
pub struct Policy {
    /// The zones that `ZONES` has to lead to; the interfaces' indices are not known here.
    pub zones: Vec<Zone>,
    /// The rules in force by bit: those that some group uses.
    pub rules: BTreeMap<u8, Rule>,
    /// The client groups by number.
    pub groups: Vec<Group>,
    /// Every service that a group could name, in force or not.
    pub services: Vec<Service>,
    /// `CLIENTS4`.
    pub clients4: Vec<ClientPrefix<V4>>,
    /// `CLIENTS6`.
    pub clients6: Vec<ClientPrefix<V6>>,
    /// `NETS4`.
    pub nets4: Vec<Prefix<V4, RuleMask>>,
    /// `NETS6`.
    pub nets6: Vec<Prefix<V6, RuleMask>>,
    /// `ANSWERS4`.
    pub answers4: Vec<Prefix<V4, u32>>,
    /// `ANSWERS6`.
    pub answers6: Vec<Prefix<V6, u32>>,
    /// The class of each of [`intune_filter_ebpf::abi::PORTS`]: `PORTS` has eight to an element.
    pub ports: Box<[u8]>,
    /// `PORT_CLASSES`: the rules of each class.
    pub port_classes: Vec<RuleMask>,
    /// `EDGES`.
    pub edges: HashMap<EdgeKey, NameNode>,
    /// `GLOBS`; the index is the key.
    pub globs: Vec<Glob>,
    /// `SERVERS`.
    pub servers: HashMap<V6, u32>,
    /// The ports in `GATEWAY_PORTS`, as [`intune_filter_ebpf::abi::port_index`] has them.
    pub gateway_ports: Vec<u32>,
    /// The element of `SETTINGS`.
    pub settings: Settings,
    /// Bits of earlier rules that are no longer in force. Who loads the policy clears them from
    /// learned addresses and flows, and only then forgets that the rule had the bit.
    pub freed: RuleMask,
    /// Those of them that another rule has in this policy, since no other bit was left. They have
    /// to be cleared before it is in force.
    pub reused: RuleMask,
    /// What is worth knowing although it is no fault.
    pub warnings: Vec<FileError>,
}

/// A client group in force.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Group {
    /// Its name.
    pub name: String,
    /// Its rules.
    pub rules: RuleMask,
    /// What becomes of its denied packets.
    pub mode: GroupMode,
}

impl Policy {
    /// Which bit each rule has: what the next compilation takes as the previous bits.
    #[must_use]
    pub fn rule_bits(&self) -> RuleBits {
        self.rules.iter().map(|(bit, rule)| (rule.id.clone(), *bit)).collect()
    }

    /// The elements of `RULE_INFO`; those of no rule are empty.
    #[must_use]
    pub fn rule_info(&self) -> Vec<Info> {
        let text = |bit| self.rules.get(&bit).map_or_else(String::new, |rule| rule.id.to_string());
        (0..RULES as u8).map(|bit| info(&text(bit))).collect()
    }

    /// The elements of `GROUP_INFO`; those of no group are empty.
    #[must_use]
    pub fn group_info(&self) -> Vec<Info> {
        let names = self.groups.iter().map(|group| group.name.as_str());
        names.chain(std::iter::repeat("")).take(GROUPS).map(info).collect()
    }
}

/// A name as `RULE_INFO` and `GROUP_INFO` hold it; the configuration's check bounds its length.
#[must_use]
pub fn info(name: &str) -> Info {
    let mut text = [0; INFO_CAPACITY];
    let length = name.floor_char_boundary(INFO_CAPACITY);
    text.iter_mut().zip(name.bytes().take(length)).for_each(|(to, from)| *to = from);
    Info { text }
}

/// The name that an element of `RULE_INFO` or `GROUP_INFO` holds; empty if it holds none.
#[must_use]
pub fn name_of(info: &Info) -> String {
    let name = info.text.split(|octet| *octet == 0).next().unwrap_or_default();
    String::from_utf8_lossy(name).into_owned()
}
