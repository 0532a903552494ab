//! Why a packet passed or was denied: one vocabulary for counters, events, `explain` and docs.

macro_rules! reasons {
    ($($(#[doc = $doc:literal])+ $name:ident = $text:literal, $verdict:ident;)+) => {
        /// Why a packet passed or was denied. The discriminant is its index in `COUNTERS`.
        #[repr(u8)]
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum Reason {
            $($(#[doc = $doc])+ $name,)+
        }

        /// Every reason, in the order of its number.
        pub const REASONS: &[Reason] = &[$(Reason::$name),+];

        impl Reason {
            /// The word that counters, events and commands use.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$name => $text),+ }
            }

            /// Whether it is a reason to deny.
            #[inline(always)]
            #[must_use]
            pub const fn denies(self) -> bool {
                match self { $(Self::$name => reasons!($verdict)),+ }
            }

            /// What it means, for people.
            #[must_use]
            pub const fn description(self) -> &'static str {
                match self { $(Self::$name => concat!($($doc),+).trim_ascii()),+ }
            }
        }
    };
    (allow) => { false };
    (deny) => { true };
}

reasons! {
    /// a known flow
    Flow = "flow", allow;
    /// destination and port are allowed to the group: a new flow
    Policy = "policy", allow;
    /// traffic that a router never forwards: ARP, neighbour discovery, DHCP, link-scope multicast
    Link = "link", allow;
    /// to the gateway itself
    Gateway = "gateway", allow;
    /// sent by the gateway itself
    GatewaySent = "gateway_sent", allow;
    /// DNS query to a trusted resolver for a name of a rule
    DnsQuery = "dns_query", allow;
    /// answer of a trusted resolver to a recorded query
    DnsAnswer = "dns_answer", allow;
    /// a later fragment of a datagram whose first one was allowed
    FragmentAllowed = "fragment_allowed", allow;
    /// ICMP error that quotes a known flow
    IcmpError = "icmp_error", allow;
    /// the group is exempt
    Exempt = "exempt", allow;
    /// would be denied, but the group is audited
    Audit = "audit", allow;
    /// the source is in no group, and unlisted_clients is allow
    UnlistedAllowed = "unlisted_allowed", allow;
    /// the interface and VLAN belong to no zone
    Unmanaged = "unmanaged_vlan", allow;
    /// unsolicited, and the group's inbound is allow
    Inbound = "inbound", allow;
    /// the packet does not parse
    Malformed = "malformed", deny;
    /// an EtherType that is neither IPv4, IPv6 nor link scope
    EtherType = "ethertype", deny;
    /// more VLAN tags than are judged
    VlanTag = "vlan_tag", deny;
    /// source-route option or routing header
    SourceRoute = "source_route", deny;
    /// a fragment whose datagram's first one was not allowed or not seen, a second first one, one
    /// too short for its headers, or one that would overwrite them
    Fragment = "fragment", deny;
    /// a source address that no client can have; to the gateway, also one that is its own, a resolver's, or
    /// routed to another interface
    Source = "source", deny;
    /// a link-local source, and not to the gateway
    LinkLocal = "link_local", deny;
    /// an IP protocol other than TCP, UDP and ICMP
    Protocol = "protocol", deny;
    /// an ICMP message that is no echo request and quotes no known flow
    Icmp = "icmp", deny;
    /// the source is in no group
    UnlistedClient = "unlisted_client", deny;
    /// the destination is in no rule's networks and was learned from no name
    Destination = "destination", deny;
    /// the destination is known, but not for a service of this group
    Service = "service", deny;
    /// the destination is allowed to the group, but not on this port
    Port = "port", deny;
    /// a known destination whose last DNS answer has expired
    Expired = "expired", deny;
    /// DNS to a resolver that is not trusted
    Resolver = "resolver", deny;
    /// DNS query for a name of no rule of the group
    DnsUnlisted = "dns_unlisted", deny;
    /// a DNS query that does not parse, comes in fragments, or asks not exactly one question
    DnsMalformed = "dns_malformed", deny;
    /// DNS over TCP in a form that is not learned from: a segment that is not whole messages, or
    /// belongs to no connection that was opened
    DnsTransport = "dns_transport", deny;
    /// to a client, and answers nothing
    Unsolicited = "unsolicited", deny;
    /// no policy is loaded yet
    NoPolicy = "no_policy", deny;
    /// the program's own working memory was in use: a nested run on the same CPU
    Busy = "busy", deny;
    /// a DNS answer taught at least one address
    Learned = "learned", allow;
    /// a DNS answer for a name of a rule taught nothing: it carried no usable address
    NothingLearned = "nothing_learned", allow;
    /// a DNS answer did not parse, was too large or in fragments: passed on, nothing learned
    AnswerMalformed = "answer_malformed", allow;
    /// a private or otherwise impossible address in a DNS answer was refused
    AnswerRefused = "answer_refused", allow;
    /// a learned address found no room
    HostsFull = "hosts_full", allow;
    /// a record for userspace found no room in the ring buffer
    EventLost = "event_lost", allow;
    /// a record for userspace was not made, since there were too many at the time
    EventSuppressed = "event_suppressed", allow;
    /// a DNS answer that is held back until it comes again: the end of one over several TCP segments,
    /// until userspace has learned from the whole; or any whose address is amended at this moment
    DnsPunted = "dns_punted", deny;
    /// part of a DNS answer over TCP that passed unread, since userspace was not in time
    AnswerUnread = "answer_unread", allow;
    /// DNS over TLS or QUIC, by its port, 853
    DnsOverTls = "dns_over_tls", deny;
    /// DNS query for the name of a known server of DNS over HTTPS, which no rule of the group has
    DnsOverHttps = "dns_over_https", deny;
    /// a DNS query, or a connection to a resolver, of a client that makes too many (limits.queries)
    DnsLimit = "dns_limit", deny;
    /// a new flow, or a datagram in fragments, of a client that begins too many (limits.flows)
    FlowLimit = "flow_limit", deny;
    /// a DNS answer with more addresses than the kernel learns while a packet waits: passed on, and the
    /// rest learned by userspace
    AnswerDeferred = "answer_deferred", allow;
}

impl Reason {
    /// The reason with this number.
    #[must_use]
    pub fn from_number(number: u8) -> Option<Self> {
        REASONS.get(usize::from(number)).copied()
    }
}
