//! The faults that are planted: each a slip in one place of the kernel's logic.

/// A fault.
#[derive(Clone, Copy, Debug)]
pub(super) struct Fault {
    /// Name of what is wrong then.
    pub name: &'static str,
    /// File, from `intune-filter-ebpf/src` on.
    pub file: &'static str,
    /// Text that stands in the file once, and `text` once in it.
    pub within: &'static str,
    /// Expression, or whole statements.
    pub text: &'static str,
    /// Replacement of `text`.
    pub instead: &'static str,
}

/// A fault whose text stands in its file once.
const fn of(
    name: &'static str,
    file: &'static str,
    text: &'static str,
    instead: &'static str,
) -> Fault {
    Fault { name, file, within: text, text, instead }
}

impl Fault {
    /// The fault with the text around it, for a text that occurs more than once.
    const fn within(self, within: &'static str) -> Self {
        Self { within, ..self }
    }
}

const JUDGED: &str = "verdict/judged/mod.rs";
const KEPT: &str = "verdict/judged/kept.rs";
const QUERIES: &str = "verdict/stream/queries.rs";
const ANSWERS: &str = "verdict/stream/answers.rs";
const FRAGMENT: &str = "verdict/fragment.rs";
const POLICY: &str = "verdict/policy.rs";
const LINKS: &str = "verdict/links.rs";
const LIMIT: &str = "verdict/limit.rs";
const SENDER: &str = "verdict/sender.rs";
const GATEWAY: &str = "verdict/gateway.rs";
const RESOLVER: &str = "verdict/resolver.rs";
const STATE: &str = "abi/state.rs";
const INGRESS: &str = "verdict/ingress.rs";
const EGRESS: &str = "verdict/egress.rs";
const SENT: &str = "verdict/sent.rs";
const OTHER_VLAN: &str = "verdict/other_vlan.rs";
const OPENING: &str = "verdict/opening.rs";
const LIFETIME: &str = "verdict/lifetime.rs";
const RULES: &str = "verdict/rules.rs";
const REPLY: &str = "verdict/reply.rs";
const ANSWER: &str = "dns/answer.rs";
const SVCB: &str = "dns/svcb.rs";
const TARGET: &str = "dns/target.rs";
const MATCHER: &str = "dns/matcher.rs";
const QUESTION: &str = "dns/question.rs";
const REFUSAL: &str = "dns/refusal.rs";
const IP: &str = "packet/ip.rs";
const EXTENSION: &str = "packet/extension.rs";
const ICMP: &str = "packet/icmp.rs";

const REPEATED: &str =
    "if length <= kept && at <= kept - length { Class::REPEATED } else { Class::FOREIGN }";

