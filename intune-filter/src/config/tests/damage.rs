//! Tests that no text makes the reader panic, and that every refusal has a fault.

use proptest::prelude::*;

use super::EXAMPLE;
use crate::config::Config;

proptest! {
    #[test]
    fn never_panics(text in "(\\PC|\n|\t){0,80}|[-\\[\\]{}:,?&*!|>'\"%#@` \na-c0-9]{0,60}") {
        let _ = Config::parse("fuzz.yaml", &text);
    }

    #[test]
    fn never_panics_on_a_damaged_file(at in 0..EXAMPLE.len(), damage in "(\\PC|\n){0,3}") {
        let mut text: Vec<u8> = EXAMPLE.into();
        text.splice(at..at + 1, damage.bytes());
        if let Ok(text) = String::from_utf8(text)
            && let Err(errors) = Config::parse("fuzz.yaml", &text)
        {
            prop_assert!(!errors.errors().is_empty());
        }
    }
}
