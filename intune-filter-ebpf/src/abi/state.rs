//! Layouts of maps that the kernel fills: flows, pending queries, fragments, counters.

use super::{DENIALS, V4, V6, layout};
use crate::{
    bytes::{ne16, ne32},
    result_word::{register_word, result_word},
};

/// Only element of `ACTIVE`: the policy in force.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Active {
    /// Number of the policy, from 1; 0 before the first. The lowest bit is the slot of the maps in
    /// force, so that one aligned load decides everything for a packet.
    pub generation: u32,
    /// Zero.
    pub reserved: u32,
    /// Random seed of keyed hashes, such as those of pending questions; drawn when the map is made.
    pub seed: u64,
}
layout!(Active, 16, u32, u32, u64);

/// Bits of [`Flow::flags`].
pub mod flow_flags {
    /// Policy would have denied it; its group is in audit mode.
    pub const AUDITED: u16 = 1;
    /// Opened by the remote: from another zone, or as the group's `inbound` lets it.
    pub const INBOUND: u16 = 2;
    /// The client has sent FIN.
    pub const CLIENT_FIN: u16 = 4;
    /// The remote has sent FIN.
    pub const REMOTE_FIN: u16 = 8;
    /// Either has sent RST.
    pub const RESET: u16 = 16;
    /// Allowed without a rule: the group is exempt, or unlisted clients are let through.
    pub const UNRULED: u16 = 32;
    /// The remote has answered.
    pub const ANSWERED: u16 = 64;
    /// Its end was reported, or is not to be.
    pub const REPORTED: u16 = 128;
    /// Both bits: let through by the warm-up ([`super::Settings::warm_up_until`]), not by its
    /// group's mode. Its generation is 0, which no policy has, so that each of its packets is
    /// judged again.
    pub const WARM_UP: u16 = AUDITED | UNRULED;
}

/// Key of `FLOWS4`, `FLOWS6` and their `NEW_` twins, seen from the client in both directions.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct FlowKey<A> {
    /// Zone of the client.
    pub zone: u16,
    /// IP protocol: 6, 17, 1 or 58.
    pub protocol: u8,
    /// Zero.
    pub reserved: u8,
    /// Port of the client, network byte order; for an echo, its identifier.
    pub client_port: u16,
    /// Port of the remote, network byte order; for an echo, 0.
    pub remote_port: u16,
    /// Address of the client.
    pub client: A,
    /// Address of the remote.
    pub remote: A,
}
layout!(FlowKey<V4>, 16, u16, u8, u8, u16, u16, V4, V4);
layout!(FlowKey<V6>, 40, u16, u8, u8, u16, u16, V6, V6);

impl<A: Copy> FlowKey<A> {
    /// Key under which the zone of the remote has the flow, if that is another zone's client.
    #[inline(always)]
    #[must_use]
    pub const fn of_remote(&self, zone: u16) -> Self {
        Self {
            zone,
            protocol: self.protocol,
            reserved: 0,
            client_port: self.remote_port,
            remote_port: self.client_port,
            client: self.remote,
            remote: self.client,
        }
    }
}

/// Value of the flow maps. Ingress alone writes the client's counters, and egress alone the
/// remote's; octets are counted from the IP header on.
///
/// The counters are plain additions: if two CPUs count in the same direction of one flow at the
/// same moment, one of the two counts is lost. A network card hands the packets of a flow to one
/// queue, and so to one CPU; this therefore happens only while the card moves the flow to another
/// queue. Four atomic additions would cost every packet of every flow more than its lookup may
/// cost. The counters by rule are exact, since they are per CPU.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Flow {
    /// Time of opening: CLOCK_BOOTTIME, nanoseconds.
    pub opened: u64,
    /// Time of the last packet, to within a second: CLOCK_BOOTTIME, nanoseconds.
    pub last_seen: u64,
    /// Packets from the client.
    pub client_packets: u64,
    /// Octets from the client.
    pub client_bytes: u64,
    /// Packets to the client.
    pub remote_packets: u64,
    /// Octets to the client.
    pub remote_bytes: u64,
    /// TCP: sequence number behind the client's last octet, byte order of the host.
    pub client_end: u32,
    /// TCP: highest number that the client has acknowledged.
    pub client_acknowledged: u32,
    /// TCP: sequence number behind the remote's last octet.
    pub remote_end: u32,
    /// TCP: highest number that the remote has acknowledged.
    pub remote_acknowledged: u32,
    /// Generation of the policy that last allowed the flow, [`Active::generation`]; 0 during the
    /// warm-up.
    pub generation: u32,
    /// Zone of the remote, if that is another zone's: the one that has opened the flow
    /// ([`flow_flags::INBOUND`]), or the one where the client's packets have arrived; otherwise 0.
    pub far_zone: u16,
    /// See [`flow_flags`].
    pub flags: u16,
    /// The rule that allows it, below [`super::RULES`]; [`super::NO_RULE`] if a flag says why there is
    /// none.
    pub rule: u8,
    /// The client's group.
    pub group: u8,
    /// The client's hardware address, as the frame has it that opened the flow, or that was let go on
    /// with it.
    pub client_mac: [u8; 6],
    /// Zero: room for what a flow's name was found to be, and for how long it is leased.
    pub name_state: [u64; 2],
}
layout!(
    Flow, 96, u64, u64, u64, u64, u64, u64, u32, u32, u32, u32, u32, u16, u16, u8, u8, [u8; 6],
    [u64; 2]
);

