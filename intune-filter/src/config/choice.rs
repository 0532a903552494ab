//! Declares enumerations of words: reading, printing and error texts come from one list.

/// Declares an enumeration whose variants are words of the configuration.
macro_rules! choice {
    (
        $(#[$outer:meta])*
        pub enum $name:ident { $($(#[$inner:meta])* $variant:ident = $word:literal,)+ }
    ) => {
        $(#[$outer])*
        #[derive(
            Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord,
            serde::Serialize, serde::Deserialize,
        )]
        pub enum $name { $($(#[$inner])* #[serde(rename = $word)] $variant,)+ }

        impl $name {
            /// Returns the word of the configuration file.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $word),+ }
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(self.as_str())
            }
        }

        impl $crate::yaml::Read for $name {
            fn read(
                place: $crate::yaml::Place<'_>,
                findings: &mut $crate::yaml::Findings,
            ) -> Option<Self> {
                let word = $crate::yaml::word(place);
                match word {
                    $(Some($word) => Some(Self::$variant),)+
                    _ => findings.expected(place, &[$($word),+].join(" or ")),
                }
            }
        }
    };
}
pub(super) use choice;
