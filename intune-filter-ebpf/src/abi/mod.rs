//! Layouts of the maps that kernel and userspace share.
//!
//! Every type is `repr(C)` and without padding, and its size is asserted. A change of any layout is
//! a change of [`LAYOUT_VERSION`], which is part of the pins' path, so that a program never meets a
//! pin of another layout. Integers are in the byte order of the host unless a field says otherwise;
//! addresses are always in network byte order.

mod address;
mod answer;
mod event;
mod explain;
mod host;
mod host_count;
pub(crate) mod limit;
mod names;
mod policy;
mod protocol;
mod reason;
mod rule_mask;
mod state;
mod stream;
mod target;

pub use address::{Address, V4, V6};
pub use answer::{ANSWER_ACCEPTED, answer_in_nat64, nat64_length};
pub use event::{
    ANSWER_CAPACITY, AnswerEvent, DeniedEvent, ENDINGS, Ending, EventKind, FlowEvent,
    QUESTION_CAPACITY, QueryEvent, QueryHead, SegmentEvent, answer_flags,
};
pub use explain::{Explanation, Matched};
pub use host::{Host, HostUpdate, Operation, UpdateStatus};
pub use host_count::{
    COUNT_ALL, COUNT_ROOM, HOST_COUNTS, HOST_OWNERS, count_of_client, count_of_rule, host_count,
    host_owner, is_of_gateway, may_insert,
};
pub use limit::{
    LIMIT_ADDRESS, LIMIT_FLOWS, LIMIT_FRAGMENTS, LIMIT_INBOUND, LIMIT_INBOUND_FRAGMENTS,
    LIMIT_KINDS, LIMIT_MAC, LIMIT_PROVEN, LIMIT_QUERIES, LIMIT_ROUTED, LIMIT_SHARES, LIMIT_STREAMS,
    LIMIT_SUBNET, LIMIT_SUBNET_CLIENTS, LIMIT_TOLD, LIMIT_TOLD_DENIALS, LIMIT_TOLD_QUERIES,
    LIMIT_WAYS, LIMIT_ZONE, Limit, LimitKey, LimitSet, Limits, PROVEN_FOR, Taking, limit_sets,
};
pub use names::{
    CHUNK, EdgeKey, Glob, LABEL_MAX, MATCH_STEPS, NameNode, ROOT, chunks_of, lower, name_marks,
};
pub use policy::{
    Client, ClientKey, DEVICE_LAYER3, DeviceZone, GATEWAY_PASS, GATEWAY_POLICY, GATEWAY_PORTS,
    GATEWAY_WORDS, MODE_AUDIT, MODE_ENFORCE, MODE_EXEMPT, MacKey, OwnKey, PORT_CLASSES, PORT_WORDS,
    PORTS, ResolverDevice, SERVER_DHCP, SERVER_RESOLVER, SERVER_VIA, SOURCE_CHECK_ELEMENTS,
    Settings, TITLE_CAPACITY, Title, UNLISTED_DROP, UNLISTED_FORWARD, UNLISTED_NXDOMAIN,
    UNLISTED_REFUSE, ZONE_ELEMENTS, ZONES_OF_DEVICE, ZoneKey, client_flags, gateway_port,
    inbound_zone, port_class, port_class_at, port_index, sender, source_check,
};
pub use protocol::{TransportProtocol, has_ports};
pub use reason::{
    COUNTER_ELEMENTS, Counted, DENIALS, FIRST_DENIAL, OCCURRENCE_COUNTERS, OCCURRENCES, Occurrence,
    REASONS, Reason,
};
pub(crate) use rule_mask::trailing_zeros;
pub use rule_mask::{NO_RULE, RULE_WORDS, RuleMask};
pub use state::{
    Active, Asked, Counter, Flow, FlowKey, FragmentKey, FragmentVerdict, GroupCounter, Pending,
    PendingKey, RuleCounter, Standing, flow_flags, group_base, group_counter,
};
pub use stream::{
    JudgedPrefix, KEPT_CAPACITY, KEPT_SLOTS, KeptOctets, Stream, StreamRead, client_state,
    server_state, stream_flags,
};

/// Version of everything in this module; a part of the pins' path.
pub const LAYOUT_VERSION: u32 = 10;

/// Number of elements of `IFINDEX_ZONE`: interfaces with an index beyond are in `ZONES` alone.
pub const IFINDEX_ZONE: usize = 4096;

/// Rules in force at most: each has one bit in a [`RuleMask`].
pub const RULES: usize = 192;

/// Maximum number of groups in force.
pub const GROUPS: usize = 255;

/// Number of elements of `GROUP_COUNTERS` at most: as many for each slot, and for what was before.
pub const GROUP_COUNTERS: u32 = 4 * (GROUPS as u32 + 1);

/// Asserts the size of a layout, and that it has no padding: the sizes of its fields add up.
macro_rules! layout {
    ($type:ty, $size:expr, $($field:ty),+ $(,)?) => {
        const _: () = {
            assert!(size_of::<$type>() == $size);
            assert!(0 $(+ size_of::<$field>())+ == $size);
        };
        #[cfg(feature = "user")]
        // SAFETY: repr(C), every bit pattern is valid, and the assertion above leaves no padding.
        unsafe impl aya::Pod for $type {}
    };
}
pub(crate) use layout;
