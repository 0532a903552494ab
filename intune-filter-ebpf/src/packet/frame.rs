//! Ethernet: EtherType and up to two VLAN tags (IEEE 802.1Q); and what stands in their place where a packet
//! has no Ethernet header.

use super::Packet;
use crate::bytes::be16;

/// Octets of an Ethernet header without tags.
pub const ETHERNET_LENGTH: u32 = 14;
/// EtherType of IPv4.
pub const ETHERTYPE_IPV4: u16 = 0x0800;
/// EtherType of IPv6.
pub const ETHERTYPE_IPV6: u16 = 0x86dd;
const ETHERTYPE_ARP: u16 = 0x0806;
const ETHERTYPE_EAPOL: u16 = 0x888e;
const ETHERTYPE_LLDP: u16 = 0x88cc;
const TAG_CUSTOMER: u16 = 0x8100;
const TAG_SERVICE: u16 = 0x88a8;
/// Least EtherType: smaller values are lengths of LLC frames (IEEE 802.3 clause 3.2.6).
const ETHERTYPE_MIN: u16 = 0x0600;

/// Ethernet header, with its tags.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Frame {
    /// EtherType behind the tags, host byte order.
    pub ethertype: u16,
    /// Offset of the payload in the frame.
    pub payload: u32,
    /// VLAN id of the outer tag; 0 if there is none, or if it only carries a priority.
    pub vlan: u16,
    /// Whether a second tag follows, which no zone names.
    pub second_tag: bool,
}

impl Frame {
    /// Reads the header. `stripped` is the tag that the hardware has stripped, if any; `None` if
    /// the frame ends before its header does.
    ///
    /// Without an Ethernet header no zone has a tag, and one that the stack carries beside the packet
    /// counts as one too many.
    #[inline(always)]
    #[must_use]
    pub fn parse<P: Packet>(packet: &P, stripped: Option<u16>) -> Option<Self> {
        if !P::HAS_ETHERNET {
            let (ethertype, second_tag) = (packet.ethertype(), stripped.is_some());
            return Some(Self { ethertype, payload: 0, vlan: 0, second_tag });
        }
        let header = packet.at::<14>(0)?;
        let mut ethertype = be16::<12, 14>(header);
        let mut payload = ETHERNET_LENGTH;
        let mut vlan = stripped.map(vlan_id);
        if is_tag(ethertype) {
            let tag = packet.at::<4>(ETHERNET_LENGTH)?;
            ethertype = be16::<2, 4>(tag);
            payload += 4;
            if vlan.is_some() {
                let vlan = vlan.unwrap_or_default();
                return Some(Self { ethertype, payload, vlan, second_tag: true });
            }
            vlan = Some(vlan_id(be16::<0, 4>(tag)));
        }
        let second_tag = is_tag(ethertype);
        Some(Self { ethertype, payload, vlan: vlan.unwrap_or_default(), second_tag })
    }

    /// Whether the tag that counts may be another than the first: Linux removes a tag that only
    /// carries a priority, and goes by the next.
    #[inline(always)]
    #[must_use]
    pub const fn hides_vlan(&self) -> bool {
        self.second_tag && self.vlan == 0
    }
}

/// Whether a router takes frames of this type for itself and never forwards their payload.
#[inline(always)]
#[must_use]
pub const fn is_link_scope_ethertype(ethertype: u16) -> bool {
    matches!(ethertype, ETHERTYPE_ARP | ETHERTYPE_EAPOL | ETHERTYPE_LLDP)
        || ethertype < ETHERTYPE_MIN
}

const fn is_tag(ethertype: u16) -> bool {
    matches!(ethertype, TAG_CUSTOMER | TAG_SERVICE)
}

const fn vlan_id(tag: u16) -> u16 {
    tag & 0x0fff
}
