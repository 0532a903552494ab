//! Remembers which names led clients to addresses that their answers did not teach: unlisted names that
//! are forwarded or audited, and listed ones whose addresses are refused.
//!
//! What a client asked for explains its own denials alone: nobody can put a name to another's. The table
//! is bounded in entries and octets, and has a share for each client. It has two halves: when the younger
//! one is full, it takes the place of the older one, which is forgotten.

use std::{
    collections::BTreeMap,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    sync::Arc,
};

use intune_filter_ebpf::{
    abi::{ANSWER_ACCEPTED, AnswerEvent, RuleMask, Settings},
    dns::{self, HEADER_LENGTH},
    host::{Tables, Trie},
    scratch::Scratch,
};

use super::answer::question_name;

/// Entries at most.
pub const ENTRIES: usize = 1 << 16;
/// Octets of memory at most.
pub const OCTETS: usize = 8 << 20;
/// Addresses of one answer that are remembered, the first.
const ADDRESSES: u64 = 4;
/// Octets of an entry without its name, in a tree whose nodes are two thirds full.
const ENTRY: usize = 104;
/// Octets of a name beyond its letters: counts of references, and what the allocator adds.
const NAME: usize = 40;
/// Share of a client in each half.
const SHARE: usize = ENTRIES / 2 / 16;

/// Zone, client, address.
type Key = (u16, IpAddr, IpAddr);

const FIRST: IpAddr = IpAddr::V4(Ipv4Addr::UNSPECIFIED);
const LAST: IpAddr = IpAddr::V6(Ipv6Addr::from_bits(u128::MAX));

/// Name that led a client to an address.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Seen {
    name: Arc<str>,
    /// CLOCK_BOOTTIME, nanoseconds.
    at: u64,
}

#[derive(Debug, Default)]
struct Half {
    entries: BTreeMap<Key, Seen>,
    octets: usize,
}

impl Half {
    /// Makes room for another entry of a client that has its share: its oldest goes.
    fn keep_share(&mut self, zone: u16, client: IpAddr) {
        let own = self.entries.range((zone, client, FIRST)..=(zone, client, LAST));
        let (count, oldest) = own.fold((0, None::<(u64, Key)>), |(count, oldest), (key, seen)| {
            let older = oldest.is_none_or(|(at, _)| seen.at < at);
            (count + 1, if older { Some((seen.at, *key)) } else { oldest })
        });
        if count >= SHARE
            && let Some((_, key)) = oldest
        {
            self.remove(&key);
        }
    }

    fn remove(&mut self, key: &Key) {
        if let Some(seen) = self.entries.remove(key) {
            self.octets -= cost(&seen.name);
        }
    }
}

/// Returns the octets that an entry takes; a name that several entries share is counted for each.
fn cost(name: &str) -> usize {
    ENTRY + NAME + name.len()
}

/// Table of the names that clients were led by.
pub struct SeenNames {
    tables: Tables,
    scratch: Box<Scratch>,
    young: Half,
    old: Half,
}

impl std::fmt::Debug for SeenNames {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SeenNames").field("entries", &self.len()).finish_non_exhaustive()
    }
}

impl Default for SeenNames {
    fn default() -> Self {
        let mut tables = Tables::default();
        let policy = &mut tables.policies[0];
        let (mut four, mut six) = (Trie::default(), Trie::default());
        four.insert(0, &[0; 4], ANSWER_ACCEPTED);
        six.insert(0, &[0; 16], ANSWER_ACCEPTED);
        (policy.answers4, policy.answers6) = (four, six);
        policy.settings = Settings { ttl_max: 1, ..Settings::default() };
        Self { tables, scratch: Box::default(), young: Half::default(), old: Half::default() }
    }
}

