//! Compiles configuration and catalogue into the contents of the kernel maps.
//!
//! No I/O: the compiler returns values of the ABI, which the kernel module loads.

use std::collections::{BTreeMap, HashMap};

use intune_filter_ebpf::abi::{
    Client, ClientKey, EdgeKey, GROUPS, Glob, MacKey, NameNode, RULES, RuleMask, Settings,
    TITLE_CAPACITY, Title, V4, V6,
};

mod answers;
mod clients;
mod compile;
mod difference;
mod digest;
mod edition_difference;
mod groups;
mod host;
mod limits;
mod lookup;
mod memory;
mod names;
mod narrowing;
mod nat64;
mod networks;
pub mod octets_of_key;
pub mod over_https;
pub mod overrides;
mod port_classes;
mod port_sets;
mod selector;
mod service;
mod services;
mod summary;
#[cfg(test)]
mod tests;

pub(crate) use compile::unknown_edition;
pub use compile::{Loaded, compile, load, load_text, load_text_with};
pub use difference::{Difference, Grant, Leaf, Setting, difference, leaves};
pub use digest::{digest, hexadecimal};
pub use edition_difference::{Changed, EditionDifference, edition_difference};
pub use memory::{MapMemory, map_memory, map_sizes};
pub use narrowing::{Breadth, Narrowed, Taken, taken};
pub use nat64::Nat64;
pub use networks::Prefix;
pub use service::{Origin, Rule, Service};
pub use services::Services;
pub use summary::{
    Counts, Defaults, GroupSummary, MapSummary, Memory, RuleSummary, ServiceSummary, Summary,
    ZoneSummary, summarize,
};

use crate::{
    catalogue::RuleId,
    config::{GroupMode, Zone},
    yaml::FileError,
};

/// Bit of each rule, by the rule's id.
pub type RuleBits = BTreeMap<RuleId, u8>;

/// Element of `CLIENTS4` or `CLIENTS6`. Its length includes the zone's 32 bits.
pub type ClientPrefix<A> = Prefix<ClientKey<A>, Client>;

/// Compiled policy: contents of the maps, with the names of their numbers.
#[derive(Clone, Debug)]
pub struct Policy {
    /// Zones for `ZONES`, without the interfaces' indices, which the compiler does not know.
    pub zones: Vec<Zone>,
    /// Rules in force, which some group uses, by bit.
    pub rules: BTreeMap<u8, Rule>,
    /// Client groups by number.
    pub groups: Vec<Group>,
    /// Every service that a group can name, in force or not.
    pub services: Vec<Service>,
    /// Elements of `CLIENTS4`.
    pub clients4: Vec<ClientPrefix<V4>>,
    /// Elements of `CLIENTS6`.
    pub clients6: Vec<ClientPrefix<V6>>,
    /// `NETS4`.
    pub nets4: Vec<Prefix<V4, RuleMask>>,
    /// `NETS6`.
    pub nets6: Vec<Prefix<V6, RuleMask>>,
    /// `ANSWER_ACL4`.
    pub answers4: Vec<Prefix<V4, u32>>,
    /// Elements of `ANSWER_ACL6`: 0 if addresses are refused.
    pub answers6: Vec<Prefix<V6, u32>>,
    /// The class of each of [`intune_filter_ebpf::abi::PORTS`]: `PORTS` has eight to an element.
    pub ports: Box<[u8]>,
    /// `PORT_CLASSES`: the rules of each class.
    pub port_classes: Vec<RuleMask>,
    /// `EDGES`.
    pub edges: HashMap<EdgeKey, NameNode>,
    /// Elements of `GLOBS`, by index.
    pub globs: Vec<Glob>,
    /// Elements of `SERVERS`: bits of the roles that an address has.
    pub servers: HashMap<V6, u32>,
    /// Keys of `GROUP_MACS`.
    pub group_macs: Vec<MacKey>,
    /// Elements of `SOURCE_CHECKS`, by zone.
    pub source_checks: Vec<(u32, u32)>,
    /// Keys of `GATEWAY_PORTS`, encoded by [`intune_filter_ebpf::abi::port_index`].
    pub gateway_ports: Vec<u32>,
    /// Element of `SETTINGS`.
    pub settings: Settings,
    /// NAT64 prefixes, which elements of `ANSWER_ACL6` name.
    pub nat64: Nat64,
    /// Bits of earlier rules that are no longer in force. Who loads the policy clears them from
    /// learned addresses and flows, and only then forgets that the rule had the bit.
    pub freed: RuleMask,
    /// Those of them that another rule has in this policy, since no other bit was left. They have
    /// to be cleared before it is in force.
    pub reused: RuleMask,
    /// What is worth knowing although it is no fault.
    pub warnings: Vec<FileError>,
}

/// Client group in force.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Group {
    /// Name of the group.
    pub name: String,
    /// Its rules.
    pub rules: RuleMask,
    /// Rules by which packets reach its clients.
    pub inbound: RuleMask,
    /// What becomes of its denied packets.
    pub mode: GroupMode,
}

impl Policy {
    /// Returns the bit of each rule, as the next compilation's previous bits.
    #[must_use]
    pub fn rule_bits(&self) -> RuleBits {
        self.rules.iter().map(|(bit, rule)| (rule.id.clone(), *bit)).collect()
    }

    /// Returns the elements of `RULE_TITLES`, empty for bits without a rule.
    #[must_use]
    pub fn rule_titles(&self) -> Vec<Title> {
        let text = |bit| self.rules.get(&bit).map_or_else(String::new, |rule| rule.id.to_string());
        (0..RULES as u8).map(|bit| info(&text(bit))).collect()
    }

    /// Returns the elements of `GROUP_TITLES`, empty for numbers without a group.
    #[must_use]
    pub fn group_titles(&self) -> Vec<Title> {
        let names = self.groups.iter().map(|group| group.name.as_str());
        names.chain(std::iter::repeat("")).take(GROUPS).map(info).collect()
    }
}

/// Encodes a name for `RULE_TITLES` or `GROUP_TITLES`; the configuration's check bounds its length.
#[must_use]
pub fn info(name: &str) -> Title {
    let mut text = [0; TITLE_CAPACITY];
    let length = name.floor_char_boundary(TITLE_CAPACITY);
    text.iter_mut().zip(name.bytes().take(length)).for_each(|(to, from)| *to = from);
    Title { text }
}

/// Decodes the name of an element of `RULE_TITLES` or `GROUP_TITLES`; empty if there is none.
#[cfg(test)]
fn name_of(info: &Title) -> String {
    let name = info.text.split(|octet| *octet == 0).next().unwrap_or_default();
    String::from_utf8_lossy(name).into_owned()
}
