//! Results of functions that the kernel's programs call: words with named values.
//!
//! Words rather than enums: a kernel function returns one register, and the verifier would follow
//! each of the other values of an enum as a way of its own.

/// Defines a word with named values.
macro_rules! result_word {
    ($(#[$doc:meta])* $visibility:vis $name:ident {
        $($(#[$about:meta])* $value:ident = $word:expr,)*
    }) => {
        $(#[$doc])*
        #[repr(transparent)]
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        $visibility struct $name(u64);

        impl $name {
            $($(#[$about])* $visibility const $value: Self = Self($word);)*
        }
    };
}
pub(crate) use result_word;

/// Converts results to words and words to results: the verifier takes the result of a global
/// function for a number by its type, and refuses a struct of one.
macro_rules! register_word {
    ($($name:ident),*) => {$(
        impl $name {
            /// Returns the result that a word stands for.
            #[inline(always)]
            #[must_use]
            pub const fn from_word(word: u64) -> Self {
                Self(word)
            }

            /// Returns the word of the result.
            #[inline(always)]
            #[must_use]
            pub const fn word(self) -> u64 {
                self.0
            }
        }
    )*};
}
pub(crate) use register_word;
