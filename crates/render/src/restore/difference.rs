//! Edits that turn files at the tip into what they were at the good commit, as small as they can be told.
//!
//! Where a file has the same structure, each scalar that differs is an edit, and whatever stands around it stays, comments
//! included. Where keys or elements were added or removed, and in files that are no YAML, each group of lines is an
//! edit.

use std::ops::Range;

use similar::{Algorithm, DiffOp, capture_diff_slices};
use tidegate_git::{
    line_break,
    node::{self, Content, Node},
};

use super::{Edit, Tip};
use crate::sources::Sources;

/// Two versions of one file.
struct Versions<'t> {
    file: &'t str,
    now: &'t str,
    good: &'t str,
    edits: Vec<Edit>,
}

/// Returns the edits of all files, those of the files nearest to the overlay first.
pub(super) fn edits(tip: &Tip, good: &Sources) -> Vec<Edit> {
    let mut differing: Vec<_> = good
        .files
        .iter()
        .filter_map(|(path, file)| Some((path, file, tip.files.0.get(path)?)))
        .filter(|(_, file, now)| file.bytes != **now)
        .collect();
    differing.sort_by_key(|(path, file, _)| (file.distance, file.role, *path));
    let mut edits = Vec::new();
    for (path, file, now) in differing {
        let texts = (std::str::from_utf8(now), std::str::from_utf8(&file.bytes));
        if let (Ok(now), Ok(good)) = texts {
            edits.extend(between(path, now, good));
        }
    }
    edits
}

/// Returns the edits that turn one version of a file into another.
fn between(file: &str, now: &str, good: &str) -> Vec<Edit> {
    let mut versions = Versions {
        file,
        now,
        good,
        edits: Vec::new(),
    };
    match (node::documents(now), node::documents(good)) {
        (Ok((_, now)), Ok((_, good))) if now.len() == good.len() && !is_text(&now) => {
            for (now, good) in now.iter().zip(&good) {
                versions.node(now, good);
            }
        }
        _ => versions.whole(),
    }
    versions.edits
}

/// Returns true for a file that is read as one scalar, which any text may be.
fn is_text(roots: &[Node]) -> bool {
    roots
        .iter()
        .any(|root| !matches!(root.content, Content::Sequence(_) | Content::Mapping { .. }))
}

// === impl Versions ===

impl Versions<'_> {
    fn whole(&mut self) {
        self.lines(0..self.now.len(), 0..self.good.len());
    }

    fn node(&mut self, now: &Node, good: &Node) {
        if self.now[now.span.clone()] == self.good[good.span.clone()] {
            return;
        }
        match (&now.content, &good.content) {
            (Content::Scalar(_), Content::Scalar(_)) => {
                let replacement =
                    line_break::with(&self.good[good.span.clone()], line_break::of(self.now));
                self.edits.push(Edit {
                    file: self.file.to_owned(),
                    range: now.span.clone(),
                    replacement,
                });
            }
            (Content::Sequence(there), Content::Sequence(before))
                if there.len() == before.len() =>
            {
                for (now, good) in there.iter().zip(before) {
                    self.node(now, good);
                }
            }
            (Content::Mapping { entries: there, .. }, Content::Mapping { .. })
                if has_keys_of(now, good) =>
            {
                for (key, value) in there {
                    if let Content::Scalar(key) = &key.content
                        && let Some((_, before)) = good.get(key)
                    {
                        self.node(value, before);
                    }
                }
            }
            _ => self.lines(
                lines_of(self.now, &now.span),
                lines_of(self.good, &good.span),
            ),
        }
    }

    /// Makes an edit of each group of lines that differ in these parts of the versions.
    fn lines(&mut self, now: Range<usize>, good: Range<usize>) {
        let there = lines(self.now, now);
        let before = lines(self.good, good);
        let (old, new): (Vec<_>, Vec<_>) = (
            there
                .iter()
                .map(|line| without_break(&self.now[line.clone()]))
                .collect(),
            before
                .iter()
                .map(|line| without_break(&self.good[line.clone()]))
                .collect(),
        );
        for operation in capture_diff_slices(Algorithm::Myers, &old, &new) {
            if let DiffOp::Equal { .. } = operation {
                continue;
            }
            let (gone, come) = (operation.old_range(), operation.new_range());
            // Lines that were changed one by one are edits of their own.
            if gone.len() == come.len() {
                for (gone, come) in gone.zip(come) {
                    self.replace(&there, gone..gone + 1, &before, come..come + 1);
                }
            } else {
                self.replace(&there, gone, &before, come);
            }
        }
    }

    fn replace(
        &mut self,
        there: &[Range<usize>],
        gone: Range<usize>,
        before: &[Range<usize>],
        come: Range<usize>,
    ) {
        let start = match there.get(gone.start) {
            Some(line) => line.start,
            None => there.last().map_or(0, |line| line.end),
        };
        let end = if gone.is_empty() {
            start
        } else {
            there[gone.end - 1].end
        };
        let mut text = String::new();
        for line in &before[come] {
            text.push_str(&self.good[line.clone()]);
        }
        let mut replacement = line_break::with(&text, line_break::of(self.now));
        // A last line need not end; one that another comes after has to.
        let at_end = end == self.now.len();
        if !at_end && !replacement.is_empty() && !replacement.ends_with('\n') {
            replacement.push_str(line_break::of(self.now));
        }
        if at_end && start == end && start > 0 && !self.now.ends_with('\n') {
            replacement.insert_str(0, line_break::of(self.now));
        }
        self.edits.push(Edit {
            file: self.file.to_owned(),
            range: start..end,
            replacement,
        });
    }
}

