//! Declares the closed words of a catalogue: reading, printing and error texts come from one list.

/// Declares an enumeration whose variants are words of a catalogue.
macro_rules! words {
    (
        $(#[$outer:meta])*
        pub enum $name:ident: $what:literal { $($(#[$inner:meta])* $variant:ident = $word:literal,)+ }
    ) => {
        $(#[$outer])*
        #[derive(
            Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord,
            serde::Serialize, serde::Deserialize,
        )]
        pub enum $name { $($(#[$inner])* #[serde(rename = $word)] $variant,)+ }

        impl $name {
            /// Every value.
            pub const ALL: &'static [Self] = &[$(Self::$variant),+];

            /// Returns the word.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $word),+ }
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.pad(self.as_str())
            }
        }

        impl std::str::FromStr for $name {
            type Err = String;

            fn from_str(text: &str) -> Result<Self, String> {
                match text {
                    $($word => Ok(Self::$variant),)+
                    _ => Err(format!(
                        concat!("bad ", $what, " {:?}, expected {}"), text, [$($word),+].join(" or ")
                    )),
                }
            }
        }

        impl $crate::yaml::Read for $name {
            fn read(
                place: $crate::yaml::Place<'_>,
                findings: &mut $crate::yaml::Findings,
            ) -> Option<Self> {
                $crate::yaml::parsed(place, findings, &[$($word),+].join(" or "))
            }
        }
    };
}
pub(super) use words;
