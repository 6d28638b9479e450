//! Edits of files: bytes that are replaced, while every other stays.

use std::ops::Range;

/// A replacement of some bytes of a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Edit {
    /// Path of the file from the root of the repository.
    pub file: String,
    /// Bytes that are replaced.
    pub range: Range<usize>,
    /// Text that they are replaced with.
    pub replacement: String,
}

/// Returns the text with these edits of it; none if two of them overlap, or one is not in it.
pub fn edited<'e>(text: &[u8], edits: impl IntoIterator<Item = &'e Edit>) -> Option<Vec<u8>> {
    let mut edits: Vec<_> = edits.into_iter().collect();
    edits.sort_by_key(|edit| (edit.range.start, edit.range.end));
    let mut new = Vec::with_capacity(text.len());
    let mut at = 0;
    for Edit {
        range, replacement, ..
    } in edits
    {
        new.extend_from_slice(text.get(at..range.start)?);
        new.extend_from_slice(replacement.as_bytes());
        at = range.end;
    }
    new.extend_from_slice(text.get(at..)?);
    Some(new)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn edits_apply_in_any_order_and_never_overlap() {
        let edit = |range: Range<usize>, replacement: &str| Edit {
            file: String::new(),
            range,
            replacement: replacement.to_owned(),
        };
        let both = [edit(4..5, "FIVE"), edit(0..1, "")];
        assert_eq!(edited(b"abcdef", &both).as_deref(), Some(&b"bcdFIVEf"[..]));
        assert_eq!(edited(b"abcdef", &[edit(0..3, ""), edit(2..4, "")]), None);
    }
}