impl SeenNames {
    /// Takes in an answer that went to a client and taught nothing.
    pub fn take(&mut self, event: &AnswerEvent, message: &[u8]) {
        let Some((name, addresses)) = self.read(message) else { return };
        let (name, client) = (Arc::<str>::from(name), IpAddr::from(event.client));
        for address in addresses {
            self.insert(
                (event.zone, client, address),
                Seen { name: Arc::clone(&name), at: event.time },
            );
        }
    }

    fn insert(&mut self, key: Key, seen: Seen) {
        let more = cost(&seen.name);
        if self.young.entries.len() >= ENTRIES / 2 || self.young.octets + more > OCTETS / 2 {
            self.old = std::mem::take(&mut self.young);
        }
        self.young.remove(&key);
        self.young.keep_share(key.0, key.1);
        self.young.octets += more;
        self.young.entries.insert(key, seen);
    }

    /// Returns the name that led a client to an address last.
    #[must_use]
    pub fn name(&self, zone: u16, client: IpAddr, address: IpAddr) -> Option<&str> {
        let key = (zone, client, address);
        let seen = self.young.entries.get(&key).or_else(|| self.old.entries.get(&key));
        seen.map(|seen| &*seen.name)
    }

    /// Returns the number of entries.
    #[must_use]
    pub fn len(&self) -> usize {
        self.young.entries.len() + self.old.entries.len()
    }

    /// Whether there is no entry.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Reads the name of the question and the first addresses that it leads to, along CNAMEs, with the
    /// kernel's own parser.
    fn read(&mut self, message: &[u8]) -> Option<(String, Vec<IpAddr>)> {
        let (scratch, tables) = (&*self.scratch, &self.tables);
        if message.len() < HEADER_LENGTH as usize || !scratch.message.fill(message) {
            return None;
        }
        scratch.parser.length.set(message.len() as u64);
        scratch.parser.set.set(0);
        scratch.parser.now.set(0);
        if !dns::is_response(scratch) {
            return None;
        }
        let question = dns::read_question(scratch, tables)?;
        if !dns::is_answer(scratch, &question) || !dns::read_answer(scratch, tables, question.end) {
            return None;
        }
        tables.hosts4.borrow_mut().clear();
        tables.hosts6.borrow_mut().clear();
        scratch.matcher.rules.set(&RuleMask::of(0));
        dns::learn(scratch, tables, &tables.policies[0].settings, ADDRESSES);
        let (four, six) = (tables.hosts4.borrow(), tables.hosts6.borrow());
        let four = four.keys().map(|address| IpAddr::V4((*address).into()));
        let six = six.keys().map(|address| IpAddr::V6((*address).into()));
        let addresses = four.chain(six).filter(|address| !super::is_target(*address)).collect();
        Some((question_name(message)?, addresses))
    }
}

#[cfg(test)]
mod tests {
    use hickory_proto::{
        op::{Message, MessageType, OpCode, Query},
        rr::{
            Name, RData, Record, RecordType,
            rdata::{A, AAAA, CNAME},
        },
    };

    use super::*;

    fn answer(name: &str, records: &[(&str, RData)]) -> Vec<u8> {
        let parsed = |text: &str| Name::from_ascii(text).unwrap();
        let mut message = Message::new(7, MessageType::Response, OpCode::Query);
        message.add_query(Query::query(parsed(name), RecordType::A));
        for (owner, data) in records {
            message.add_answer(Record::from_rdata(parsed(owner), 60, data.clone()));
        }
        message.to_vec().unwrap()
    }

    fn a(last: u8) -> RData {
        RData::A(A([10, 9, 0, last].into()))
    }

    fn event(client: u32) -> AnswerEvent {
        let client = IpAddr::from(client.to_be_bytes()).into();
        AnswerEvent { client, zone: 1, time: 5, ..AnswerEvent::default() }
    }

    fn client(number: u32) -> IpAddr {
        IpAddr::from(number.to_be_bytes())
    }

