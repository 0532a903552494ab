//! Rules of a packet: those of its client, its destination and its port, and what they have in common.
//!
//! Functions of their own in the kernel: the verifier goes over them once, and takes what they return
//! for one case.

use crate::{
    abi::{
        ANSWER_ACCEPTED, Address as _, Matched, NO_RULE, RULE_WORDS, Reason, RuleMask, V4, V6,
        nat64_length,
    },
    datapath::{ClientMaps, Datapath, DatapathOf, DualStack, HostMaps, RuleMatch},
    memory::RuleCell,
    scratch::{Family, Scratch},
};

/// In place of a [`crate::abi::port_index`]: every rule has it.
pub(super) const ANY_PORT: u64 = u64::MAX;

/// Looks up whether a rule allows the packet in the working memory, whose client's rules are there, to
/// a port. Leaves there the rules that do, or else those whose destination it is.
#[inline(always)]
pub fn match_rules<W: DualStack>(scratch: &Scratch, datapath: W, v6: bool, port: u64) -> RuleMatch {
    if v6 {
        match_rules_of::<V6, W>(scratch, datapath, port)
    } else {
        match_rules_of::<V4, W>(scratch, datapath, port)
    }
}

#[inline(always)]
fn match_rules_of<A: Family, W: DualStack + DatapathOf<A>>(
    scratch: &Scratch,
    datapath: W,
    port: u64,
) -> RuleMatch {
    let ctx = &scratch.ctx;
    let set = ctx.generation.get() as u32 & 1;
    // SAFETY: the headers were read, and the scratch memory is this run's alone.
    let destination = unsafe { &(*A::datagram(scratch)).destination };
    put_address(scratch, datapath, set, destination);
    if A::BITS == V6::BITS {
        add_within_nat64(scratch, datapath, set);
    }
    put_port(scratch, datapath, set, port);

    let of_destination = |word| ctx.network_rules.word(word) | ctx.learned_rules.word(word);
    let granted = |word| of_destination(word) & ctx.client_rules.word(word);
    let allowed = |word| granted(word) & ctx.port_rules.word(word);
    let expired = |word| expired_rules(scratch).word(word);
    if put(scratch, allowed) != 0 {
        let (rule, by_network) = ctx.rules.lowest_and_whether_in(&ctx.network_rules);
        let matched = if by_network { Matched::Cidr } else { Matched::Name };
        return RuleMatch { reason: Reason::Policy, rule, matched, may_be_tried: false };
    }
    let reason = if put(scratch, granted) != 0 {
        Reason::Port
    } else if put(scratch, |word| of_destination(word) & outbound(scratch, datapath, word)) != 0 {
        Reason::Service
    } else if put(scratch, expired) != 0 {
        Reason::Expired
    } else {
        Reason::Destination
    };
    let is_unknown = matches!(reason, Reason::Expired | Reason::Destination);
    RuleMatch {
        reason,
        rule: ctx.rules.lowest(),
        matched: Matched::Nothing,
        may_be_tried: is_unknown && may_be_tried::<A, W>(scratch, datapath, set, destination),
    }
}

/// Puts the rules of an address where they are looked for: those of its networks, and of the names that led
/// to it.
#[inline(always)]
fn put_address<A: Family, W: DatapathOf<A>>(scratch: &Scratch, datapath: W, set: u32, address: &A) {
    let ctx = &scratch.ctx;
    ClientMaps::<A>::networks(datapath, scratch, set, address, &ctx.network_rules);
    let expires = HostMaps::<A>::host(datapath, address, &ctx.rules);
    ctx.learned_rules.clear();
    expired_rules(scratch).clear();
    add_learned(scratch, expires);
}

/// Looks up whether a rule lets the packet in the working memory in, to a port of the client whose rules
/// for that are there: the sender is a destination of the rule.
#[inline(always)]
pub fn match_sender<W: DualStack>(
    scratch: &Scratch,
    datapath: W,
    v6: bool,
    port: u64,
) -> RuleMatch {
    let ctx = &scratch.ctx;
    let set = ctx.generation.get() as u32 & 1;
    // SAFETY: the headers of the family were read, and the scratch memory is this run's alone.
    unsafe {
        if v6 {
            put_address(scratch, datapath, set, &(*V6::datagram(scratch)).source);
        } else {
            put_address(scratch, datapath, set, &(*V4::datagram(scratch)).source);
        }
    }
    put_port(scratch, datapath, set, port);
    let of_sender = |word| ctx.network_rules.word(word) | ctx.learned_rules.word(word);
    let lets = |word| of_sender(word) & ctx.client_rules.word(word) & ctx.port_rules.word(word);
    if put(scratch, lets) == 0 {
        return RuleMatch { reason: Reason::Unsolicited, ..RuleMatch::UNTOLD };
    }
    let (rule, by_network) = ctx.rules.lowest_and_whether_in(&ctx.network_rules);
    let matched = if by_network { Matched::Cidr } else { Matched::Name };
    RuleMatch { reason: Reason::Inbound, rule, matched, may_be_tried: false }
}

