//! Global functions about rules: the group of a source, and what its rules say of a packet. See
//! [`super::global_fns`].

use aya_ebpf::btf_maps::lpm_trie::Key;

use super::{
    kernel::{BpfDatapath, EXPLAIN, TC_EGRESS, TC_INGRESS, XDP},
    maps,
};
use crate::{
    abi::{Client, ClientKey, V4, V6},
    datapath::{Member, RuleMatch},
    memory::RuleCell,
    scratch::Scratch,
    verdict,
};

/// Puts a set of rules into its place. The set is aligned to four octets only: a trie stores it behind
/// the key.
#[inline(always)]
pub(super) fn load_rules(value: *const u32, rules: &RuleCell) {
    for word in 0..crate::abi::RULE_WORDS {
        // SAFETY: the value begins with a set of rules, and is never written while its map is in use.
        let (low, high) = unsafe { (*value.add(2 * word), *value.add(2 * word + 1)) };
        rules.set_word(word, u64::from(low) | u64::from(high) << 32);
    }
}

/// The group of the source whose key is in the working memory, as a word, and its rules there.
#[inline(always)]
pub(super) fn find_client(scratch: &Scratch, v6: u64, set: u32) -> u64 {
    let key = scratch.ctx.trie_key.get();
    // SAFETY: the memory is this run's, and has the key of this family.
    let client = unsafe {
        if v6 == 0 {
            maps::CLIENTS4.get_value_ptr_mut(set, &*key.cast::<Key<ClientKey<V4>>>())
        } else {
            maps::CLIENTS6.get_value_ptr_mut(set, &*key.cast::<Key<ClientKey<V6>>>())
        }
    };
    let Some(client) = client else {
        return 0;
    };
    let words = client.cast_const().cast::<u32>();
    load_rules(words, &scratch.ctx.client_rules);
    const { assert!(size_of::<Client>() == 32) };
    // SAFETY: the value has 32 octets, and is never written while its map is in use.
    let (group, rest) = unsafe { (*words.add(6), *words.add(7)) };
    let (mode, flags, devices) = (rest as u8, (rest >> 8) as u8, (rest >> 16) as u16);
    Member { group, mode, flags, devices }.word()
}

macro_rules! match_rules {
    ($name:ident, $hook:ident) => {
        /// What rules say of the packet in this hook's working memory.
        #[inline(never)]
        #[unsafe(no_mangle)]
        pub extern "C" fn $name(v6: u64, port: u64) -> u64 {
            let Some(scratch) = BpfDatapath::<$hook>::scratch() else {
                return RuleMatch::UNTOLD.word();
            };
            let kernel = BpfDatapath::<$hook>::without_context();
            verdict::match_rules(scratch, kernel, v6 != 0, port).word()
        }
    };
}

match_rules!(match_rules_at_ingress, XDP);
match_rules!(match_rules_at_tc_ingress, TC_INGRESS);
match_rules!(match_rules_to_explain, EXPLAIN);

/// What the rules for packets to the client say of the one in the working memory.
#[inline(never)]
#[unsafe(no_mangle)]
pub extern "C" fn match_sender(v6: u64, port: u64) -> u64 {
    let Some(scratch) = BpfDatapath::<TC_EGRESS>::scratch() else {
        return RuleMatch::UNTOLD.word();
    };
    let kernel = BpfDatapath::<TC_EGRESS>::without_context();
    verdict::match_sender(scratch, kernel, v6 != 0, port).word()
}

macro_rules! allows_rule {
    ($name:ident, $hook:ident) => {
        /// Whether the client in this hook's working memory has a rule, and the rule a port.
        #[inline(never)]
        #[unsafe(no_mangle)]
        pub extern "C" fn $name(rule: u64, port: u64) -> u64 {
            let kernel = BpfDatapath::<$hook>::without_context();
            let allows = |scratch| verdict::allows_rule(scratch, kernel, rule as u8, port);
            u64::from(BpfDatapath::<$hook>::scratch().is_some_and(allows))
        }
    };
}

allows_rule!(allows_rule_at_ingress, XDP);
allows_rule!(allows_rule_at_tc_ingress, TC_INGRESS);
allows_rule!(allows_rule_at_egress, TC_EGRESS);
allows_rule!(allows_rule_to_explain, EXPLAIN);
