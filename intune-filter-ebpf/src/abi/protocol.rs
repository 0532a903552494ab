//! Transport protocols whose ports rules have: one list for the map of ports, keys of the configuration,
//! words of commands and fields of JSON.

macro_rules! protocols {
    ($($(#[doc = $doc:literal])+ $name:ident = $number:literal, $word:literal;)+) => {
        /// Transport protocol with ports. The discriminant is its number as an IP protocol.
        #[repr(u8)]
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum TransportProtocol {
            $($(#[doc = $doc])+ $name = $number,)+
        }

        impl TransportProtocol {
            /// Every one, in the order of their ports in `PORTS`.
            pub const ALL: [Self; [$($number),+].len()] = [$(Self::$name),+];

            /// The word that configuration, commands and JSON use.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$name => $word),+ }
            }
        }

        /// Whether an IP protocol is a [`TransportProtocol`].
        #[inline(always)]
        #[must_use]
        pub const fn has_ports(protocol: u8) -> bool {
            $(protocol == $number)||+
        }

        /// Position of an IP protocol among [`TransportProtocol::ALL`]; the first's if it has no ports.
        #[inline(always)]
        pub(super) const fn position(protocol: u8) -> u32 {
            $((protocol == $number) as u32 * const { TransportProtocol::$name.position() })|+
        }
    };
}

protocols! {
    /// TCP (RFC 9293).
    Tcp = 6, "tcp";
    /// UDP (RFC 768).
    Udp = 17, "udp";
}

impl TransportProtocol {
    /// The IP protocol with this number.
    #[must_use]
    pub fn of(number: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|protocol| protocol.number() == number)
    }

    /// Its number as an IP protocol.
    #[must_use]
    pub const fn number(self) -> u8 {
        self as u8
    }

    /// Its position among [`Self::ALL`].
    #[must_use]
    #[expect(clippy::indexing_slicing, reason = "every protocol is among them")]
    pub const fn position(self) -> u32 {
        let mut at = 0;
        while Self::ALL[at] as u8 != self as u8 {
            at += 1;
        }
        at as u32
    }
}
