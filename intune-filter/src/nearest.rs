//! Finds the known word that somebody may have meant by an unknown one.

/// Returns the known word nearest to `word`, if one is near enough to be meant.
#[must_use]
pub(crate) fn nearest<'a>(word: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let distance = |known: &str| strsim::damerau_levenshtein(word, known);
    let near = known.into_iter().map(|known| (distance(known), known)).min()?;
    (near.0 <= 2 + word.len() / 4 && near.0 < word.chars().count()).then_some(near.1)
}

#[cfg(test)]
mod tests {
    use super::nearest;

    #[test]
    fn near_words_are_found_and_far_ones_are_not() {
        let known = ["networks", "services", "mode", "name", "on"];
        for (word, found) in [
            ("network", Some("networks")),
            ("netwroks", Some("networks")),
            ("Services", Some("services")),
            ("mdoe", Some("mode")),
            ("resolvers_and_more", None),
            ("x", None),
            ("", None),
        ] {
            assert_eq!(nearest(word, known), found, "{word}");
        }
    }
}
