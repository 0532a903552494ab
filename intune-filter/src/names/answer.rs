//! Which addresses a DNS answer gives to the name that it was asked for.
//!
//! The kernel has read the same message before, and has learned or refused what is in it. This
//! reading only finds the name again.

use std::net::IpAddr;

use hickory_proto::{
    op::Message,
    rr::{Name, RData},
};

/// What an answer says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// The question's name, in lower case and without a trailing dot.
    pub name: String,
    /// Addresses that it led to, along CNAMEs, with their time to live in seconds.
    pub addresses: Vec<(IpAddr, u32)>,
}

/// Reads an answer; `None` if it does not parse or asks not exactly one question.
#[must_use]
pub fn read(message: &[u8]) -> Option<Answer> {
    let message = Message::from_vec(message).ok()?;
    let [question] = &message.queries[..] else { return None };
    let mut owners = vec![question.name().to_lowercase()];
    // A CNAME may stand behind the one that it leads to; each pass follows one more at least.
    loop {
        let known = owners.len();
        for record in &message.answers {
            if let RData::CNAME(target) = &record.data
                && owners.contains(&record.name.to_lowercase())
                && !owners.contains(&target.0.to_lowercase())
            {
                owners.push(target.0.to_lowercase());
            }
        }
        if owners.len() == known {
            break;
        }
    }
    let addresses = message.answers.iter().filter_map(|record| {
        let address = match &record.data {
            RData::A(v4) => IpAddr::V4(v4.0),
            RData::AAAA(v6) => IpAddr::V6(v6.0),
            _ => return None,
        };
        owners.contains(&record.name.to_lowercase()).then_some((address, record.ttl))
    });
    Some(Answer { name: text_of(question.name()), addresses: addresses.collect() })
}

fn text_of(name: &Name) -> String {
    let mut name = name.clone();
    name.set_fqdn(false);
    name.to_lowercase().to_ascii()
}

#[cfg(test)]
mod tests {
    use hickory_proto::{
        op::{MessageType, OpCode, Query},
        rr::{
            Record, RecordType,
            rdata::{A, CNAME},
        },
    };

    use super::*;

    fn name(text: &str) -> Name {
        Name::from_ascii(text).unwrap()
    }

    fn message(records: Vec<Record>) -> Vec<u8> {
        let mut message = Message::new(7, MessageType::Response, OpCode::Query);
        message.add_query(Query::query(name("WWW.Example."), RecordType::A));
        message.add_answers(records);
        message.to_vec().unwrap()
    }

    fn cname(owner: &str, target: &str) -> Record {
        Record::from_rdata(name(owner), 60, RData::CNAME(CNAME(name(target))))
    }

    fn a(owner: &str, last: u8) -> Record {
        Record::from_rdata(name(owner), 300, RData::A(A::new(192, 0, 2, last)))
    }

    #[test]
    fn addresses_count_under_the_chain_of_the_questions_name_alone() {
        let answer = read(&message(vec![
            cname("b.example.", "C.example."),
            a("c.EXAMPLE.", 1),
            cname("www.example.", "b.example."),
            a("other.example.", 2),
        ]))
        .unwrap();
        assert_eq!(answer.name, "www.example");
        assert_eq!(answer.addresses, [("192.0.2.1".parse().unwrap(), 300)]);
    }

    #[test]
    fn a_loop_of_cnames_ends() {
        let answer = read(&message(vec![
            cname("www.example.", "b.example."),
            cname("b.example.", "www.example."),
        ]))
        .unwrap();
        assert!(answer.addresses.is_empty());
    }

    #[test]
    fn what_is_no_message_is_none() {
        assert_eq!(read(&[]), None);
        assert_eq!(read(&[0; 12]), None);
        let whole = message(vec![a("www.example.", 1)]);
        assert_eq!(read(&whole[..whole.len() - 1]), None);
    }
}
