//! Puts one template's text in the place of another's, and checks that nothing else has changed.
//!
//! The good text is taken as its author wrote it, comments included, moved to the indentation and
//! line endings of the place it comes to. Where that would not read the same (an anchor that is
//! defined elsewhere, a block text among braces), the template is written anew from its value.
//! Each way is checked before it is taken: the new file must read like the old one, the template
//! like the good one.

use serde_json::Value;

use super::{
    ObjectKey,
    yaml::{self, Template},
};

/// Why there is no faithful edit.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum SpliceError {
    /// Each way of writing it would change something else, or the template itself.
    #[error(
        "the template cannot be changed without changing the rest of the file; \
         does another part of it refer to an anchor inside the template?"
    )]
    NotFaithful,
}

/// The text of `rejected`'s file with `good`'s template in it.
pub(super) fn splice(rejected: &Template<'_>, good: &Template<'_>) -> Result<String, SpliceError> {
    let ways: [fn(&Template<'_>, &Template<'_>) -> Option<String>; 2] = [
        |rejected, good| Some(as_written(rejected, good)),
        as_rendered,
    ];
    ways.iter()
        .filter_map(|way| way(rejected, good))
        .find(|text| is_faithful(text, rejected, good))
        .ok_or(SpliceError::NotFaithful)
}

fn as_written(rejected: &Template<'_>, good: &Template<'_>) -> String {
    let line_break = line_break_of(rejected.text);
    if rejected.in_flow {
        let text = if good.is_flow() {
            good.text[good.node.span.clone()].to_owned()
        } else {
            good.value().to_string()
        };
        let range = rejected.node.span.clone();
        return replaced(rejected.text, range, &with_line_breaks(&text, line_break));
    }
    let text = if good.in_flow {
        format!("template: {}", good.value())
    } else {
        let block = &good.text[block_of(good)];
        reindented(block, good.key.column, rejected.key.column)
    };
    let text = with_line_breaks(&text, line_break);
    let new = replaced(rejected.text, block_of(rejected), &text);
    let at_the_end = block_of(rejected).end == rejected.text.len();
    if at_the_end && !good.in_flow && good.node.ends_in_text_block() {
        // The file had no line break at its end. Without one the text block would lose its own.
        return new + line_break;
    }
    new
}

fn as_rendered(rejected: &Template<'_>, good: &Template<'_>) -> Option<String> {
    if rejected.in_flow {
        let range = rejected.node.span.clone();
        return Some(replaced(rejected.text, range, &good.value().to_string()));
    }
    let yaml = serde_saphyr::to_string(good.value()).ok()?;
    let block = format!("template:\n{}", yaml.trim_end_matches('\n'));
    // Rendered at column 0, it goes one step deeper than its key.
    let text = reindented(&block, 0, rejected.key.column + 2);
    let text = with_line_breaks(&text, line_break_of(rejected.text));
    Some(replaced(rejected.text, block_of(rejected), &text))
}

fn replaced(text: &str, range: std::ops::Range<usize>, with: &str) -> String {
    let mut new = text.to_owned();
    new.replace_range(range, with);
    new
}

/// From the key to the end of the last line that belongs to it, without that line's break: the
/// rest of the value's last line, and the comments below that are indented deeper than the key.
fn block_of(template: &Template<'_>) -> std::ops::Range<usize> {
    let text = template.text;
    let value_end = template.node.span.end.max(template.key.span.end);
    // What `+` keeps ends with the break of a blank line.
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

/// `block` moved from one column to another. Its first line has its indentation outside.
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

/// The line break that a text begins to use.
fn line_break_of(text: &str) -> &'static str {
    match text.find('\n') {
        Some(at) if text[..at].ends_with('\r') => "\r\n",
        _ => "\n",
    }
}

fn with_line_breaks(text: &str, line_break: &str) -> String {
    text.replace("\r\n", "\n").replace('\n', line_break)
}

/// Whether `text` says what it should: the good template, and all else as before.
fn is_faithful(text: &str, rejected: &Template<'_>, good: &Template<'_>) -> bool {
    let Some(new) = reread(text, rejected) else {
        return false;
    };
    let others_are_as_before = new.documents.len() == rejected.documents.len()
        && (0..new.documents.len()).all(|document| {
            document == rejected.place.document
                || text[new.documents[document].clone()]
                    == rejected.text[rejected.documents[document].clone()]
        });
    others_are_as_before
        && new.place == rejected.place
        && new.value() == good.value()
        && new.document_without_template() == rejected.document_without_template()
}

/// The same object's template in the new text.
fn reread<'t>(text: &'t str, before: &Template<'_>) -> Option<Template<'t>> {
    let object = match before.place.item {
        Some(item) => &before.document["items"][item],
        None => &before.document,
    };
    let string = |value: &Value| value.as_str().map(str::to_owned);
    let namespace = string(&object["metadata"]["namespace"]).filter(|name| !name.is_empty());
    let target = ObjectKey {
        api_version: string(&object["apiVersion"])?,
        kind: string(&object["kind"])?,
        namespace: namespace.unwrap_or_default(),
        name: string(&object["metadata"]["name"])?,
    };
    yaml::find_template(text, &target, "").ok().flatten()
}

#[cfg(test)]
mod tests;
