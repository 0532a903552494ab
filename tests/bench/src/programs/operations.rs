//! The operations that packets' ways through the filter are made of, each a program in an object
//! that works in the filter's own maps.

use anyhow::{Context as _, Result};
use aya::{
    Ebpf, EbpfLoader,
    programs::{ProgramFd, Xdp},
};
use intune_filter::kernel::Pins;

use super::packets::Kind;
use crate::object;
use intune_filter_tests::pins;

/// Something that the filter does.
#[derive(Clone, Copy, Debug)]
pub struct Operation {
    /// The program that does it.
    pub program: &'static str,
    /// The program that does what it needs beforehand, and nothing else.
    pub base: &'static str,
    /// Repetitions in the program.
    pub repeated: u32,
    /// Name of the operation.
    pub name: &'static str,
}

/// The program that does nothing: it belongs to the object of the floors.
pub const EMPTY: &str = "empty";
/// The program that fills the ring.
pub const RECORD: &str = "record";

const fn once(program: &'static str, name: &'static str) -> Operation {
    Operation { program, base: "read", repeated: 1, name }
}

const fn after(base: &'static str, program: &'static str, name: &'static str) -> Operation {
    Operation { program, base, repeated: 1, name }
}

/// An operation that is repeated, being short.
const fn often(program: &'static str, name: &'static str) -> Operation {
    Operation { program, base: "read", repeated: 8, name }
}

const USUAL: Operation = after(EMPTY, "usual", "read headers that are as usual");
const UNUSUAL: Operation = after(EMPTY, "unusual", "read headers, find a SYN");
const READ: Operation =
    after(EMPTY, "read", "claim the working memory, read all headers into it, policy in force");
const ZONE: Operation = often("zone", "zone of the interface (array)");
const POLICY: Operation = often("active", "policy in force (array)");
const SWITCHES: Operation = often("settings", "the policy's switches (array)");
const NOW: Operation = often("now", "time (bpf_ktime_get_boot_ns)");
const TICK: Operation = often("tick", "time of the last tick (jiffies, array)");
const LENGTH: Operation = often("length", "frame's length (bpf_xdp_get_buff_len)");
const FLOW: Operation = once("note", "find the flow, and count in it (LRU hash)");
const NO_FLOW: Operation = once("no_flow", "find no answered flow (LRU hash)");
const NO_NEW_FLOW: Operation = once("no_new_flow", "find no new flow (LRU hash)");
const NOT_OWN: Operation = once("own", "not an address of the gateway (hash)");
const CLIENT: Operation = once("client", "client's group (trie in an array)");
const NETWORK: Operation = once("network", "destination among CIDRs (trie in an array)");
const NO_NETWORK: Operation = once("no_network", "destination not among CIDRs (trie in an array)");
const HOST: Operation = once("host", "destination among learned addresses (hash)");
const NO_HOST: Operation = once("no_host", "destination not among learned addresses (hash)");
const PORT: Operation = often("port", "port's rules (array in an array)");
const ROUTES: Operation = once("routes", "not for the gateway (bpf_fib_lookup)");
const BACK: Operation =
    once("back", "route back to the source, with its neighbour (bpf_fib_lookup)");
const BELIEVED: Operation = once("believed", "sender is proven, as a moment ago (arrays)");
const OPEN: Operation = after("no_new_flow", "open", "insert the flow (LRU hash)");
const ALLOWANCE: Operation = often("allowance", "no record, there are too many (per-CPU arrays)");
const RECORDED: Operation = once(RECORD, "record in the ring, for 1000 packets a second at most");
const COUNT: Operation = often("count", "count the packet (per-CPU array)");
const COUNT_RULE: Operation = often("count_rule", "count for its rule (per-CPU array)");

/// Operations of the filter at XDP for a packet from a client, and their number, where nothing
/// limits the client's flows.
pub fn of(kind: Kind) -> Vec<(Operation, u32)> {
    const KNOWN: [(Operation, u32); 8] = [
        (ZONE, 1),
        (USUAL, 1),
        (POLICY, 1),
        (FLOW, 1),
        (TICK, 1),
        (LENGTH, 1),
        (COUNT, 1),
        (COUNT_RULE, 1),
    ];
    const OPENED: [(Operation, u32); 4] = [(BELIEVED, 1), (BACK, 0), (PORT, 1), (OPEN, 1)];
    match kind {
        Kind::Established => KNOWN.into(),
        Kind::ToNetwork => judged(NETWORK, NO_HOST, &OPENED, &[(COUNT_RULE, 1)]),
        Kind::ToName => judged(NO_NETWORK, HOST, &OPENED, &[(COUNT_RULE, 1)]),
        Kind::Denied | Kind::Rejected => {
            judged(NO_NETWORK, NO_HOST, &[(PORT, 1), (ROUTES, 1)], &[])
        }
    }
}

/// The way of a packet of no known flow, by the lookups of its destination, what follows from them,
/// and what is counted but the packet.
fn judged(
    network: Operation,
    host: Operation,
    then: &[(Operation, u32)],
    counted: &[(Operation, u32)],
) -> Vec<(Operation, u32)> {
    let before = [
        (ZONE, 1),
        (UNUSUAL, 1),
        (READ, 1),
        (NOW, 1),
        (NO_FLOW, 1),
        (NO_NEW_FLOW, 1),
        (SWITCHES, 3),
        (NOT_OWN, 1),
        (CLIENT, 1),
        (network, 1),
        (host, 1),
    ];
    let after = [(ALLOWANCE, 1), (RECORDED, 0), (LENGTH, 1), (COUNT, 1)];
    [&before, then, &after, counted].concat()
}

/// The loaded object.
pub struct Operations {
    ebpf: Ebpf,
}

impl Operations {
    /// Loads the programs, with the filter's maps.
    pub fn load(filter: &Pins) -> Result<Self> {
        let paths = pins::pins(&filter.directory().maps(), "maps")?;
        let mut loader = EbpfLoader::new();
        for path in &paths {
            let name = path.file_name().and_then(|name| name.to_str());
            loader.map_pin_path(name.context("a map has a name")?, path.as_path());
        }
        let mut ebpf = object::load(&mut loader, object::MICRO)?;
        for (_, program) in ebpf.programs_mut() {
            let program: &mut Xdp = program.try_into()?;
            program.load()?;
        }
        Ok(Self { ebpf })
    }

    /// The descriptor of a program.
    pub fn descriptor(&self, name: &str) -> Result<&ProgramFd> {
        let program = self.ebpf.program(name);
        let program: &Xdp =
            program.with_context(|| format!("the object has no program {name}"))?.try_into()?;
        Ok(program.fd()?)
    }
}