    #[test]
    fn a_name_is_its_clients_alone_and_leads_along_aliases() {
        let mut seen = SeenNames::default();
        let six = "2001:db8::1".parse::<Ipv6Addr>().unwrap();
        let cname = CNAME(Name::from_ascii("cdn.test.").unwrap());
        let records = [
            ("www.unlisted.test.", RData::CNAME(cname)),
            ("cdn.test.", a(1)),
            ("cdn.test.", RData::AAAA(AAAA(six))),
            ("other.test.", a(2)),
        ];
        seen.take(&event(1), &answer("WWW.unlisted.test.", &records));
        let name = |who, address: &str| seen.name(1, client(who), address.parse().unwrap());
        assert_eq!(name(1, "10.9.0.1"), Some("www.unlisted.test"));
        assert_eq!(name(1, "2001:db8::1"), Some("www.unlisted.test"));
        assert_eq!(name(1, "10.9.0.2"), None, "nothing leads there");
        assert_eq!(name(2, "10.9.0.1"), None, "another client");
        assert_eq!(seen.name(2, client(1), "10.9.0.1".parse().unwrap()), None, "another zone");
    }

    #[test]
    fn the_first_four_addresses_count_and_the_last_name() {
        let mut seen = SeenNames::default();
        let records = [9, 8, 7, 6, 5, 4].map(|last| ("many.test.", a(last)));
        seen.take(&event(1), &answer("many.test.", &records));
        let has =
            |seen: &SeenNames, last| seen.name(1, client(1), [10, 9, 0, last].into()).is_some();
        assert_eq!(
            [9, 8, 7, 6, 5, 4].map(|last| has(&seen, last)),
            [true, true, true, true, false, false]
        );
        seen.take(&event(1), &answer("again.test.", &[("again.test.", a(9))]));
        assert_eq!(seen.name(1, client(1), [10, 9, 0, 9].into()), Some("again.test"));
        assert_eq!(seen.len(), 4);
    }

    #[test]
    fn a_message_that_is_no_answer_says_nothing() {
        let mut seen = SeenNames::default();
        let whole = answer("cut.test.", &[("cut.test.", a(1))]);
        for length in 0..whole.len() {
            seen.take(&event(1), &whole[..length]);
        }
        assert!(seen.is_empty());
        seen.take(&event(1), &whole);
        assert_eq!(seen.len(), 1);
    }

    fn put(seen: &mut SeenNames, who: u32, address: u32, name: &str, at: u64) {
        let key = (1, client(who), IpAddr::from(address.to_be_bytes()));
        seen.insert(key, Seen { name: name.into(), at });
    }

    #[test]
    fn one_client_has_its_share_and_others_keep_theirs() {
        let mut seen = SeenNames::default();
        put(&mut seen, 2, 7, "victim.test", 0);
        for address in 0..1 << 13 {
            put(&mut seen, 1, address, "flood.test", u64::from(address));
        }
        assert_eq!(seen.len(), SHARE + 1);
        assert_eq!(seen.name(1, client(2), [0, 0, 0, 7].into()), Some("victim.test"));
        let newest = IpAddr::from(((1_u32 << 13) - 1).to_be_bytes());
        assert_eq!(seen.name(1, client(1), newest), Some("flood.test"));
    }

    #[test]
    fn whatever_comes_the_table_stays_within_its_bounds() {
        let mut seen = SeenNames::default();
        let long = "a".repeat(253);
        for number in 0..200_000_u32 {
            put(&mut seen, number, number, if number & 1 == 0 { &long } else { "b" }, 0);
            assert!(seen.len() <= ENTRIES);
            assert!(seen.young.octets + seen.old.octets <= OCTETS);
        }
        // What is counted is what there is.
        let all = [&seen.young, &seen.old].map(|half| {
            half.entries.values().map(|seen| cost(&seen.name)).sum::<usize>() == half.octets
        });
        assert_eq!(all, [true, true]);
        // The latest half is there at least.
        let recent = |number: u32| seen.name(1, client(number), client(number)).is_some();
        assert!((185_000..200_000).all(recent));
    }
}
