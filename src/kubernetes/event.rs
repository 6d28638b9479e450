//! What an event may say.

/// The API server's own limit is 1,024 bytes.
const LONGEST_NOTE: usize = 1_000;

/// A note for an event, cut where it is too long to be taken.
pub(crate) fn note(text: &str) -> String {
    text[..text.floor_char_boundary(LONGEST_NOTE)].to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_note_is_cut_between_characters() {
        assert_eq!(note("short"), "short");
        let long = note(&"é".repeat(1_000));
        assert_eq!((long.len(), long.chars().count()), (1_000, 500));
    }
}
