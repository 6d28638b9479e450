//! Replacement of one template's text by another's, with a check that nothing else has changed.
//!
//! The good text is taken as its author wrote it, comments included, and adapted to the indentation
//! and line endings of its new place. If it would be read differently there (an anchor that is
//! defined elsewhere, a block scalar among braces), the template is rendered from its value.
//! Each result is checked before it is used: the new file has to be read like the old one, the
//! template like the good one.

use std::ops::Range;

use serde_json::Value;

use super::{
    ObjectKey,
    template::{self, LocatedTemplate},
};
use crate::line_break;

/// A template that cannot be replaced faithfully.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum SpliceError {
    /// Every edit would change something else, or the template itself.
    #[error(
        "changing the template would change the rest of the file; \
         check whether another part of it refers to an anchor inside the template"
    )]
    NotFaithful,
}

/// Returns the text of `rejected`'s file with `good`'s template in it.
pub(super) fn splice(
    rejected: &LocatedTemplate<'_>,
    good: &LocatedTemplate<'_>,
) -> Result<String, SpliceError> {
    let written = as_written(rejected, good);
    if is_faithful(&written, rejected, good) {
        return Ok(written);
    }
    match as_rendered(rejected, good) {
        Some(rendered) if is_faithful(&rendered, rejected, good) => Ok(rendered),
        Some(_) | None => Err(SpliceError::NotFaithful),
    }
}

/// Edits with the good text as its author wrote it.
fn as_written(rejected: &LocatedTemplate<'_>, good: &LocatedTemplate<'_>) -> String {
    let line_break = line_break::of(rejected.text);
    if rejected.in_flow {
        let text = if good.is_flow() {
            good.text[good.node.span.clone()].to_owned()
        } else {
            good.value().to_string()
        };
        let range = rejected.node.span.clone();
        return replaced(rejected.text, range, &line_break::with(&text, line_break));
    }
    let text = if good.in_flow {
        format!("template: {}", good.value())
    } else {
        let block = &good.text[block_of(good)];
        reindented(block, good.key.column, rejected.key.column)
    };
    let text = line_break::with(&text, line_break);
    let new = replaced(rejected.text, block_of(rejected), &text);
    let at_the_end = block_of(rejected).end == rejected.text.len();
    if at_the_end && !good.in_flow && good.node.ends_in_block_scalar() {
        // The file had no line break at its end. Without one the block scalar would lose its own.
        return new + line_break;
    }
    new
}

/// Edits with a text that is rendered from the good template's value.
fn as_rendered(rejected: &LocatedTemplate<'_>, good: &LocatedTemplate<'_>) -> Option<String> {
    if rejected.in_flow {
        let range = rejected.node.span.clone();
        return Some(replaced(rejected.text, range, &good.value().to_string()));
    }
    let yaml = serde_saphyr::to_string(good.value()).ok()?;
    let block = format!("template:\n{}", yaml.trim_end_matches('\n'));
    // It is rendered at column 0 and has to be one step deeper than its key.
    let text = reindented(&block, 0, rejected.key.column + 2);
    let text = line_break::with(&text, line_break::of(rejected.text));
    Some(replaced(rejected.text, block_of(rejected), &text))
}

fn replaced(text: &str, range: Range<usize>, with: &str) -> String {
    let mut new = text.to_owned();
    new.replace_range(range, with);
    new
}

/// Returns the bytes from the key to the end of the last line that belongs to the template, without
/// that line's break: the rest of the value's last line, and the comments below that are indented
/// deeper than the key.
fn block_of(template: &LocatedTemplate<'_>) -> Range<usize> {
    let text = template.text;
    let value_end = template.node.span.end.max(template.key.span.end);
    // A text that `+` keeps ends with the break of a blank line.
    let mut end = if text[..value_end].ends_with('\n') {
        value_end - 1
    } else {
        end_of_line(text, value_end)
    };
    let mut next = end;
    while let Some(start) = text[next..].find('\n').map(|at| next + at + 1) {
        next = end_of_line(text, start);
        let line = &text[start..next];
        let indent = line.len() - line.trim_start_matches(' ').len();
        if line.trim().is_empty() && start < text.len() {
            continue;
        }
        if !line[indent..].starts_with('#') || indent <= template.key.column {
            break;
        }
        end = next;
    }
    if text[..end].ends_with('\r') {
        end -= 1;
    }
    template.key.span.start..end
}

fn end_of_line(text: &str, from: usize) -> usize {
    text[from..].find('\n').map_or(text.len(), |at| from + at)
}

/// Moves `block` from one column to another. The indentation of its first line is not part of it.
fn reindented(block: &str, from: usize, to: usize) -> String {
    let mut lines = block.split('\n');
    let mut moved = lines.next().unwrap_or_default().to_owned();
    for line in lines {
        moved.push('\n');
        if to >= from {
            if !line.trim_end_matches('\r').is_empty() {
                moved.push_str(&" ".repeat(to - from));
            }
            moved.push_str(line);
        } else {
            let spaces = line.len() - line.trim_start_matches(' ').len();
            moved.push_str(&line[spaces.min(from - to)..]);
        }
    }
    moved
}

/// Returns true if `text` has the good template, and everything else as before.
fn is_faithful(text: &str, rejected: &LocatedTemplate<'_>, good: &LocatedTemplate<'_>) -> bool {
    let Some(new) = reread(text, rejected) else {
        return false;
    };
    let others_are_as_before = new.documents.len() == rejected.documents.len()
        && (0..new.documents.len()).all(|document| {
            document == rejected.position.document
                || text[new.documents[document].clone()]
                    == rejected.text[rejected.documents[document].clone()]
        });
    others_are_as_before
        && new.position == rejected.position
        && new.value() == good.value()
        && new.document_without_template() == rejected.document_without_template()
}

/// Finds the template of the same object in the new text.
fn reread<'t>(text: &'t str, before: &LocatedTemplate<'_>) -> Option<LocatedTemplate<'t>> {
    let object = match before.position.item {
        Some(item) => &before.document["items"][item],
        None => &before.document,
    };
    let namespace = string(&object["metadata"]["namespace"]).filter(|name| !name.is_empty());
    let target = ObjectKey {
        api_version: string(&object["apiVersion"])?,
        kind: string(&object["kind"])?,
        namespace: namespace.unwrap_or_default(),
        name: string(&object["metadata"]["name"])?,
    };
    template::find(text, &target, "").ok().flatten()
}

fn string(value: &Value) -> Option<String> {
    value.as_str().map(str::to_owned)
}

#[cfg(test)]
mod tests;
