//! Steps of the logic that are global functions: each hook has its own, with its own working memory.

use super::{
    flow_fns, global_fns,
    kernel::{BpfDatapath, EXPLAIN, TC_EGRESS, TC_INGRESS, XDP},
    route, rule_fns, zone_fns,
};
use crate::{
    abi::{Ending, Flow, Standing},
    datapath::{FarEnd, GlobalFns, Location, RuleMatch},
    packet::Direction,
    scratch::Scratch,
};

impl<const HOOK: u8> GlobalFns for BpfDatapath<HOOK> {
    #[inline(always)]
    fn note_segment(self, flow: &mut Flow, _: &Scratch, flags: u8, _: Direction) -> u16 {
        let flags = u64::from(flags);
        let ends = match HOOK {
            XDP => flow_fns::note_segment_at_ingress(flow, flags),
            TC_INGRESS => flow_fns::note_segment_at_tc_ingress(flow, flags),
            TC_EGRESS => flow_fns::note_segment_at_egress(flow, flags),
            _ => flow_fns::note_segment_to_explain(flow, flags),
        };
        ends as u16
    }

    #[inline(always)]
    fn keep_octets(self, _: &Scratch) {
        match HOOK {
            XDP => global_fns::keep_octets_at_ingress(),
            TC_INGRESS => global_fns::keep_octets_at_tc_ingress(),
            // To explain a packet keeps nothing, and on egress nothing is kept.
            _ => 0,
        };
    }

    #[inline(always)]
    fn compare_octets(self, _: &Scratch) {
        match HOOK {
            XDP => global_fns::compare_octets_at_ingress(),
            TC_INGRESS => global_fns::compare_octets_at_tc_ingress(),
            EXPLAIN => global_fns::compare_octets_to_explain(),
            _ => 0,
        };
    }

    #[inline(always)]
    fn has_token(self, _: &Scratch, kind: u64, who: u64) -> bool {
        let has = match HOOK {
            XDP => global_fns::has_token_at_ingress(kind, who),
            TC_INGRESS => global_fns::has_token_at_tc_ingress(kind, who),
            TC_EGRESS => global_fns::has_token_at_egress(kind, who),
            _ => global_fns::has_token_to_explain(kind, who),
        };
        has != 0
    }

    #[inline(always)]
    fn tell_denial(self, _: &Scratch, ends: u64, _: bool) {
        match HOOK {
            XDP => route::tell_denial_at_ingress(self.context.cast(), ends),
            TC_INGRESS => route::tell_denial_at_tc_ingress(self.context.cast(), ends),
            TC_EGRESS => global_fns::tell_denial_at_egress(ends),
            // To explain a packet tells of nothing.
            _ => 0,
        };
    }

    #[inline(always)]
    fn tell_untaught(self, _: &Scratch) {
        const { assert!(HOOK == TC_EGRESS) };
        global_fns::tell_untaught();
    }

    #[inline(always)]
    fn is_believed(self, _: &Scratch, who: u64) -> bool {
        let believed = match HOOK {
            XDP => route::is_believed_at_ingress(self.context.cast(), who),
            TC_INGRESS => route::is_believed_at_tc_ingress(self.context.cast(), who),
            // A packet to a client has no sender that could be asked for.
            TC_EGRESS => 1,
            _ => route::is_believed_to_explain(self.context.cast(), who),
        };
        believed != 0
    }

    #[inline(always)]
    fn is_on_link(self, _: &Scratch) -> bool {
        let on_link = match HOOK {
            XDP => route::is_on_link_at_ingress(self.context.cast()),
            TC_INGRESS => route::is_on_link_at_tc_ingress(self.context.cast()),
            TC_EGRESS => route::is_on_link_at_egress(self.context.cast()),
            _ => route::is_on_link_to_explain(self.context.cast()),
        };
        on_link != 0
    }

    #[inline(always)]
    fn end_flow(self, flow: &mut Flow, _: &Scratch, ending: Ending) -> u8 {
        let ending = ending as u64;
        let told = match HOOK {
            XDP => flow_fns::end_flow_at_ingress(flow, ending),
            TC_INGRESS => flow_fns::end_flow_at_tc_ingress(flow, ending),
            TC_EGRESS => flow_fns::end_flow_at_egress(flow, ending),
            _ => flow_fns::end_flow_to_explain(flow, ending),
        };
        told as u8
    }

    #[inline(always)]
    fn match_rules(self, _: &Scratch, v6: bool, port: u64) -> RuleMatch {
        let v6 = u64::from(v6);
        let word = match HOOK {
            TC_INGRESS => rule_fns::match_rules_at_tc_ingress(v6, port),
            EXPLAIN => rule_fns::match_rules_to_explain(v6, port),
            _ => rule_fns::match_rules_at_ingress(v6, port),
        };
        // SAFETY: the function has made it of a match.
        unsafe { RuleMatch::from_word(word) }
    }