/// All of them.
pub(super) const FAULTS: &[Fault] = &[
    // The judged prefix, and DNS over TCP.
    of("urgent-ignored", JUDGED, "flags & (TCP_URG | TCP_SYN) != 0", "flags & TCP_SYN != 0"),
    of("second-syn", JUDGED, "unanswered\n        || idle > idle_most", "true"),
    of(
        "before-syn-ack",
        JUDGED,
        "prefix.server_state == server_state::SILENT\n        || !is_within(acknowledgment, prefix.server_begin, prefix.server_end)",
        "!is_within(acknowledgment, prefix.server_begin, prefix.server_end)",
    ),
    of(
        "data-in-syn",
        QUERIES,
        "numbers.flags & others != 0 || numbers.length != 0",
        "numbers.flags & others != 0",
    ),
    of("repetition-not-compared", QUERIES, "Found::MISPLACED", "Found::PASSED")
        .within("Some(false) => Found::MISPLACED,"),
    of(
        "first-octet-compared",
        KEPT,
        "segment.done.get() == segment.length.get()",
        "segment.done.get() != 0",
    )
    .within("let same = segment.done.get() == segment.length.get();"),
    of(
        "below-the-end-passes",
        JUDGED,
        REPEATED,
        "if length <= kept && at <= kept - length { Class::REPEATED } else if is_after(prefix.end, sequence) { Class::EMPTY } else { Class::FOREIGN }",
    ),
    of(
        "past-the-end-passes",
        JUDGED,
        REPEATED,
        "if length <= kept && at <= kept - length { Class::REPEATED } else if at < kept { Class::EMPTY } else { Class::FOREIGN }",
    ),
    of(
        "acknowledgement-unsigned",
        JUDGED,
        "more > most.wrapping_add(1)",
        "number < prefix.acknowledged || more > most.wrapping_add(1)",
    ),
    of(
        "data-after-reset",
        JUDGED,
        "prefix.server_state == server_state::CLOSED || prefix.client_state & client_state::RESET != 0",
        "prefix.server_state == server_state::CLOSED",
    ),
    of("ahead-of-the-end", JUDGED, "sequence == prefix.end", "!is_after(prefix.end, sequence)"),
    of("cookie-shift", JUDGED, "(at < SHIFT || at > judged)", "at > judged"),
    of(
        "unasked-answer",
        ANSWERS,
        "response == Response::NOT_OURS && segment.unjudged.get() == 0",
        "response == Response::NOT_OURS && segment.unjudged.get() != 0",
    ),
    of(
        "denied-name",
        QUERIES,
        "!listed && resolver::unlisted_choice(settings, over_https) != UNLISTED_FORWARD",
        "false",
    ),
    of("length-forgotten", QUERIES, "segment.owed.set(owed);", ""),
    of("rest-unjudged", QUERIES, "return Found::UNKNOWN;", "return found;")
        .within("if next_message(run) != Found::WHOLE {\n            return Found::UNKNOWN;"),
    // Fragments.
    of(
        "fragment-patience",
        FRAGMENT,
        "run.now().saturating_sub(verdict.seen) <= PATIENCE",
        "run.now().saturating_sub(verdict.seen) <= 2 * PATIENCE",
    ),
    of(
        "fragment-overlap",
        FRAGMENT,
        "datagram.fragment_offset < first.headers",
        "datagram.fragment_offset + 8 < first.headers",
    ),
    of(
        "denied-fragment-kept",
        FRAGMENT,
        "datagram.fragment != Fragment::First\n        || verdict.action != Action::Pass",
        "datagram.fragment != Fragment::First",
    ),
    of(
        "fragment-not-octets",
        IP,
        "more && !length.is_multiple_of(8)",
        "more && !length.is_multiple_of(4)",
    ),
    // The policy.
    of("expired-address", RULES, "expires > ctx.now.get()", "expires > 0"),
    of(
        "client-not-asked",
        RULES,
        "of_destination(word) & ctx.client_rules.word(word)",
        "of_destination(word)",
    ),
    of("port-not-asked", RULES, "granted(word) & ctx.port_rules.word(word)", "granted(word)"),
    of("upper-rules-forgotten", RULES, "0..RULE_WORDS", "0..1")
        .within("let mut any = 0;\n    for word in 0..RULE_WORDS {"),
    of(
        "port-byte-order",
        POLICY,
        "u16::from_be(datagram.transport.destination_port)",
        "datagram.transport.destination_port",
    ),
    of(
        "echo-or-switch",
        POLICY,
        "(datagram.transport.flags != A::ECHO_REQUEST || !echoes())",
        "datagram.transport.flags != A::ECHO_REQUEST",
    ),
    of("forged-resolver", POLICY, "resolver::is_from_resolver(self, datagram)", "false"),
    of(
        "warm-up-endless",
        RULES,
        "ctx.now.get() < settings.warm_up_until",
        "settings.warm_up_until != 0",
    ),
    of(
        "error-to-anybody",
        LINKS,
        "quoted.destination == client && quoted.source == datagram.destination",
        "quoted.destination == client",
    ),
    of(
        "limit-of-queries",
        LIMIT,
        "kind < LIMIT_FLOWS as u64",
        "kind % LIMIT_KINDS as u64 <= LIMIT_FLOWS as u64",
    ),
    // A neighbour's packets in a client's name.
    of(
        "limit-by-zone-alone",
        LIMIT,
        "!of_link && !sender::is_unproven(told)",
        "!of_link && told == 0",
    ),
    of(
        "unproven-has-its-own",
        SENDER,
        "hardware != 0 && hardware == ctx.client_mac.get()",
        "hardware != 0",
    ),
    of(
        "fragment-of-anyone",
        FRAGMENT,
        "first.sender != sender(run)",
        "false",
    ),
    of(
        "fragment-of-any-side",
        FRAGMENT,
        "if is_zones { u64::from(device) } else { 0 }",
        "0",
    ),
    of(
        "answer-of-any-side",
        SENT,
        "route != Route::to(datapath.device(zone))",
        "true",
    ),
    of("far-end-unbound", SENT, "flow.far_zone = here;", "flow.far_zone = 0;"),
    of(
        "unlisted-to-another-zone",
        SENT,
        "flow.group == NO_GROUP",
        "false",
    )
    .within("let unlisted = flow.group == NO_GROUP;"),
    of(
        "inbound-on-any-port",
        EGRESS,
        "port_index(datagram.protocol, u16::from_be(datagram.transport.destination_port))",
        "port_index(datagram.protocol, u16::from_be(datagram.transport.source_port))",
    ),
    of(
        "inbound-of-the-client's-rules",
        EGRESS,
        "inbound_zone(run.zone())",
        "run.zone()",
    ),
    of("question-of-anyone", STATE, "other.times & Asked::PROVEN <= proven", "true"),
    // The gateway.
    of(
        "every-network-is-here",
        GATEWAY,
        "if here { Location::HERE } else { Location::APART }",
        "Location::HERE",
    ),
    of(
        "resolver-as-source",
        GATEWAY,
        "own || datapath.server(set, source) & SERVER_RESOLVER != 0",
        "own",
    ),
    of(
        "gateway-port-protocol",
        GATEWAY,
        "port_index(datagram.protocol, port)",
        "port_index(datagram.protocol ^ 23, port)",
    ),
    of(
        "source-not-asked-apart",
        INGRESS,
        "location != Location::ELSEWHERE && self.is_forged(datagram)",
        "location == Location::HERE && self.is_forged(datagram)",
    ),
    of("other-vlans-pass", OTHER_VLAN, "settings.deny_other_vlans != 0", "false"),
    of("other-vlans-to-clients", OTHER_VLAN, "to_client && arrival.is_from_gateway()", "to_client"),
    of(
        "answer-of-own-address",
        EGRESS,
        "run.datapath.is_own(run.source())",
        "false",
    ),
    of(
        "answer-from-anywhere",
        EGRESS,
        "!run.is_from_gateway() && run.datapath.is_astray(run.scratch)",
        "false",
    ),
    // Flows.
    of("reset-opens", OPENING, "(TCP_FIN | TCP_RST)", "TCP_FIN")
        .within("datagram.protocol == TCP && datagram.transport.flags & (TCP_FIN | TCP_RST) != 0"),
    of(
        "udp-lives-longer",
        LIFETIME,
        "if answered { UDP_ANSWERED } else { UDP_OPENING }",
        "UDP_ANSWERED",
    ),
    of(
        "revoked-rule-stays",
        RULES,
        "rule == NO_RULE || ctx.client_rules.contains(rule) == 0",
        "rule == NO_RULE",
    ),
    of("reset-for-a-reset", REPLY, "flags & TCP_RST != 0", "false"),
    // Queries and answers.
    of(
        "late-answer",
        STATE,
        "now.saturating_sub(self.asked) > Self::PATIENCE",
        "now.saturating_sub(self.asked) > 2 * Self::PATIENCE",
    ),
    of("question-not-compared", RESOLVER, "!pending.bring_forward(question)", "false"),
    of("second-answer-teaches", STATE, "asked.answers < asked.times & Asked::TIMES", "true"),
    of(
        "query-in-fragments",
        RESOLVER,
        "datagram.fragment == Fragment::Whole",
        "datagram.fragment != Fragment::Later",
    ),
    of("ttl-sign", ANSWER, "if ttl >> 31 != 0 { 0 } else { ttl }", "ttl"),
    of(
        "any-owner",
        ANSWER,
        "scratch.parser.addresses.get(HASH_HALF + next) != scratch.parser.owner.get()",
        "false",
    ),
    of("private-address", ANSWER, "answer & ANSWER_ACCEPTED == 0 || own", "own"),
    of(
        "target-outlives",
        ANSWER,
        "expires.min(scratch.matcher.target_until.get())",
        "expires",
    ),
    of(
        "target-of-any-owner",
        SVCB,
        "scratch.parser.svcb_records.get(HASH_HALF + next) == scratch.parser.owner.get()",
        "true",
    )
    .within(
        "if scratch.parser.svcb_records.get(HASH_HALF + next) == scratch.parser.owner.get() {\n                add_target",
    ),
    of("target-compressed", SVCB, "length == 1 || !in_full", "length == 1"),
    of("target-has-expired", TARGET, "expires <= scratch.ctx.now.get()", "expires == 0"),
    of("target-of-any-type", TARGET, "!is_asked || matcher.marks.get() != 0", "matcher.marks.get() != 0"),
    of("hint-key-order", SVCB, "key < scratch.parser.parameter_key.get()", "false"),
    of(
        "below-is-exact",
        MATCHER,
        "scratch.matcher.rules.add(if left == 0 { &node.exact } else { &node.below });",
        "scratch.matcher.rules.add(&node.exact);\n    scratch.matcher.rules.add(&node.below);",
    ),
    of("glob-overlaps", MATCHER, "length < prefix + suffix", "length < prefix.max(suffix)"),
    of(
        "name-length",
        QUESTION,
        "offset + length + 2 > HEADER_LENGTH + NAME_MAX",
        "offset + length + 1 > HEADER_LENGTH + NAME_MAX",
    ),
    of(
        "refused-opt",
        REFUSAL,
        "message.be16(fixed) == TYPE_OPT",
        "message.be16(fixed) != TYPE_OPT",
    ),
    // Headers.
    of("routing-header", EXTENSION, "protocol == ROUTING", "protocol == ROUTING + 1"),
    of(
        "quotation-behind-the-end",
        ICMP,
        "length < BEFORE + header_length + QUOTED",
        "length < BEFORE + header_length",
    ),
];