/// Returns true if two mappings have the same keys, all of them scalars.
fn has_keys_of(one: &Node, other: &Node) -> bool {
    match (&one.content, &other.content) {
        (
            Content::Mapping { entries: ours, .. },
            Content::Mapping {
                entries: theirs, ..
            },
        ) => {
            ours.len() == theirs.len()
                && ours.iter().all(|(key, _)| match &key.content {
                    Content::Scalar(key) => other.get(key).is_some(),
                    _ => false,
                })
        }
        _ => false,
    }
}

/// Returns the whole lines that a part of a text stands on.
fn lines_of(text: &str, part: &Range<usize>) -> Range<usize> {
    let start = text[..part.start].rfind('\n').map_or(0, |at| at + 1);
    let end = text[part.end..]
        .find('\n')
        .map_or(text.len(), |at| part.end + at + 1);
    start..end
}

/// Returns the lines of a part of a text, with their breaks.
fn lines(text: &str, part: Range<usize>) -> Vec<Range<usize>> {
    let mut lines = Vec::new();
    let mut at = part.start;
    for line in text[part].split_inclusive('\n') {
        lines.push(at..at + line.len());
        at += line.len();
    }
    lines
}

fn without_break(line: &str) -> &str {
    line.trim_end_matches(['\n', '\r'])
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a test that cannot prepare has failed")]

    use tidegate_git::edited;

    use super::*;

    fn restored(now: &str, good: &str) -> (usize, String) {
        let edits = between("f", now, good);
        let text = edited(now.as_bytes(), &edits).unwrap();
        (edits.len(), String::from_utf8(text).unwrap())
    }

    #[test]
    fn scalars_are_changed_where_they_stand() {
        let now =
            "# head\r\nimages:\r\n- name: app # ours\r\n  newTag: \"2\" # by run 8\r\nx: 1\r\n";
        let good = "images:\n- {name: app, newTag: '1'} # by run 7\nx: 2\n";
        let (count, text) = restored(now, good);
        assert_eq!(count, 2);
        assert_eq!(text, now.replace("\"2\"", "'1'").replace("x: 1", "x: 2"));
    }

    #[test]
    fn what_was_added_or_removed_goes_by_lines() {
        let now = "a: 1\nlist:\n- one\n- two # new\n- three\nlast: x";
        let good = "a: 0\nlist:\n- one\n- three\nlast: x\n";
        let (count, text) = restored(now, good);
        assert_eq!(count, 2);
        assert_eq!(text, "a: 0\nlist:\n- one\n- three\nlast: x");
        let (_, text) = restored("a: 1", "a: 1\nb: 2\n");
        assert_eq!(text, "a: 1\nb: 2\n");
        let (_, text) = restored("{{ if }}\nx: {{ 2 }}\ny\n", "{{ if }}\nx: {{ 1 }}\ny\n");
        assert_eq!(text, "{{ if }}\nx: {{ 1 }}\ny\n");
    }

    #[test]
    fn lines_of_a_patch_in_a_kustomization_are_edits_of_their_own() {
        let now = "patches:\n- patch: |\n    a: 2\n    b: 2\n  target: {}\n";
        let good = "patches:\n- patch: |\n    a: 1\n    b: 1\n  target: {}\n";
        let (count, text) = restored(now, good);
        assert_eq!((count, text.as_str()), (2, good));
    }
}
