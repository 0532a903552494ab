//! Reads the name and the addresses of a DNS response with the kernel's own parser, built for the
//! host: userspace finds nothing that the kernel did not find.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
};

use intune_filter_ebpf::{
    abi::{AnswerEvent, Host, RuleMask},
    dns::{self, HEADER_LENGTH, target_key},
    host::{self, Tables},
    scratch::Scratch,
};

use super::{is_target, key_of_target};
use crate::policy::Policy;

/// Name, rules and addresses of one DNS answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// Name of the question, in lower case and without a trailing dot.
    pub name: String,
    /// The rules of the name.
    pub rules: RuleMask,
    /// Addresses that it led to, along CNAMEs, less those that are refused; and when each is
    /// forgotten, in nanoseconds of CLOCK_BOOTTIME.
    pub addresses: Vec<(IpAddr, u64)>,
    /// Number of records of each address in the answer, in the order of `addresses`.
    pub times: Vec<u64>,
    /// Names of targets, by the keys among the addresses.
    pub targets: BTreeMap<IpAddr, String>,
}

impl Answer {
    /// Returns the addresses that are no keys of targets.
    pub fn hosts(&self) -> impl Iterator<Item = IpAddr> {
        self.addresses.iter().map(|(address, _)| *address).filter(|address| !is_target(*address))
    }
}

/// Reader of DNS answers under one policy.
#[derive(Debug)]
pub struct Reader {
    tables: Tables,
    scratch: Box<Scratch>,
    seed: u64,
}

impl Reader {
    /// Returns a reader for a policy.
    #[must_use]
    pub fn new(policy: &Policy) -> Self {
        Self::over(host::PolicyMaps::from(policy))
    }

    /// Returns a reader for the maps of a policy.
    #[must_use]
    pub fn over(maps: host::PolicyMaps) -> Self {
        let mut tables = Tables::default();
        tables.policies[0] = maps;
        Self { tables, scratch: Box::default(), seed: 0 }
    }

    /// Returns the rules with a pattern that matches the name in the question of a message.
    pub fn rules_of_question(&self, message: &[u8]) -> RuleMask {
        let (scratch, tables) = (&*self.scratch, &self.tables);
        tables.hosts6.borrow_mut().clear();
        if self.fill(message).is_none() || dns::read_question(scratch, tables).is_none() {
            return RuleMask::EMPTY;
        }
        scratch.parser.seed.set(self.seed);
        dns::match_name(scratch, tables, &tables.policies[0].settings);
        scratch.matcher.rules.get()
    }

    /// Whether the answer that was read last has more records than are read.
    #[must_use]
    pub fn is_cut(&self) -> bool {
        dns::is_cut(&self.scratch)
    }

    /// Sets the kernel's seed, under which targets have their keys.
    pub const fn set_seed(&mut self, seed: u64) {
        self.seed = seed;
    }

    /// Sets the gateway's own addresses, which no name may have.
    pub fn set_own_addresses(&mut self, addresses: &BTreeSet<IpAddr>) {
        self.tables.own_addresses = addresses.iter().map(|address| (*address).into()).collect();
    }

    /// Returns the keyed hashes of a response's question and of the whole; `None` if the message is no
    /// response or its question is not whole.
    pub fn hashes(&mut self, message: &[u8], seed: u64) -> Option<(u64, u16)> {
        self.fill(message)?;
        self.scratch.parser.seed.set(seed);
        if !dns::is_response(&self.scratch) {
            return None;
        }
        let question = dns::read_question(&self.scratch, &self.tables)?.hash;
        Some((question, dns::digest(&self.scratch, &self.tables)))
    }

    fn fill(&self, message: &[u8]) -> Option<()> {
        if message.len() < HEADER_LENGTH as usize || !self.scratch.message.fill(message) {
            return None;
        }
        self.scratch.parser.length.set(message.len() as u64);
        self.scratch.parser.set.set(0);
        Some(())
    }

    /// Reads an answer; `None` if the kernel would have learned nothing from the message. `inherited`
    /// returns the rules by which a name is a target, given its key, and until when it is one.
    pub fn read(
        &mut self,
        event: &AnswerEvent,
        message: &[u8],
        inherited: impl FnOnce(IpAddr) -> (RuleMask, u64),
    ) -> Option<Answer> {
        self.fill(message)?;
        self.scratch.parser.seed.set(self.seed);
        let (scratch, tables) = (&*self.scratch, &self.tables);
        scratch.parser.now.set(event.time);
        scratch.ctx.now.set(event.time);
        if !dns::is_response(scratch) {
            return None;
        }
        let question = dns::read_question(scratch, tables)?;
        if !dns::is_answer(scratch, &question) {
            return None;
        }
        let settings = &tables.policies[0].settings;
        let key =
            target_key(self.seed, message.get(HEADER_LENGTH as usize..question.end as usize - 4)?);
        let (rules, expires) = inherited(IpAddr::from(key));
        tables.hosts6.borrow_mut().clear();
        tables.hosts6.borrow_mut().insert(key, Host { rules, expires, ..Host::default() });
        dns::match_name(scratch, tables, settings);
        let rules = scratch.matcher.rules.get();
        if rules.is_empty() || !dns::read_answer(scratch, tables, question.end) {
            return None;
        }
        if dns::is_cut(scratch) {
            log::debug!("an answer has more records than are read: the first are learned from");
        }
        tables.hosts4.borrow_mut().clear();
        tables.hosts6.borrow_mut().clear();
        dns::learn(scratch, tables, settings, u64::MAX);
        let (four, six) = (tables.hosts4.borrow(), tables.hosts6.borrow());
        let four = four.iter().map(|(address, host)| (IpAddr::V4((*address).into()), host));
        let six = six.iter().map(|(address, host)| (IpAddr::V6((*address).into()), host));
        let mut found: Vec<_> = four
            .chain(six)
            .map(|(address, host)| ((address, host.expires), host.version / Host::REFRESH))
            .collect();
        found.sort_unstable();
        let targets = self.targets(message);
        // A name that no text tells is not recorded: its element stays until it expires by itself.
        found.retain(|((address, _), _)| !is_target(*address) || targets.contains_key(address));
        let (addresses, times) = found.into_iter().unzip();
        Some(Answer { name: question_name(message)?, rules, addresses, times, targets })
    }

