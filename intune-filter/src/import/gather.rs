//! Gathers the entries of a file into services and rules, and accounts for each.

use std::collections::{BTreeMap, BTreeSet};

use intune_filter_ebpf::abi::TransportProtocol;

use super::{
    address::Destination,
    error::Fault,
    options::{Form, Options},
};
use crate::ports::{PortRange, Ports};

/// Longest id of a group, in octets: a rule's id has to fit beside it.
const ID_MAX: usize = 40;

/// Entry of a file before it is judged.
#[derive(Clone, Debug, Default)]
pub(super) struct Entry<'a> {
    /// Service area or tag that it belongs to; empty if the form has none.
    pub group: &'a str,
    /// Title of the group for people.
    pub title: &'a str,
    /// Text of the destination.
    pub address: &'a str,
    /// Ports, as far as the entry has its own.
    pub ports: Ports,
    /// Section of the source, such as the id of a set.
    pub section: String,
    /// Whether the source calls it optional.
    pub is_optional: bool,
    /// Position, for faults.
    pub at: String,
}

/// Destination in a rule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Datum {
    /// Section of the source that it was first found in.
    pub section: String,
    /// Whether every place that has it calls it optional.
    pub is_optional: bool,
}

/// Ports in an order, so that they can be a key.
type PortKey = [BTreeSet<PortRange>; TransportProtocol::ALL.len()];

/// Destinations of one area, tag or file, by their ports.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Group {
    /// Name for ids: lower-case letters, digits and hyphens; empty if the form has no groups.
    pub id: String,
    /// Title for people.
    pub title: String,
    /// Destinations by ports.
    pub rules: BTreeMap<PortKey, BTreeMap<Destination, Datum>>,
}

/// What was read and is not among the destinations.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Left {
    /// Repetitions of a destination with the same ports in the same group.
    pub repeated: usize,
    /// Of areas or tags that were not asked for.
    pub unasked: usize,
    /// Optional ones, where only required ones were asked for.
    pub optional: usize,
}

/// Entries of a file.
#[derive(Clone, Debug)]
pub struct Gathered {
    /// Form that the file was read in.
    pub form: Form,
    /// Groups in the order of their first entry.
    pub groups: Vec<Group>,
    /// Entries of the file.
    pub read: usize,
    /// Entries that are left out.
    pub left: Left,
    /// Fields and lines without an entry that were passed over, each told once.
    pub passed_over: BTreeSet<String>,
    /// Names of the groups in the file that were not asked for.
    pub others: BTreeSet<String>,
    /// Those that were asked for and are there.
    asked: BTreeSet<String>,
    options: Options,
    faults: Vec<Fault>,
}

impl Gathered {
    pub(super) fn new(form: Form, options: &Options) -> Self {
        Self {
            form,
            groups: Vec::new(),
            read: 0,
            left: Left::default(),
            passed_over: BTreeSet::new(),
            others: BTreeSet::new(),
            asked: BTreeSet::new(),
            options: options.clone(),
            faults: Vec::new(),
        }
    }

    /// Whether areas or tags were asked for.
    pub(super) fn selects(&self) -> bool {
        !self.options.groups.is_empty()
    }

    /// Number of destinations, each counted in each rule that has it.
    #[must_use]
    pub fn written(&self) -> usize {
        self.groups.iter().flat_map(|group| group.rules.values()).map(BTreeMap::len).sum()
    }

    pub(super) fn fault(&mut self, at: impl Into<String>, message: impl Into<String>) {
        self.faults.push(Fault { at: at.into(), message: message.into() });
    }

    /// Takes an entry, or notes why it cannot be taken.
    pub(super) fn add(&mut self, entry: Entry<'_>) {
        self.read += 1;
        let destination = match Destination::parse(entry.address) {
            Ok(destination) => destination,
            Err(message) => return self.fault(entry.at, message),
        };
        let wanted = &self.options.groups;
        match wanted.iter().find(|one| one.eq_ignore_ascii_case(entry.group)) {
            Some(asked) => {
                self.asked.insert(asked.clone());
            }
            None if wanted.is_empty() => {}
            None => {
                self.others.insert(entry.group.to_owned());
                self.left.unasked += 1;
                return;
            }
        }
        if entry.is_optional && self.options.required_only {
            self.left.optional += 1;
            return;
        }
        let has_ports = |ports: &Ports| !ports.all(Vec::is_empty);
        let ports = if has_ports(&entry.ports) { &entry.ports } else { &self.options.ports };
        if !has_ports(ports) {
            let message = format!("{destination} has no ports; name them by --tcp or --udp");
            return self.fault(entry.at, message);
        }
        let key = TransportProtocol::ALL.map(|protocol| ports[protocol].iter().copied().collect());
        let Some(group) = self.group(&entry) else { return };
        let Entry { section, is_optional, .. } = entry;
        let rule = group.rules.entry(key).or_default();
        if let Some(known) = rule.get_mut(&destination) {
            known.is_optional &= is_optional;
            self.left.repeated += 1;
        } else {
            rule.insert(destination, Datum { section, is_optional });
        }
    }

    fn group(&mut self, entry: &Entry<'_>) -> Option<&mut Group> {
        let id = slug(entry.group);
        if id.is_empty() != entry.group.is_empty() || id.len() > ID_MAX {
            let message = format!(
                "{:?} makes no id, expected letters and digits, at most {ID_MAX}",
                entry.group
            );
            self.fault(entry.at.clone(), message);
            return None;
        }
        let place = self.groups.iter().position(|group| group.id == id).unwrap_or_else(|| {
            let title = if entry.title.is_empty() { entry.group } else { entry.title };
            self.groups.push(Group { id, title: title.to_owned(), rules: BTreeMap::new() });
            self.groups.len() - 1
        });
        self.groups.get_mut(place)
    }

    /// Returns what was gathered, unless there were faults.
    ///
    /// # Errors
    /// All faults; also a file without entries, and a group that was asked for and is not there.
    pub(super) fn finish(mut self) -> Result<Self, Vec<Fault>> {
        if self.faults.is_empty() && self.read == 0 {
            self.fault("", "no name, address or prefix in it");
        }
        if self.faults.is_empty() {
            let others = self.others.iter().map(String::as_str).collect::<Vec<_>>().join(", ");
            let asked = &self.asked;
            let missing = self.options.groups.iter().filter(|one| !asked.contains(*one));
            let missing: Vec<String> = missing.cloned().collect();
            for one in missing {
                self.fault("", format!("nothing of {one:?} in it, expected one of: {others}"));
            }
        }
        if self.faults.is_empty() { Ok(self) } else { Err(self.faults) }
    }
}

/// Makes an id of a name: lower-case letters, digits and single hyphens.
#[must_use]
pub fn slug(name: &str) -> String {
    let mut id = String::new();
    for c in name.chars() {
        if c.is_ascii_alphanumeric() {
            id.push(c.to_ascii_lowercase());
        } else if !id.is_empty() && !id.ends_with('-') {
            id.push('-');
        }
    }
    id.trim_end_matches('-').to_owned()
}
