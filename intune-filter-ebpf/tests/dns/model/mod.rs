//! Model of learning, written for clarity: hickory-proto decodes names and data, the rest is plain
//! lists. Where hickory is stricter or laxer than the kernel, the reason is given here.
//!
//! The rules, and their sources:
//!
//! - The answer section is read to its end, or nothing is learned. Sections behind it are not read:
//!   neither authorities nor additional records teach, and a truncated message (RFC 2181 section 9)
//!   may end there.
//! - A name is at most 255 octets (RFC 1035 section 2.3.4); pointers lead to a prior occurrence
//!   (section 4.1.4), and so to before the labels that they continue, and none of the labels found
//!   there reach into those. Hickory agrees.
//! - A message that takes more than 300 steps is not read. Steps are: labels, pointers and roots of
//!   names, except names that are a pointer to one that was read just before; half a step for each
//!   octet of the question; records, the parameters and ends of services, and hints; and each four
//!   CNAMEs that are looked at for the next. An address takes nineteen steps to learn: addresses
//!   beyond the steps that are left go to userspace, and nine more, but never the first. Hickory
//!   has no such limits, and no server comes near them.
//! - Data is read only where class and type say what it is: A, AAAA and CNAME of class IN must
//!   fill their data exactly. All else is opaque (RFC 3597); hickory, asked for a whole message,
//!   would refuse it for a malformed MX record that was not asked for.
//! - Names are equal if their octets are but for ASCII case (RFC 4343).
//! - From the question's name the first CNAME of each name is followed, 16 at most, in whatever
//!   order they stand. A name with a CNAME has no other data (RFC 2181 section 10.1): addresses
//!   count only at the end, and a circle has none.
//! - Address hints of SVCB and HTTPS records count like addresses of their owner. Each record has
//!   to parse: parameters in ascending order, hints of one or more whole addresses (RFC 9460
//!   sections 2.2 and 7.3). Hickory reads other parameters too, and refuses more.
//! - The target of such a record is learned, too (RFC 9460 section 2.5), unless it is the root or the
//!   owner, or compressed (section 2.2 forbids it): the question's name then gives its rules to
//!   questions for the target's addresses and services. What is a target for no other reason than that
//!   gives them to its own targets for no longer than it has them.
//! - The first 64 records are read, and the first 64 of addresses, targets and hints together.
//! - A time to live with its highest bit set is 0 (RFC 2181 section 8).

pub mod section;

use std::{collections::BTreeMap, net::IpAddr};

use hickory_proto::{
    rr::Name,
    serialize::binary::{BinDecodable as _, BinDecoder},
};

use intune_filter_ebpf::abi::RuleMask;
pub use section::Refusal;
use section::{Budget, Labels, RECORDS, Section, labels, section};

/// What was learned: rules and expiry of each address, and of the key of each target.
pub type Learned = BTreeMap<IpAddr, (RuleMask, u64)>;

/// Terms of a filter that the model has to know.
pub struct Terms<'t> {
    /// Time of the query and its answer, nanoseconds.
    pub now: u64,
    /// Lower and upper bound of the time to live, and the time added to it, in seconds.
    pub ttl: [u32; 3],
    /// Rules of the names below a top-level label, which is in lower case.
    pub rules_below: &'t dyn Fn(&[u8]) -> RuleMask,
    /// Whether an answer may teach an address.
    pub is_acceptable: &'t dyn Fn(IpAddr) -> bool,
    /// Key of a target, whose name on the wire is in lower case.
    pub key_of: &'t dyn Fn(&[u8]) -> IpAddr,
    /// What was learned before.
    pub known: &'t Learned,
}

/// Maximum number of CNAMEs in a row.
const CHAIN: usize = 16;
/// Steps that an address takes.
const STEPS_OF_ADDRESS: usize = 19;
/// Cost of waking userspace, in learned addresses.
const WAKING: usize = 9;
/// CNAMEs that are compared in one step.
const COMPARED: usize = 4;

/// Outcome of a message that the resolver sends while a query waits for its answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The message does not answer the query.
    Foreign,
    /// The message is an answer that can teach nothing: an error, or of a name of no rule.
    Passes,
    /// The answer section of the message is refused.
    Malformed,
    /// The message teaches these addresses; then the number of addresses refused, and whether more
    /// are left to userspace.
    Teaches(Learned, usize, bool),
}

impl Outcome {
    /// Returns the kind of the outcome, in a word.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Foreign => "foreign",
            Self::Passes => "passes",
            Self::Malformed => "malformed",
            Self::Teaches(_, _, true) => "deferred",
            Self::Teaches(learned, 0, _) if learned.is_empty() => "nothing",
            Self::Teaches(learned, ..) if learned.is_empty() => "refused",
            Self::Teaches(..) => "teaches",
        }
    }
}

