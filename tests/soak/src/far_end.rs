//! Echo requests that the far end's kernel takes in and does not answer.
//!
//! The kernel sends all ICMP from one socket for each CPU, whose buffer is full while the errors of
//! a storm of packets to closed ports are on their way.

use std::fs;

use anyhow::{Context as _, Result};

use super::world::World;

/// Counters of one family: the file, and the names of requests and replies in it.
#[derive(Clone, Copy, Debug)]
struct Counted {
    file: &'static str,
    requests: &'static str,
    replies: &'static str,
}

const V4: Counted =
    Counted { file: "/proc/thread-self/net/snmp", requests: "InEchos", replies: "OutEchoReps" };
const V6: Counted = Counted {
    file: "/proc/thread-self/net/snmp6",
    requests: "Icmp6InEchos",
    replies: "Icmp6OutEchoReplies",
};

/// Echo requests of a family that have been left unanswered so far.
pub fn unanswered(world: &World, v6: bool) -> Result<u64> {
    let Counted { file, requests, replies } = if v6 { V6 } else { V4 };
    let text = world.network.internet.run(|| fs::read_to_string(file))?;
    let counter = |name| counter(&text, name).with_context(|| format!("{file} has no {name}"));
    Ok(counter(requests)?.saturating_sub(counter(replies)?))
}

/// A counter by its name: on a line of its own, or below its name in the line before.
fn counter(text: &str, name: &str) -> Option<u64> {
    let mut lines = text.lines().map(|line| line.split_whitespace().collect::<Vec<_>>());
    let mut above: Vec<&str> = Vec::new();
    lines.find_map(|words| {
        let found = match (words.as_slice(), above.iter().position(|word| *word == name)) {
            ([first, number], _) if *first == name => number.parse().ok(),
            (words, Some(at)) => words.get(at).and_then(|number| number.parse().ok()),
            _ => None,
        };
        above = words;
        found
    })
}

#[cfg(test)]
mod tests {
    use super::counter;

    #[test]
    fn counters_are_found_in_both_forms() {
        let v4 =
            "Ip: Forwarding InReceives\nIp: 1 7\nIcmp: InMsgs InEchos OutEchoReps\nIcmp: 9 5 4\n";
        assert_eq!((counter(v4, "InEchos"), counter(v4, "OutEchoReps")), (Some(5), Some(4)));
        let v6 = "Icmp6InMsgs                     \t9\nIcmp6InEchos                    \t3\n";
        assert_eq!((counter(v6, "Icmp6InEchos"), counter(v6, "none")), (Some(3), None));
    }
}
