//! Results of functions that the kernel's programs call.
//!
//! They are words and not enums: what crosses a function of the kernel's is a register, and an enum's
//! other values would each be a way that the verifier follows.

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

/// Makes words of results, and results of words: the verifier takes a global function's result for a
/// number by its type, and refuses a struct of one.
macro_rules! register_word {
    ($($name:ident),*) => {$(
        impl $name {
            /// Result that a word stands for.
            #[inline(always)]
            #[must_use]
            pub const fn from_word(word: u64) -> Self {
                Self(word)
            }

            /// Word of the result.
            #[inline(always)]
            #[must_use]
            pub const fn word(self) -> u64 {
                self.0
            }
        }
    )*};
}
pub(crate) use register_word;