/// Returns the outcome of `answer` to the query `query`.
pub fn outcome(query: &[u8], answer: &[u8], terms: &Terms<'_>) -> Outcome {
    let end = 12 + question_length(query);
    if answer.len() < 12 || answer.len() > 4096 || answer[..2] != query[..2] {
        return Outcome::Foreign;
    }
    // An error with nothing else, as servers answer what they cannot read (RFC 6891 section 7).
    let bare = answer[4..10] == [0; 6];
    if answer[2] & 0xf8 == 0x80 && answer[3] & 0x0f != 0 && bare {
        return Outcome::Passes;
    }
    // A response, opcode QUERY, one question (RFC 9619): that of the query.
    if answer[2] & 0xf8 != 0x80
        || answer[4..6] != [0, 1]
        || answer.get(12..end) != query.get(12..end)
    {
        return Outcome::Foreign;
    }
    // No error, and of the class IN, or of any (RFC 1035 section 3.2.5).
    if answer[3] & 0x0f != 0 || !matches!(query[end - 2..end], [0, 1 | 255]) {
        return Outcome::Passes;
    }
    let (question, rules, until) = asked(query, terms);
    if rules.is_empty() {
        return Outcome::Passes;
    }
    let section = section(answer, end).ok();
    let resolved = section.and_then(|(section, budget)| resolve(section, budget, question));
    let Some((addresses, is_long)) = resolved else {
        return Outcome::Malformed;
    };
    let mut learned = Learned::new();
    let mut refused = 0;
    for (what, ttl) in addresses {
        let [least, most, grace] = terms.ttl;
        let ttl = if ttl >> 31 == 1 { 0 } else { ttl }.clamp(least, most);
        let mut expires = terms.now + u64::from(ttl + grace) * 1_000_000_000;
        let address = match what {
            Lesson::Address(address) if (terms.is_acceptable)(address) => address,
            Lesson::Address(_) => {
                refused += 1;
                continue;
            }
            Lesson::Target(name) => {
                expires = expires.min(until);
                (terms.key_of)(&wire(&name))
            }
        };
        let entry = learned.entry(address).or_insert((rules, expires));
        entry.1 = entry.1.max(expires);
    }
    Outcome::Teaches(learned, refused, is_long)
}

/// What an answer teaches: an address, or a target.
enum Lesson {
    Address(IpAddr),
    Target(Labels),
}

/// Returns the octets of a name on the wire.
fn wire(labels: &Labels) -> Vec<u8> {
    let labels = labels.iter().map(|label| [&[label.len() as u8][..], label].concat());
    labels.chain([vec![0]]).flatten().collect()
}

/// Types of the questions that the rules of a target are for: A, AAAA, SVCB, HTTPS.
const OF_TARGETS: [u16; 4] = [1, 28, 64, 65];

/// The name that a query asks for, its rules, and when the name has none any more.
fn asked(query: &[u8], terms: &Terms<'_>) -> (Labels, RuleMask, u64) {
    let question = labels(&Name::read(&mut BinDecoder::new(query).clone(12)).unwrap());
    let rules = match &question[..] {
        [_, .., last] => (terms.rules_below)(last),
        _ => RuleMask::EMPTY,
    };
    let end = 12 + question_length(query);
    let kind = u16::from_be_bytes([query[end - 4], query[end - 3]]);
    let inherited = terms.known.get(&(terms.key_of)(&wire(&question)));
    match inherited {
        Some((inherited, until)) if *until > terms.now && OF_TARGETS.contains(&kind) => {
            let until = if rules.is_empty() { *until } else { u64::MAX };
            (question, rules | *inherited, until)
        }
        _ => (question, rules, u64::MAX),
    }
}

/// Whether a query that the tests have made is for a name with rules.
pub fn is_listed(query: &[u8], terms: &Terms<'_>) -> bool {
    !asked(query, terms).1.is_empty()
}

/// Returns the octets of the question of a query that was found to have one.
fn question_length(query: &[u8]) -> usize {
    let mut decoder = BinDecoder::new(query).clone(12);
    Name::read(&mut decoder).unwrap();
    decoder.index() - 12 + 4
}

/// Returns the answer section that [`outcome`] reads in `answer`, which repeats the question.
pub fn section_of_answer(query: &[u8], answer: &[u8]) -> Result<Section, Refusal> {
    section(answer, 12 + question_length(query)).map(|(section, _)| section.in_full())
}

/// Returns the addresses of `question` that the kernel learns, with their times to live, and
/// whether there are more; `None` if CNAMEs lead in a circle or too far. Addresses of other names
/// take steps too.
fn resolve(
    section: Section,
    mut budget: Budget,
    question: Labels,
) -> Option<(Vec<(Lesson, u32)>, bool)> {
    let aliases = &section.aliases;
    let mut owner = &question;
    let mut followed = 0;
    while let Some(at) = aliases.iter().position(|(of, _)| of == owner) {
        budget.spend(at / COMPARED + 1).ok()?;
        owner = &aliases[at].1;
        followed += 1;
        if followed > CHAIN {
            return None;
        }
    }
    budget.spend(aliases.len().div_ceil(COMPARED)).ok()?;
    let owner = owner.clone();
    let addresses = section.addresses.into_iter();
    let mut all: Vec<_> =
        addresses.map(|(of, one, ttl)| (of == owner, (Lesson::Address(one), ttl))).collect();
    for service in section.services {
        budget.spend(2 + service.parameters).ok()?;
        if service.owner == owner {
            budget.spend(service.hints.len()).ok()?;
            let target = Some(service.target)
                .filter(|target| service.is_in_full && !target.is_empty() && *target != owner);
            let target = target.map(Lesson::Target);
            let hints = service.hints.into_iter().map(Lesson::Address);
            all.extend(target.into_iter().chain(hints).map(|one| (true, (one, service.ttl))));
        }
    }
    all.truncate(usize::from(RECORDS));
    let most = (budget.steps / STEPS_OF_ADDRESS).max(1);
    let is_long = all.len() > most;
    let most = if is_long { most.saturating_sub(WAKING).max(1) } else { most };
    let looked_at = all.into_iter().take(most);
    let counts = looked_at.filter(|(is_owner, _)| *is_owner).map(|(_, address)| address);
    Some((counts.collect(), is_long))
}
