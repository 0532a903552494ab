//! Operations of the filter on packets, one at a time. A prerequisite of an operation is an
//! operation too, whose time is subtracted.

use core::marker::PhantomData;

use aya_ebpf::{bindings::BPF_ANY, btf_maps::Array, macros::btf_map};
use intune_filter_ebpf::{
    abi::{self, FlowEvent, FlowKey, Reason, V4, V6, flow_flags, port_index},
    bpf::{
        self,
        frame::XdpFrame,
        kernel::{BpfDatapath, XDP},
    },
    datapath::{
        self, ClientMaps, Clock as _, Counters as _, DatapathOf, FlowMaps as _, GatewayMaps as _,
        HostMaps as _, NANOS_PER_SEC, PolicyMaps as _, Reports as _, RuleEvent,
    },
    packet::{Packet as _, TCP},
    scratch::{self, AllowanceKind, Scratch},
    verdict,
};

/// A packet whose headers were read.
pub struct At<'p, A> {
    pub kernel: BpfDatapath<XDP>,
    pub packet: &'p XdpFrame,
    pub scratch: &'p Scratch,
    pub ifindex: u32,
    /// The index of the maps of the policy in force.
    pub set: u32,
    /// Of its flow.
    pub key: FlowKey<A>,
}

/// A thing that the filter does.
pub trait Operation {
    /// Does it; whether it comes to what it is to.
    fn perform<A: Family>(at: &At<'_, A>) -> bool
    where
        BpfDatapath<XDP>: DatapathOf<A>;
}

/// Maps of an address family, by themselves.
pub trait Family: scratch::Family {
    /// Puts in a flow that is not answered; whether there was room.
    fn insert(key: &FlowKey<Self>, flow: &abi::Flow) -> bool;
}

macro_rules! family {
    ($address:ty, $new_flows:ident) => {
        impl Family for $address {
            #[inline(always)]
            fn insert(key: &FlowKey<Self>, flow: &abi::Flow) -> bool {
                bpf::$new_flows.insert(key, flow, u64::from(BPF_ANY)).is_ok()
            }
        }
    };
}

family!(V4, NEW_FLOWS4);
family!(V6, NEW_FLOWS6);

macro_rules! operations {
    ($($(#[$meta:meta])* $name:ty $(, const $parameter:ident)?: $at:ident => $body:expr;)*) => {
        $(
            impl $(<const $parameter: bool>)? Operation for $name {
                #[inline(always)]
                fn perform<A: Family>($at: &At<'_, A>) -> bool
                where
                    BpfDatapath<XDP>: DatapathOf<A>,
                {
                    $body
                }
            }
        )*
    };
}

/// To do the same eight times: for what takes so little that it could not be told from noise, and
/// finds the same in the caches every time.
pub struct Often<O>(PhantomData<O>);

impl<O: Operation> Operation for Often<O> {
    #[inline(always)]
    fn perform<A: Family>(at: &At<'_, A>) -> bool
    where
        BpfDatapath<XDP>: DatapathOf<A>,
    {
        let four = || O::perform(at) && O::perform(at) && O::perform(at) && O::perform(at);
        four() && four()
    }
}

/// Nothing but what every other one does beforehand.
pub struct Nothing;
/// To look the zone up.
pub struct Zone;
/// To look up which policy is in force.
pub struct Policy;
/// To look the policy's switches up.
pub struct Switches;
/// To ask for the time.
pub struct Now;
/// To look up the time of the system's tick.
pub struct Tick;
/// To ask for the frame's length.
pub struct Length;
/// To find an answered flow, and to count in it.
pub struct Note;
/// To find no answered flow.
pub struct NoFlow;
/// To find no flow that is not answered.
pub struct NoNewFlow;
/// To find that the destination is not the gateway.
pub struct NotOwn;
/// To find the client's group.
pub struct Client;
/// To find the destination's network, or none.
pub struct Network<const FOUND: bool>;
/// To find the destination among learned addresses, or not to.
pub struct Host<const FOUND: bool>;
/// To look the port's rules up.
pub struct Port;
/// To have the routes say that the packet is to be forwarded.
pub struct Routes;
/// To have the routes say that the source is where the packet is from.
pub struct Back;
/// To believe the sender, as a moment ago.
pub struct Believed;
/// To put in a flow that was not found among those that are not answered.
pub struct Open;
/// To make no record, since there are too many.
pub struct Allowance;
/// To make a record.
pub struct Record;
/// To count a packet.
pub struct Count;
/// To count a packet for its rule.
pub struct CountRule;

operations! {
    Nothing: _at => true;
    // Compared as an option, the number would be a register that nobody has written.
    Zone: at => at.kernel.zone(at.ifindex, 0).unwrap_or_default() == at.key.zone;
    Policy: at => at.kernel.active().is_some();
    Switches: at => {
        let settings = at.kernel.settings(at.set);
        settings.is_some_and(|settings| settings.to_gateway == abi::GATEWAY_PASS)
    };
    Now: at => at.kernel.now() != 0;
    Tick: at => at.kernel.tick() != 0;
    Length: at => at.packet.length() != 0;
    Note: at => {
        // SAFETY: the headers were read in this run.
        let length = u64::from(unsafe { (*A::datagram(at.scratch)).length });
        let noted = at.kernel.flow(&at.key, |flow| {
            let answered = is_answered(flow);
            flow.client_packets += 1;
            flow.client_bytes += length;
            answered
        });
        noted == Some(true)
    };
    NoFlow: at => at.kernel.flow(&at.key, is_answered).is_none();
    NoNewFlow: at => at.kernel.new_flow(&at.key, is_answered).is_none();
    NotOwn: at => {
        // SAFETY: the headers were read in this run.
        !at.kernel.is_own(unsafe { &*at.scratch.headers.destination.get() })
    };
    Client: at => {
        let (zone, source) = (at.key.zone, &at.key.client);
        let client = ClientMaps::<A>::client(at.kernel, at.scratch, at.set, zone, source);
        client.is_some() && !at.scratch.ctx.client_rules.is_empty()
    };
    Network<FOUND>, const FOUND: at => {
        let rules = &at.scratch.ctx.network_rules;
        ClientMaps::<A>::networks(at.kernel, at.scratch, at.set, &at.key.remote, rules);
        rules.is_empty() != FOUND
    };
    Host<FOUND>, const FOUND: at => {
        let rules = &at.scratch.ctx.learned_rules;
        let expires = at.kernel.host(&at.key.remote, rules);
        (expires != 0 && !rules.is_empty()) == FOUND
    };
    Port: at => {
        let index = port_index(TCP, u16::from_be(at.key.remote_port));
        let rules = &at.scratch.ctx.port_rules;
        at.kernel.port(at.set, index, rules);
        !rules.is_empty()
    };
    Routes: at => {
        // SAFETY: the headers were read in this run, and the working memory is its own.
        unsafe { at.scratch.ctx.route_to.get().write(*at.scratch.headers.destination.get()) };
        at.kernel.route(at.scratch, at.ifindex, datapath::Routes::All)
            != datapath::Route::NOT_FORWARDED
    };
    Back: at => {
        // SAFETY: as above.
        unsafe {
            at.scratch.ctx.route_to.get().write(*at.scratch.headers.source.get());
            at.scratch.ctx.route_from.get().write(V6::default());
        }
        at.kernel.route(at.scratch, at.ifindex, datapath::Routes::All)
            == datapath::Route::to(at.ifindex)
    };
    Believed: at => {
        let Some(header) = at.packet.at::<12>(0) else { return false };
        let [.., a, b, c, d, e, f] = *header;
        let ctx = &at.scratch.ctx;
        ctx.zone.set(at.key.zone.into());
        ctx.generation.set(at.set.into());
        ctx.client_mac.set(u64::from_ne_bytes([a, b, c, d, e, f, 0, 0]));
        ctx.now.set(at.kernel.tick());
        ctx.sender.set(0);
        verdict::is_believed(at.scratch, at.kernel, 0)
    };
    Open: at => {
        let flow = abi::Flow { client_packets: 1, ..abi::Flow::default() };
        at.kernel.new_flow(&at.key, is_answered).is_none() && A::insert(&at.key, &flow)
    };
    Allowance: at => {
        // A time at which nothing is due.
        at.kernel.allowance(AllowanceKind::Denials, 1) != u64::MAX
    };
    Record: at => {
        let Some(number) = RECORDS.get_ptr_mut(0) else {
            return false;
        };
        // SAFETY: one test run at a time uses the map.
        let number = unsafe {
            *number += 1;
            *number
        };
        // Far enough after the one before.
        let time = number * (NANOS_PER_SEC / 1000);
        at.kernel.report_flow(time, || record(at, time));
        true
    };
    Count: at => {
        at.kernel.count(Reason::Flow, 1, 60);
        true
    };
    CountRule: at => {
        at.kernel.count_rule(0, RuleEvent::Packet, 1, 60);
        true
    };
}

/// Number of records that were made.
#[btf_map]
pub static RECORDS: Array<u64, 1> = Array::new();

#[inline(always)]
fn is_answered(flow: &mut abi::Flow) -> bool {
    flow.flags & flow_flags::ANSWERED != 0 && flow.last_seen != 0 && flow.generation != 0
}

#[inline(always)]
fn record<A: Family>(at: &At<'_, A>, time: u64) -> FlowEvent {
    FlowEvent {
        kind: abi::EventKind::Opened as u32,
        reserved: 0,
        time,
        flow: abi::Flow {
            opened: time,
            last_seen: time,
            client_packets: 1,
            ..abi::Flow::default()
        },
        client: at.key.client.wide(),
        remote: at.key.remote.wide(),
        client_port: at.key.client_port,
        remote_port: at.key.remote_port,
        zone: at.key.zone,
        protocol: at.key.protocol,
        ending: 0,
    }
}
