//! The faults that are planted: each a piece of source text, and what it becomes.

/// A fault.
#[derive(Clone, Copy, Debug)]
pub struct Fault {
    /// What is wrong then.
    pub name: &'static str,
    /// The file, from the workspace's root on.
    pub file: &'static str,
    /// Text that stands there once.
    pub text: &'static str,
    /// What stands there instead.
    pub instead: &'static str,
}

const JUDGED: &str = "intune-filter-ebpf/src/verdict/judged/mod.rs";
const KEPT: &str = "intune-filter-ebpf/src/verdict/judged/kept.rs";
const QUERIES: &str = "intune-filter-ebpf/src/verdict/stream/queries.rs";
const ANSWERS: &str = "intune-filter-ebpf/src/verdict/stream/answers.rs";

/// All of them.
pub const FAULTS: &[Fault] = &[
    Fault {
        name: "urgent-ignored",
        file: JUDGED,
        text: "    if flags & (TCP_URG | TCP_SYN) != 0 {",
        instead: "    if flags & TCP_SYN != 0 {",
    },
    Fault {
        name: "second-syn",
        file: JUDGED,
        text: "    let ended = prefix.server_state == server_state::CLOSED",
        instead: "    let ended = true\n        || prefix.server_state == server_state::CLOSED",
    },
    Fault {
        name: "before-syn-ack",
        file: JUDGED,
        text: "        || prefix.server_state == server_state::SILENT\n        || !is_within(",
        instead: "        || !is_within(",
    },
    Fault {
        name: "data-in-syn",
        file: QUERIES,
        text: "numbers.flags & others != 0 || numbers.length != 0 {",
        instead: "numbers.flags & others != 0 {",
    },
    Fault {
        name: "repetition-not-compared",
        file: QUERIES,
        text: "Some(false) => Found::MISPLACED,",
        instead: "Some(false) => Found::PASSED,",
    },
    Fault {
        name: "first-octet-compared",
        file: KEPT,
        text: "let same = segment.done.get() == segment.length.get();",
        instead: "let same = segment.done.get() != 0;",
    },
    Fault {
        name: "below-the-end-passes",
        file: JUDGED,
        text: "{ Class::REPEATED } else { Class::FOREIGN }",
        instead: "{ Class::REPEATED } else if is_after(prefix.end, sequence) { Class::EMPTY } else { Class::FOREIGN }",
    },
    Fault {
        name: "past-the-end-passes",
        file: JUDGED,
        text: "{ Class::REPEATED } else { Class::FOREIGN }",
        instead: "{ Class::REPEATED } else if at < kept { Class::EMPTY } else { Class::FOREIGN }",
    },
    Fault {
        name: "acknowledgement-unsigned",
        file: JUDGED,
        text: "    if more > most.wrapping_add(1) {",
        instead: "    if number < prefix.acknowledged || more > most.wrapping_add(1) {",
    },
    Fault {
        name: "data-after-reset",
        file: JUDGED,
        text: "    if prefix.server_state == server_state::CLOSED || prefix.client_state & client_state::RESET != 0\n    {",
        instead: "    if prefix.server_state == server_state::CLOSED {",
    },
    Fault {
        name: "ahead-of-the-end",
        file: JUDGED,
        text: "    if sequence == prefix.end {",
        instead: "    if !is_after(prefix.end, sequence) {",
    },
    Fault {
        name: "cookie-shift",
        file: JUDGED,
        text: "(at < SHIFT || at > judged)",
        instead: "at > judged",
    },
    Fault {
        name: "unasked-answer",
        file: ANSWERS,
        text: "response == Response::NOT_OURS && segment.unjudged.get() == 0 {",
        instead: "response == Response::NOT_OURS && segment.unjudged.get() != 0 {",
    },
    Fault {
        name: "denied-name",
        file: QUERIES,
        text: "    if !listed && resolver::",
        instead: "    if false && !listed && resolver::",
    },
    Fault {
        name: "length-forgotten",
        file: QUERIES,
        text: "        segment.owed.set(owed);\n        return found;",
        instead: "        return found;",
    },
    Fault {
        name: "rest-unjudged",
        file: QUERIES,
        text: "        if next_message(run) != Found::WHOLE {\n            return Found::UNKNOWN;\n        }",
        instead: "        if next_message(run) != Found::WHOLE {\n            return found;\n        }",
    },
];
