//! Text of the layouts. A field that is missing here, or not there any more, does not compile.

use core::mem::offset_of;
use std::{any::type_name, fmt::Write as _};

use intune_filter_ebpf::abi::{
    Active, AnswerEvent, Asked, Client, ClientKey, Counter, DeniedEvent, DeviceZone, EdgeKey, Flow,
    FlowEvent, FlowKey, FragmentKey, FragmentVerdict, Glob, GroupCounter, Host, HostUpdate,
    JudgedPrefix, KeptOctets, Limit, LimitKey, LimitSet, Limits, MacKey, NameNode, OwnKey, Pending,
    PendingKey, QueryEvent, QueryHead, ResolverDevice, RuleCounter, RuleMask, SegmentEvent,
    Settings, Stream, StreamRead, Taking, Title, V4, V6, ZoneKey,
};

/// Returns the name of a type without its modules.
fn short(name: &str) -> String {
    let is_path = |letter: char| letter.is_alphanumeric() || letter == '_' || letter == ':';
    let parts = name.split_inclusive(|letter| !is_path(letter));
    parts.map(|part| part.rsplit("::").next().unwrap_or(part)).collect()
}

fn type_of<S, T>(_: fn(&S) -> &T) -> String {
    short(type_name::<T>())
}

macro_rules! layouts {
    ($($name:ident $(<$argument:ident>)? { $($field:tt),+ $(,)? };)+) => {
        /// Returns every layout as text: its size, and offset, name and type of each field.
        pub fn text() -> String {
            let mut text = String::new();
            $({
                type Layout = $name $(<$argument>)?;
                // Every field is named.
                let _ = |layout: Layout| { let $name { $($field: _),+ } = layout; };
                let _ = writeln!(text, "\n{}: {}", short(type_name::<Layout>()), size_of::<Layout>());
                $(
                    let kind = type_of::<Layout, _>(|layout| &layout.$field);
                    let offset = offset_of!(Layout, $field);
                    let _ = writeln!(text, "  {offset} {}: {kind}", stringify!($field));
                )+
            })+
            text
        }

        /// Names of the layouts.
        pub const NAMES: &[&str] = &[$(stringify!($name)),+];
    };
}

layouts! {
    V4 { 0 };
    V6 { 0 };
    RuleMask { 0 };
    DeniedEvent {
        kind, ifindex, time, rules, source, destination, source_port, destination_port,
        zone, group, protocol, reason, audited, egress, vlan
    };
    QueryHead {
        kind, zone, group, time, client, resolver, client_port, protocol, reason, audited, reserved
    };
    QueryEvent { head, question };
    AnswerEvent { kind, length, time, rules, client, flags, zone, reserved };
    FlowEvent {
        kind, reserved, time, flow, client, remote, client_port, remote_port, zone,
        protocol, ending
    };
    SegmentEvent {
        kind, length, opened, client, resolver, sequence, answer_next, port, zone, reserved
    };
    Host { version, rules, expires, owner };
    HostUpdate { address, operation, family, expected, host };
    LimitKey { zone, bits, address, mac };
    Limits { due };
    LimitSet { owners, limits };
    Taking { key, kind, interval, window, now, horizon, sets };
    Limit { interval, window };
    EdgeKey { parent, length, chunk, octets };
    NameNode { id, first_glob, globs, inner, edges, marks, exact, below, under };
    Glob { node, prefix_length, suffix_length, prefix, suffix };
    ZoneKey { ifindex, vlan };
    ClientKey<V4> { zone, address };
    ClientKey<V6> { zone, address };
    Client { rules, group, mode, flags, devices };
    MacKey { mac, group };
    OwnKey { device, address };
    ResolverDevice { device, resolver };
    DeviceZone { device, nth };
    Settings {
        dns_unlisted, allow_unlisted_clients, to_gateway, icmp_echo, ttl_min, ttl_max,
        ttl_grace, limit_sets, deny_other_vlans, nat64, root, warm_up_until, warm_up_rules,
        outbound_rules, limit_queries, limit_flows, zone_queries, zone_flows, mac_queries, mac_flows
    };
    Title { text };
    Active { generation, reserved, seed };
    FlowKey<V4> { zone, protocol, reserved, client_port, remote_port, client, remote };
    FlowKey<V6> { zone, protocol, reserved, client_port, remote_port, client, remote };
    Flow {
        opened, last_seen, client_packets, client_bytes, remote_packets, remote_bytes,
        client_end, client_acknowledged, remote_end, remote_acknowledged, generation, far_zone,
        flags, rule, group, client_mac, name_state
    };
    PendingKey { zone, port, id, protocol, client, resolver };
    Asked { question, times, answers, digests };
    Pending { asked, questions };
    FragmentKey { zone, protocol, id, source, destination };
    FragmentVerdict { seen, headers, allowed, rule, group, audited, sender };
    Counter { packets, bytes };
    RuleCounter { packets, bytes, flows, denied, audited };
    GroupCounter { denied, audited };
    JudgedPrefix {
        end, kept, acknowledged, server_begin, server_end, server_acknowledged,
        client_state, server_state
    };
    KeptOctets { owner, octets };
    Stream {
        opened, last_seen, punted, claimed, prefix, query_owed, asked, answered,
        answer_next, answer_end, flags
    };
    StreamRead { opened, answer_next, answered };
}
