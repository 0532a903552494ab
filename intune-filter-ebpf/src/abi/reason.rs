//! Reasons of verdicts, and occurrences beside verdicts: one vocabulary for counters, events,
//! `explain` and the documentation.

macro_rules! vocabulary {
    (
        reasons { $($(#[doc = $doc:literal])+ $name:ident = $text:literal, $verdict:ident;)+ }
        occurrences { $($(#[doc = $about:literal])+ $occurrence:ident = $word:literal;)+ }
    ) => {
        /// Reason of a verdict. The discriminant is its index in `COUNTERS`.
        #[repr(u8)]
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum Reason {
            $($(#[doc = $doc])+ $name,)+
        }

        /// Every reason, in the order of its number.
        pub const REASONS: &[Reason] = &[$(Reason::$name),+];

        impl Reason {
            /// Returns the word that counters, events and commands use.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$name => $text),+ }
            }

            /// Whether the reason is one to deny.
            #[inline(always)]
            #[must_use]
            pub const fn denies(self) -> bool {
                match self { $(Self::$name => vocabulary!($verdict)),+ }
            }

            /// Returns the meaning of the reason, for people.
            #[must_use]
            pub const fn description(self) -> &'static str {
                match self { $(Self::$name => concat!($($doc),+).trim_ascii()),+ }
            }
        }

        /// Occurrence beside the verdict over a packet, counted on its own. No verdict has an
        /// occurrence as its reason.
        #[repr(u8)]
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum Occurrence {
            $($(#[doc = $about])+ $occurrence,)+
        }

        /// Every occurrence, in the order of its number.
        pub const OCCURRENCES: &[Occurrence] = &[$(Occurrence::$occurrence),+];

        impl Occurrence {
            /// Returns the word that counters use.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$occurrence => $word),+ }
            }
        }
    };
    (allow) => { false };
    (deny) => { true };
}

vocabulary! {
    reasons {
        /// a known flow
        Flow = "flow", allow;
        /// destination and port are allowed to the group: a new flow
        Policy = "policy", allow;
        /// traffic that a router never forwards: ARP, neighbour discovery, DHCP, link-scope
        /// multicast
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
        /// unsolicited, and the group's inbound lets it in
        Inbound = "inbound", allow;
        /// the packet does not parse
        Malformed = "malformed", deny;
        /// an EtherType that is neither IPv4, IPv6 nor link scope
        EtherType = "ethertype", deny;
        /// more VLAN tags than are judged
        VlanTag = "vlan_tag", deny;
        /// source-route option or routing header
        SourceRoute = "source_route", deny;
        /// a fragment whose datagram's first one was not allowed or not seen, a second first one,
        /// one too short for its headers, or one that would overwrite them
        Fragment = "fragment", deny;
        /// a source address that no client can have; to the gateway, also one that is its own, a
        /// resolver's, or routed to another interface
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
        /// DNS over TCP in a form that is not learned from: a segment that is not whole messages,
        /// or belongs to no connection that was opened
        DnsTransport = "dns_transport", deny;
        /// to a client, and answers nothing
        Unsolicited = "unsolicited", deny;
        /// no policy is loaded yet
        NoPolicy = "no_policy", deny;
        /// the program's own working memory was in use: a nested run on the same CPU
        Busy = "busy", deny;
        /// a DNS answer that is held back until it comes again: the end of one over several TCP
        /// segments, until userspace has learned from the whole; or any whose address is amended at
        /// this moment
        DnsPunted = "dns_punted", deny;
        /// DNS over TLS or QUIC, by its port, 853
        DnsOverTls = "dns_over_tls", deny;
        /// DNS query for the name of a known server of DNS over HTTPS, which no rule of the group
        /// has
        DnsOverHttps = "dns_over_https", deny;
        /// a DNS query, or a connection to a resolver, of a client that makes too many
        /// (limits.queries)
        DnsLimit = "dns_limit", deny;
        /// a new flow, or a datagram in fragments, of a client that begins too many (limits.flows)
        FlowLimit = "flow_limit", deny;
        /// with a resolver's address, from an interface that no route to that resolver leads out of
        AnswerInterface = "answer_interface", deny;
        /// a source that the routes lead to by another interface than the one that the packet came
        /// in on, or that they lead to nowhere (source_check)
        SourceInterface = "source_interface", deny;
        /// a source of a group that lists hardware addresses, from another one (macs)
        SourceMac = "source_mac", deny;
        /// a VLAN tag that no zone has (other_vlans)
        OtherVlan = "other_vlan", deny;
        /// from another zone, whose policy allows it
        FromZone = "from_zone", allow;
    }
    occurrences {
        /// a DNS answer taught at least one address
        Learned = "learned";
        /// a DNS answer for a name of a rule taught nothing: it carried no usable address
        NothingLearned = "nothing_learned";
        /// a DNS answer did not parse, was too large or in fragments: passed on, nothing learned
        AnswerMalformed = "answer_malformed";
        /// a private or otherwise impossible address in a DNS answer was refused
        AnswerRefused = "answer_refused";
        /// a learned address found no room
        HostsFull = "hosts_full";
        /// a learned address found no room: the table is three quarters full, and the client and the
        /// rule have their shares of it
        HostsShare = "hosts_share";
        /// a record for userspace found no room in the ring buffer
        EventLost = "event_lost";
        /// a record for userspace was not made, since there were too many at the time
        EventSuppressed = "event_suppressed";
        /// part of a DNS answer over TCP that passed unread, since userspace was not in time
        AnswerUnread = "answer_unread";
        /// a DNS answer with more addresses than the kernel learns while a packet waits: passed on,
        /// and the rest learned by userspace
        AnswerDeferred = "answer_deferred";
        /// a DNS answer that differs from earlier ones to a query with as many questions: passed on, and
        /// what those have taught is taken back
        AnswerConflict = "answer_conflict";
        /// a DNS answer with more records or addresses than are read: passed on, and learned from as far
        /// as it was read
        AnswerCut = "answer_cut";
        /// a denial like one of the same client that was told of within the last second: not told of
        /// again
        EventRepeated = "event_repeated";
        /// a refused name, or an answer that taught nothing, not told of, since there were too many at
        /// the time
        NameSuppressed = "name_suppressed";
        /// a refused name, or an answer that taught nothing, that found no room in the ring buffer
        NameLost = "name_lost";
    }
}

/// Index in `COUNTERS` of the first occurrence; lower indices are reasons.
pub const OCCURRENCE_COUNTERS: usize = 64;
/// Number of elements of `COUNTERS`.
pub const COUNTER_ELEMENTS: usize = 96;

const _: () = assert!(REASONS.len() <= OCCURRENCE_COUNTERS);
const _: () = assert!(OCCURRENCES.len() <= COUNTER_ELEMENTS - OCCURRENCE_COUNTERS);

/// The denying reason with the lowest number.
pub const FIRST_DENIAL: u8 = Reason::Malformed as u8;
/// Room for the denying reasons, by their number less [`FIRST_DENIAL`]: a power of two.
pub const DENIALS: usize = 32;

const _: () = assert!(has_room_for_denials(REASONS, 0));

const fn has_room_for_denials(reasons: &[Reason], number: usize) -> bool {
    let [reason, more @ ..] = reasons else { return true };
    let first = FIRST_DENIAL as usize;
    (!reason.denies() || number >= first && number < first + DENIALS)
        && has_room_for_denials(more, number + 1)
}

impl Reason {
    /// Returns the reason with this number; `None` if there is none.
    #[must_use]
    pub fn from_number(number: u8) -> Option<Self> {
        REASONS.get(usize::from(number)).copied()
    }

    /// Returns the index in `COUNTERS`.
    #[inline(always)]
    #[must_use]
    pub const fn counter(self) -> u32 {
        self as u32
    }
}

impl Occurrence {
    /// Returns the index in `COUNTERS`.
    #[inline(always)]
    #[must_use]
    pub const fn counter(self) -> u32 {
        OCCURRENCE_COUNTERS as u32 + self as u32
    }
}

/// Subject of an element of `COUNTERS`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Counted {
    /// Packets with a verdict for this reason.
    Packets(Reason),
    /// Occurrences beside verdicts.
    Occurrences(Occurrence),
}

impl Counted {
    /// Returns everything that is counted, in the order of the indices.
    pub fn all() -> impl Iterator<Item = Self> {
        let occurrences = OCCURRENCES.iter().copied().map(Self::Occurrences);
        REASONS.iter().copied().map(Self::Packets).chain(occurrences)
    }

    /// Returns the word that counters use.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Packets(reason) => reason.as_str(),
            Self::Occurrences(occurrence) => occurrence.as_str(),
        }
    }

    /// Whether the element counts denied packets.
    #[must_use]
    pub const fn denies(self) -> bool {
        match self {
            Self::Packets(reason) => reason.denies(),
            Self::Occurrences(_) => false,
        }
    }

    /// Returns the index in `COUNTERS`.
    #[must_use]
    pub const fn counter(self) -> u32 {
        match self {
            Self::Packets(reason) => reason.counter(),
            Self::Occurrences(occurrence) => occurrence.counter(),
        }
    }
}

impl From<Reason> for Counted {
    fn from(reason: Reason) -> Self {
        Self::Packets(reason)
    }
}

impl From<Occurrence> for Counted {
    fn from(occurrence: Occurrence) -> Self {
        Self::Occurrences(occurrence)
    }
}
