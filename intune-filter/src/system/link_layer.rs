//! Tells where the packets of a network interface begin, and of which interfaces they cannot be judged.

use std::fmt;

use rtnetlink::packet_route::link::{
    InfoKind, LinkAttribute, LinkInfo, LinkLayerType, LinkMessage,
};

/// Form of an interface's packets as programs on it see them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LinkLayer {
    /// Frames, with an Ethernet header.
    Ethernet,
    /// Frames of a bond. A program in the drivers of its members sees them as the members', which no zone
    /// names: native XDP would pass them unjudged.
    Bond,
    /// Packets from the IP header on (layer 3): tunnels, PPP.
    Layer3,
    /// Packets that cannot be judged on the interface.
    Unjudged(Unjudged),
}

/// Cause for which packets cannot be judged on an interface.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Unjudged {
    /// The interface is a VRF.
    Vrf,
    /// The interface is an ipvlan device.
    IpVlan,
    /// Nobody knows where the packets begin: the link type, and the kind of the device if it has one.
    Unknown(String, Option<String>),
}

impl fmt::Display for Unjudged {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Vrf => to.write_str(
                "cannot be judged, since it is a VRF: packets come in by its members, expected those",
            ),
            Self::IpVlan => to.write_str(
                "cannot be judged, since it is an ipvlan device: what clients send through the gateway \
                 comes in by the device below it, expected that",
            ),
            Self::Unknown(link, kind) => {
                let kind = kind.as_ref().map(|kind| format!(" of kind {kind}"));
                let kind = kind.unwrap_or_default();
                write!(
                    to,
                    "cannot be judged, since its link type {link}{kind} does not say where packets \
                     begin; expected an interface with an Ethernet header, or tun, WireGuard or PPP"
                )
            }
        }
    }
}

impl LinkLayer {
    /// Whether packets are frames, with an Ethernet header.
    #[must_use]
    pub const fn has_frames(&self) -> bool {
        matches!(self, Self::Ethernet | Self::Bond)
    }

    /// Returns that of an interface, as the kernel describes it.
    ///
    /// A type without a link-layer header does not suffice: the kernel leaves an Ethernet header before
    /// what comes out of IPsec, and the outer headers before what comes out of some tunnels. Hence the
    /// kinds by name; drivers of network cards, such as modems, tell none.
    #[must_use]
    pub(super) fn of(message: &LinkMessage) -> Self {
        let (link, kind) = (message.header.link_layer_type, kind(message));
        match (link, kind) {
            (_, Some(InfoKind::Vrf)) => Self::Unjudged(Unjudged::Vrf),
            (_, Some(InfoKind::IpVlan | InfoKind::IpVtap)) => Self::Unjudged(Unjudged::IpVlan),
            (LinkLayerType::Ether, Some(InfoKind::Bond)) => Self::Bond,
            (LinkLayerType::Ether | LinkLayerType::Loopback, _) => Self::Ethernet,
            (
                LinkLayerType::None | LinkLayerType::Rawip | LinkLayerType::Ppp,
                None | Some(InfoKind::Tun | InfoKind::Wwan | InfoKind::RmNet),
            )
            | (LinkLayerType::None, Some(InfoKind::Wireguard)) => Self::Layer3,
            (LinkLayerType::Ppp, Some(InfoKind::Other(name))) if name == "ppp" => Self::Layer3,
            _ => {
                let kind = kind.map(ToString::to_string);
                Self::Unjudged(Unjudged::Unknown(link.to_string(), kind))
            }
        }
    }
}

/// Returns the kind of a device, as the kernel names it.
pub(super) fn kind(message: &LinkMessage) -> Option<&InfoKind> {
    message.attributes.iter().find_map(|attribute| match attribute {
        LinkAttribute::LinkInfo(infos) => infos.iter().find_map(|info| match info {
            LinkInfo::Kind(kind) => Some(kind),
            _ => None,
        }),
        _ => None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn layer(link: LinkLayerType, kind: Option<InfoKind>) -> LinkLayer {
        let mut message = LinkMessage::default();
        message.header.link_layer_type = link;
        let info = kind.map(|kind| LinkAttribute::LinkInfo(vec![LinkInfo::Kind(kind)]));
        message.attributes.extend(info);
        LinkLayer::of(&message)
    }

    #[test]
    fn packets_begin_where_the_type_and_the_kind_say() {
        let ppp = || Some(InfoKind::Other("ppp".to_owned()));
        for (link, kind, expected) in [
            (LinkLayerType::Ether, None, LinkLayer::Ethernet),
            (LinkLayerType::Ether, Some(InfoKind::Tun), LinkLayer::Ethernet),
            (LinkLayerType::Ether, Some(InfoKind::Bond), LinkLayer::Bond),
            (LinkLayerType::None, Some(InfoKind::Tun), LinkLayer::Layer3),
            (LinkLayerType::None, Some(InfoKind::Wireguard), LinkLayer::Layer3),
            (LinkLayerType::Rawip, None, LinkLayer::Layer3),
            (LinkLayerType::Ppp, ppp(), LinkLayer::Layer3),
            (LinkLayerType::Ether, Some(InfoKind::Vrf), LinkLayer::Unjudged(Unjudged::Vrf)),
            (LinkLayerType::Ether, Some(InfoKind::IpVlan), LinkLayer::Unjudged(Unjudged::IpVlan)),
        ] {
            assert_eq!(layer(link, kind.clone()), expected, "{link} {kind:?}");
        }
    }

    #[test]
    fn what_leaves_other_headers_before_its_packets_is_refused_by_name() {
        for (link, kind, name) in [
            (LinkLayerType::None, InfoKind::Xfrm, "NONE of kind xfrm"),
            (LinkLayerType::Tunnel, InfoKind::Vti, "TUNNEL of kind vti"),
            (LinkLayerType::Ipgre, InfoKind::GreTun, "IPGRE of kind gre"),
        ] {
            let LinkLayer::Unjudged(why) = layer(link, Some(kind)) else { panic!("{name}") };
            assert!(why.to_string().contains(name), "{why}");
        }
    }
}