impl Flow {
    /// The client's hardware address as a word, the first octet lowest in memory.
    #[inline(always)]
    #[must_use]
    pub fn mac(&self) -> u64 {
        let (first, rest) = (ne16::<0, 6>(&self.client_mac), ne32::<2, 6>(&self.client_mac));
        (u64::from(first.to_le()) | u64::from(rest.to_le()) << 16).to_le()
    }

    /// Zone that has opened the flow, by a packet that the zone's policy allows; 0 if it was not opened
    /// from another zone.
    #[inline(always)]
    #[must_use]
    pub const fn origin(&self) -> u16 {
        if self.flags & flow_flags::INBOUND == 0 { 0 } else { self.far_zone }
    }

    /// Makes the word of [`Self::mac`] the client's hardware address.
    #[inline(always)]
    pub const fn set_mac(&mut self, mac: u64) {
        let [a, b, c, d, e, f, ..] = mac.to_ne_bytes();
        self.client_mac = [a, b, c, d, e, f];
    }
}

/// Key of `DNS_PENDING`: a query on its way. IPv4 addresses are mapped.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct PendingKey {
    /// Zone of the client.
    pub zone: u16,
    /// Port of the client, network byte order.
    pub port: u16,
    /// Id of the message, network byte order.
    pub id: u16,
    /// IP protocol: 17, or 6 for TCP.
    pub protocol: u16,
    /// Client that asked.
    pub client: V6,
    /// Resolver that was asked.
    pub resolver: V6,
}
layout!(PendingKey, 40, u16, u16, u16, u16, V6, V6);

/// A question of a client, and the answers to it.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Asked {
    /// Keyed hash of the question, octet for octet: resolvers echo the case of its letters. 0 for no
    /// question.
    pub question: u64,
    /// Number of times that it was asked, and [`Self::PROVEN`] if a proven sender has asked it.
    pub times: u16,
    /// Number of answers that counted, at most as many; [`Self::DISPUTED`] once there were more that
    /// differ.
    pub answers: u16,
    /// Keyed hashes of the last answers that counted, the last one first; never 0.
    pub digests: [u16; 2],
}
layout!(Asked, 16, u64, u16, u16, [u16; 2]);

impl Asked {
    /// [`Self::answers`] of a question with more differing answers than it was asked.
    pub const DISPUTED: u16 = u16::MAX;
    /// Bit of [`Self::times`].
    pub const PROVEN: u16 = 1 << 15;
    /// The others.
    const TIMES: u16 = Self::PROVEN - 1;
}

/// Value of `DNS_PENDING`: up to two questions on their way at once, which a client may send with one
/// port and id.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Pending {
    /// Time of the last query: CLOCK_BOOTTIME, nanoseconds.
    pub asked: u64,
    /// The questions, in any order.
    pub questions: [Asked; 2],
}
layout!(Pending, 40, u64, [Asked; 2]);

impl Pending {
    /// Nanoseconds that an answer is waited for: the longest timeout of stub resolvers, with a margin.
    pub const PATIENCE: u64 = 30_000_000_000;

    /// Whether an answer is waited for no longer.
    #[inline(always)]
    #[must_use]
    pub const fn is_late(&self, now: u64) -> bool {
        now.saturating_sub(self.asked) > Self::PATIENCE
    }

    /// Notes that a question is asked at a time, for which the older of two others makes room; but that of
    /// a proven sender stays when another one asks in its name.
    #[inline(always)]
    pub fn ask(&mut self, question: u64, now: u64, proven: bool) {
        if self.is_late(now) {
            *self = Self::default();
        }
        let proven = if proven { Asked::PROVEN } else { 0 };
        let begun = Asked { question, times: proven | 1, answers: 0, digests: [0; 2] };
        if !self.bring_forward(question) {
            let [first, second] = self.questions;
            let later = second.times & Asked::PROVEN > first.times & Asked::PROVEN;
            let (kept, other) = if later { (second, first) } else { (first, second) };
            if other.times & Asked::PROVEN <= proven {
                self.questions = [begun, kept];
                self.asked = now;
            }
            return;
        }
        self.asked = now;
        let [asked, _] = &mut self.questions;
        let proven = proven | asked.times & Asked::PROVEN;
        asked.times = proven | ((asked.times & Asked::TIMES) + 1).min(Asked::TIMES);
        if asked.answers == Asked::DISPUTED {
            *asked = Asked { times: proven | 1, ..begun };
        }
    }