    /// Returns the targets in the answer that was read last, by their keys.
    fn targets(&self, message: &[u8]) -> BTreeMap<IpAddr, String> {
        let names = dns::targets(&self.scratch).filter_map(|(start, end)| {
            let octets = message.get(start..end)?;
            let (name, key) = (name_at(octets)?, target_key(self.seed, octets));
            let key = IpAddr::from(key);
            (key_of_target(&name, self.seed) == Some(key)).then_some((key, name))
        });
        names.collect()
    }
}

/// Returns the name of a question that has been read: whole, and without compression pointers.
pub(crate) fn question_name(message: &[u8]) -> Option<String> {
    name_at(message.get(HEADER_LENGTH as usize..)?)
}

/// Returns the name that octets begin with.
pub(crate) fn name_at(octets: &[u8]) -> Option<String> {
    let mut rest = octets;
    let mut labels = Vec::new();
    loop {
        let (length, after) = rest.split_first()?;
        if *length == 0 {
            return Some(labels.join("."));
        }
        let (label, after) = after.split_at_checked(usize::from(*length))?;
        labels.push(label.to_ascii_lowercase().escape_ascii().to_string());
        rest = after;
    }
}

#[cfg(test)]
mod tests {
    use hickory_proto::{
        op::{Message, MessageType, OpCode, Query},
        rr::{
            Name, RData, Record, RecordType,
            rdata::{A, CNAME},
        },
    };

    use super::*;
    use crate::{catalogue::Catalogue, config::Config, policy::compile};

    const CONFIG: &str = "
interfaces: [{name: lan}]
clients: [{name: all, networks: [10.0.0.0/24], services: [site]}]
dns: {resolvers: [10.0.0.1], ttl: {min: 60s, max: 600s, grace: 30s}}
services: [{id: site, fqdns: [www.example], tcp: [443]}]
";
    const SECOND: u64 = 1_000_000_000;

    fn read(records: Vec<Record>, cut: usize) -> Option<Answer> {
        let config = Config::parse("test", CONFIG).unwrap();
        let policy = compile(&config, Catalogue::builtin(), &Default::default()).unwrap();
        let mut reader = Reader::new(&policy);
        reader.set_own_addresses(&["20.0.0.9".parse().unwrap()].into());
        let mut message = Message::new(7, MessageType::Response, OpCode::Query);
        message.add_query(Query::query(name("WWW.Example."), RecordType::A));
        message.add_answers(records);
        let octets = message.to_vec().unwrap();
        let event = AnswerEvent { time: 1000 * SECOND, ..AnswerEvent::default() };
        reader.read(&event, &octets[..octets.len() - cut], |_| Default::default())
    }

    fn name(text: &str) -> Name {
        Name::from_ascii(text).unwrap()
    }

    fn cname(owner: &str, target: &str) -> Record {
        Record::from_rdata(name(owner), 60, RData::CNAME(CNAME(name(target))))
    }

    fn a(owner: &str, address: [u8; 4]) -> Record {
        Record::from_rdata(name(owner), 300, RData::A(A(address.into())))
    }

    #[test]
    fn addresses_count_under_the_chain_of_the_questions_name_alone() {
        let records = vec![
            cname("b.example.", "C.example."),
            a("c.EXAMPLE.", [20, 0, 0, 1]),
            cname("www.example.", "b.example."),
            a("other.example.", [20, 0, 0, 2]),
        ];
        let answer = read(records, 0).unwrap();
        assert_eq!(answer.name, "www.example");
        assert_eq!(answer.rules.iter().count(), 1);
        assert_eq!(answer.addresses, [("20.0.0.1".parse().unwrap(), 1330 * SECOND)]);
        assert_eq!(answer.times, [1]);
    }

    #[test]
    fn it_is_told_how_often_the_kernel_has_met_an_address() {
        let records = [1, 2, 1, 1].map(|last| a("www.example.", [20, 0, 0, last])).into();
        assert_eq!(read(records, 0).unwrap().times, [3, 1]);
    }

    #[test]
    fn what_the_kernel_leaves_to_userspace_is_read() {
        let records = (0..64).map(|last| a("www.example.", [20, 0, 1, last])).collect();
        assert_eq!(read(records, 0).unwrap().addresses.len(), 64);
    }

    #[test]
    fn private_addresses_and_the_gateways_own_are_not_the_names() {
        let records = [[20, 0, 0, 9], [10, 0, 0, 7], [20, 0, 0, 1]];
        let answer = read(records.map(|address| a("www.example.", address)).into(), 0).unwrap();
        let addresses: Vec<_> = answer.addresses.iter().map(|(one, _)| one.to_string()).collect();
        assert_eq!(addresses, ["20.0.0.1"]);
    }

    #[test]
    fn a_message_that_is_cut_off_says_nothing() {
        assert!(read(vec![a("www.example.", [20, 0, 0, 1])], 0).is_some());
        assert_eq!(read(vec![a("www.example.", [20, 0, 0, 1])], 1), None);
        assert_eq!(read(Vec::new(), 20), None);
    }
}
