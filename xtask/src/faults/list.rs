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

/// All of them.
pub const FAULTS: &[Fault] = &[
    Fault {
        name: "syn-with-data",
        file: "intune-filter-ebpf/src/verdict/stream/queries.rs",
        text: "        if flags & (TCP_ACK | TCP_FIN | TCP_RST) != 0 || length != 0 {\n",
        instead: "        if flags & (TCP_ACK | TCP_FIN | TCP_RST) != 0 {\n",
    },
    Fault {
        name: "repetition-not-compared",
        file: "intune-filter-ebpf/src/verdict/stream/queries.rs",
        text: "        return if hash == segment.hash.get() { PASSED } else { UNKNOWN };\n",
        instead: "        return PASSED;\n",
    },
    Fault {
        name: "data-before-syn-ack",
        file: "intune-filter-ebpf/src/verdict/stream/queries.rs",
        text: "        if stream.flags & stream_flags::ESTABLISHED == 0 || length > QUERIES_MAX {\n",
        instead: "        if length > QUERIES_MAX {\n",
    },
];