    #[inline(always)]
    fn match_sender(self, _: &Scratch, v6: bool, port: u64) -> RuleMatch {
        // SAFETY: the function has made it of a match.
        unsafe { RuleMatch::from_word(rule_fns::match_sender(u64::from(v6), port)) }
    }

    #[inline(always)]
    fn allows_rule(self, _: &Scratch, rule: u8, port: u64) -> bool {
        let rule = u64::from(rule);
        let allows = match HOOK {
            XDP => rule_fns::allows_rule_at_ingress(rule, port),
            TC_INGRESS => rule_fns::allows_rule_at_tc_ingress(rule, port),
            TC_EGRESS => rule_fns::allows_rule_at_egress(rule, port),
            _ => rule_fns::allows_rule_to_explain(rule, port),
        };
        allows != 0
    }

    #[inline(always)]
    fn is_sent(self, _: &Scratch, v6: bool) -> bool {
        let v6 = u64::from(v6);
        let is_sent = match HOOK {
            XDP => zone_fns::is_sent_at_ingress(v6),
            TC_INGRESS => zone_fns::is_sent_at_tc_ingress(v6),
            TC_EGRESS => zone_fns::is_sent_at_egress(v6),
            _ => zone_fns::is_sent_to_explain(v6),
        };
        is_sent != 0
    }

    #[inline(always)]
    fn sending_zone(self, _: &Scratch, v6: bool) -> u16 {
        const { assert!(HOOK == TC_EGRESS) };
        zone_fns::sending_zone(u64::from(v6)) as u16
    }

    #[inline(always)]
    fn far_end(self, _: &Scratch, zone: u16, opened_by_client: bool) -> FarEnd {
        // Linux 6.1 verifies what a program refers to, and takes this context for memory at XDP.
        if HOOK != TC_EGRESS {
            return FarEnd::ELSEWHERE;
        }
        let (zone, opened) = (u32::from(zone), u32::from(opened_by_client));
        FarEnd::from_word(route::far_end_at_egress(self.context.cast(), zone, opened))
    }

    #[inline(always)]
    fn own_location(self, _: &Scratch) -> Location {
        let word = match HOOK {
            TC_INGRESS => route::own_location_at_tc_ingress(),
            EXPLAIN => route::own_location_to_explain(),
            _ => route::own_location_at_ingress(),
        };
        Location::from_word(word)
    }

    #[inline(always)]
    fn routed_location(self, _: &Scratch) -> Location {
        let word = match HOOK {
            TC_INGRESS => route::routed_location_at_tc_ingress(self.context.cast()),
            EXPLAIN => route::routed_location_to_explain(self.context.cast()),
            _ => route::routed_location_at_ingress(self.context.cast()),
        };
        Location::from_word(word)
    }

    #[inline(always)]
    fn is_forged(self, _: &Scratch) -> bool {
        let forged = match HOOK {
            TC_INGRESS => route::is_forged_at_tc_ingress(self.context.cast()),
            EXPLAIN => route::is_forged_to_explain(self.context.cast()),
            _ => route::is_forged_at_ingress(self.context.cast()),
        };
        forged != 0
    }

    #[inline(always)]
    fn note_query(self, _: &Scratch, question: u64) {
        match HOOK {
            XDP => global_fns::note_query_at_ingress(question),
            TC_INGRESS => global_fns::note_query_at_tc_ingress(question),
            // To explain a packet records nothing, and on egress nothing is asked.
            _ => 0,
        };
    }

    #[inline(always)]
    fn note_answer(self, _: &Scratch, question: u64) -> Standing {
        const { assert!(HOOK == TC_EGRESS) };
        Standing::from_word(global_fns::note_answer(question))
    }

    #[inline(always)]
    fn is_astray(self, _: &Scratch) -> bool {
        const { assert!(HOOK == TC_EGRESS) };
        route::is_astray_at_egress(self.context.cast()) != 0
    }

    #[inline(always)]
    fn walk_patterns(self, _: &Scratch) {
        match HOOK {
            XDP => global_fns::walk_patterns_at_ingress(),
            TC_INGRESS => global_fns::walk_patterns_at_tc_ingress(),
            TC_EGRESS => global_fns::walk_patterns_at_egress(),
            _ => global_fns::walk_patterns_to_explain(),
        };
    }

    #[inline(always)]
    fn read_answer(self, _: &Scratch, start: u64) -> bool {
        const { assert!(HOOK == TC_EGRESS) };
        global_fns::read_answer(start) != 0
    }

    #[inline(always)]
    fn learn_addresses(self, _: &Scratch) {
        const { assert!(HOOK == TC_EGRESS) };
        global_fns::learn_addresses();
    }
}