/// A word of the rules by which clients may send.
#[inline(always)]
#[expect(clippy::indexing_slicing, reason = "as many words as a mask has")]
fn outbound<W: Datapath>(scratch: &Scratch, datapath: W, word: usize) -> u64 {
    let set = scratch.ctx.generation.get() as u32 & 1;
    datapath.settings(set).map_or(0, |settings| settings.outbound_rules.0[word])
}

/// Place of the rules of names whose time is over: the matcher's, since what goes by rules asks for no
/// name.
#[inline(always)]
const fn expired_rules(scratch: &Scratch) -> &RuleCell {
    &scratch.matcher.under
}

/// Adds the rules of a learned address, which are where a verdict will have its own, to those that hold
/// or to those whose time is over.
#[inline(always)]
fn add_learned(scratch: &Scratch, expires: u64) {
    let ctx = &scratch.ctx;
    let live = if expires > ctx.now.get() { u64::MAX } else { 0 };
    for word in 0..RULE_WORDS {
        let rules = ctx.rules.word(word);
        ctx.learned_rules.set_word(word, ctx.learned_rules.word(word) | rules & live);
        expired_rules(scratch).set_word(word, expired_rules(scratch).word(word) | rules & !live);
    }
}

/// Adds the rules of the learned IPv4 address that the packet's destination reaches by NAT64, unless a
/// DNS answer may not contain the destination.
#[inline(always)]
fn add_within_nat64<W: DualStack>(scratch: &Scratch, datapath: W, set: u32) {
    if datapath.settings(set).is_none_or(|settings| settings.nat64 == 0) {
        return;
    }
    // SAFETY: the headers were read, and the scratch memory is this run's alone.
    let (destination, v4) =
        unsafe { (&(*V6::datagram(scratch)).destination, &mut *scratch.ctx.address4.get()) };
    let answer = ClientMaps::<V6>::answer(datapath, scratch, set, destination);
    if let Some(within) = destination.within_nat64(nat64_length(answer)) {
        *v4 = within;
        let expires = HostMaps::<V4>::host(datapath, v4, &scratch.ctx.rules);
        add_learned(scratch, expires);
    }
}

/// Puts rules where a verdict has them; 0 if there are none.
#[inline(always)]
fn put(scratch: &Scratch, rules: impl Fn(usize) -> u64) -> u64 {
    let mut any = 0;
    for word in 0..RULE_WORDS {
        let rules = rules(word);
        scratch.ctx.rules.set_word(word, rules);
        any |= rules;
    }
    any
}

#[inline(always)]
fn put_port<W: Datapath>(scratch: &Scratch, datapath: W, set: u32, port: u64) {
    if port == ANY_PORT {
        scratch.ctx.port_rules.set(&RuleMask::ALL);
    } else {
        datapath.port(set, port as u32, &scratch.ctx.port_rules);
    }
}

/// Whether what nobody knows yet may be tried: for a while after a start without learned addresses,
/// on a port of a rule that has names, and only to where a DNS answer may lead.
#[inline(always)]
#[expect(clippy::indexing_slicing, reason = "as many words as a mask has")]
fn may_be_tried<A: Family, W: DatapathOf<A>>(
    scratch: &Scratch,
    datapath: W,
    set: u32,
    destination: &A,
) -> bool {
    let ctx = &scratch.ctx;
    let Some(settings) = datapath.settings(set) else {
        return false;
    };
    let mut rules = 0;
    for word in 0..RULE_WORDS {
        let named = settings.warm_up_rules.0[word];
        rules |= ctx.port_rules.word(word) & ctx.client_rules.word(word) & named;
    }
    rules != 0
        && ctx.now.get() < settings.warm_up_until
        // SAFETY: any bit pattern is an address, and the scratch memory is this run's alone.
        && !datapath.is_own(unsafe { &*scratch.headers.destination.get() })
        && ClientMaps::<A>::answer(datapath, scratch, set, destination) & ANSWER_ACCEPTED != 0
}

/// Whether the client whose rules are in the working memory has a rule, and the rule a port.
#[inline(always)]
pub fn allows_rule<W: Datapath>(scratch: &Scratch, datapath: W, rule: u8, port: u64) -> bool {
    let ctx = &scratch.ctx;
    if rule == NO_RULE || ctx.client_rules.contains(rule) == 0 {
        return false;
    }
    put_port(scratch, datapath, ctx.generation.get() as u32 & 1, port);
    ctx.port_rules.contains(rule) != 0
}
