//! Exchanges in files: query, answer, and expected outcome.
//!
//! A file has a description, a query, an answer, an outcome, and each address that is learned with
//! the seconds that it is kept:
//!
//! ```text
//! ; Text.
//! query 0007...
//! answer 0007...
//! outcome teaches
//! teaches 93.184.216.34 330
//! ```

use std::{collections::BTreeMap, fmt::Write as _, net::IpAddr};

/// Files, by their names.
pub const FILES: [(&str, &str); 1] = [(
    "service-target-points-forward",
    include_str!("../vectors/exchanges/service-target-points-forward.txt"),
)];

/// Content of a file.
#[derive(Debug, Default)]
pub struct Recorded {
    pub query: Vec<u8>,
    pub answer: Vec<u8>,
    /// Outcome, in the word of the model.
    pub outcome: String,
    /// Seconds that each address is kept.
    pub learned: BTreeMap<IpAddr, u64>,
}

/// Reads a file.
pub fn read(name: &str, file: &str) -> Recorded {
    let mut recorded = Recorded::default();
    for line in file.lines().filter(|line| !line.starts_with(';')) {
        match line.split(' ').collect::<Vec<_>>()[..] {
            ["query", hex] => recorded.query = octets(hex),
            ["answer", hex] => recorded.answer = octets(hex),
            ["outcome", outcome] => recorded.outcome = outcome.to_owned(),
            ["teaches", address, seconds] => {
                recorded.learned.insert(address.parse().unwrap(), seconds.parse().unwrap());
            }
            _ => panic!("{name}: {line}"),
        }
    }
    assert!(file.starts_with("; "), "{name} does not say what it is about");
    assert!(!recorded.query.is_empty() && !recorded.answer.is_empty(), "{name} lacks a message");
    assert_eq!(recorded.learned.is_empty(), recorded.outcome != "teaches", "{name}");
    recorded
}

/// Returns an exchange in the form of a file.
pub fn text(query: &[u8], answer: &[u8]) -> String {
    let hex = |octets: &[u8]| {
        octets.iter().fold(String::new(), |mut text, octet| {
            let _ = write!(text, "{octet:02x}");
            text
        })
    };
    format!("\nquery {}\nanswer {}\n", hex(query), hex(answer))
}

fn octets(hex: &str) -> Vec<u8> {
    let (pairs, rest) = hex.as_bytes().as_chunks::<2>();
    assert!(rest.is_empty(), "{hex} has an even number of digits");
    let octet = |pair: &[u8; 2]| u8::from_str_radix(str::from_utf8(pair).unwrap(), 16).unwrap();
    pairs.iter().map(octet).collect()
}