    /// Puts a question first; false if it was not asked.
    #[inline(always)]
    pub const fn bring_forward(&mut self, question: u64) -> bool {
        let [first, second] = self.questions;
        if second.question == question {
            self.questions = [second, first];
            return true;
        }
        first.question == question
    }

    /// Notes an answer to the first question, by its hash.
    #[inline(always)]
    pub fn answer(&mut self, digest: u16) -> Standing {
        let [asked, _] = &mut self.questions;
        let [last, before] = asked.digests;
        if asked.answers < asked.times & Asked::TIMES {
            asked.answers += 1;
            asked.digests = [digest, last];
            return Standing::COUNTS;
        }
        if digest == last || digest == before || asked.answers == Asked::DISPUTED {
            return Standing::REPEATS;
        }
        asked.answers = Asked::DISPUTED;
        Standing::DISPUTES
    }

    /// Takes back that the last answer to the first question counts.
    #[inline(always)]
    pub const fn unanswer(&mut self) {
        let [asked, _] = &mut self.questions;
        asked.answers = asked.answers.saturating_sub(1);
    }
}

register_word!(Standing);

result_word! {
    /// Place of an answer among those to its question.
    pub Standing {
        /// Answer to a question that was not asked.
        UNASKED = 0,
        /// One of as many answers as questions.
        COUNTS = 1,
        /// The same as an earlier answer, or one of many after a dispute.
        REPEATS = 2,
        /// The first to differ from the earlier ones, of which there were as many as questions: some
        /// of them are forged.
        DISPUTES = 3,
    }
}

/// Key of `FRAGMENTS`: a datagram that comes in fragments. IPv4 addresses are mapped.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct FragmentKey {
    /// Zone that the datagram comes from or goes to.
    pub zone: u16,
    /// IP protocol for IPv4 (RFC 791 makes it part of the identification), 0 for IPv6.
    pub protocol: u16,
    /// Identification of the datagram, network byte order.
    pub id: u32,
    /// Source address.
    pub source: V6,
    /// Destination address.
    pub destination: V6,
}
layout!(FragmentKey, 40, u16, u16, u32, V6, V6);

/// Value of `FRAGMENTS`: verdict over the first fragment.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FragmentVerdict {
    /// Time at which the first fragment passed: CLOCK_BOOTTIME, nanoseconds.
    pub seen: u64,
    /// Octets of the datagram that hold headers: no later fragment may overlap them.
    pub headers: u32,
    /// 1 if the datagram is allowed.
    pub allowed: u8,
    /// Rule that allows the datagram, or 255.
    pub rule: u8,
    /// Group of the client, or 255.
    pub group: u8,
    /// 1 if the datagram passes only because its group is in audit mode or the warm-up lasts.
    pub audited: u8,
    /// Sender of the first fragment: a client's hardware address, as a word like [`Flow::mac`]; of a
    /// datagram to a client [`Self::TO_CLIENT`], and the device that it came in by, if that is a zone's.
    pub sender: u64,
}
layout!(FragmentVerdict, 24, u64, u32, u8, u8, u8, u8, u64);

impl FragmentVerdict {
    /// Bit of [`Self::sender`] that no hardware address has.
    pub const TO_CLIENT: u64 = 1 << 63;
}

/// Element of `COUNTERS`, by [`super::Reason::counter`] or [`super::Occurrence::counter`].
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counter {
    /// Packets.
    pub packets: u64,
    /// Octets of the frames.
    pub bytes: u64,
}
layout!(Counter, 16, u64, u64);

/// Element of `RULE_COUNTERS`, by the number of the rule.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RuleCounter {
    /// Packets of the rule's flows, both directions.
    pub packets: u64,
    /// Octets of the frames of the rule's flows, both directions.
    pub bytes: u64,
    /// Flows that the rule has opened.
    pub flows: u64,
    /// Denied packets whose destination is one of the rule's.
    pub denied: u64,
    /// Packets to one of the rule's destinations that passed only since their group is audited or the
    /// warm-up lasts.
    pub audited: u64,
}
layout!(RuleCounter, 40, u64, u64, u64, u64, u64);

/// Element of `GROUP_COUNTERS`: denials of a group's clients, by reason.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct GroupCounter {
    /// Denied packets, by the number of the reason less [`super::FIRST_DENIAL`].
    pub denied: [u64; DENIALS],
    /// Packets that passed only since the group is audited or the warm-up lasts, likewise.
    pub audited: [u64; DENIALS],
}
layout!(GroupCounter, 512, [u64; DENIALS], [u64; DENIALS]);

/// Returns the key in `GROUP_COUNTERS` of a group, by its number, in the slot of a policy.
#[inline(always)]
#[must_use]
pub const fn group_counter(set: u32, group: u8) -> u32 {
    set << 8 | group as u32
}

/// Returns the key in `GROUP_COUNTERS` of what a group had under the policies before that in a slot.
#[must_use]
pub const fn group_base(set: u32, group: u8) -> u32 {
    group_counter(set + 2, group)
}
