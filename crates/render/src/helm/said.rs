//! Helm's errors, as places in the repository.
//!
//! Helm calls a chart's files by the chart's name (`web/templates/app.yaml:6:29`), wherever the chart lies.

use tidegate_git::path::joined;

use crate::{error::Place, sources::Sources};

/// Finds the place that Helm names last, which is the innermost: with a line, if it says one anywhere.
pub(crate) fn place(said: &str, sources: &Sources, chart: &str) -> Place {
    let words = said.split(|letter: char| letter.is_whitespace() || "\"'()<>,".contains(letter));
    let mut found = None;
    for word in words.rev() {
        let mut parts = word.split(':');
        let Some(file) = file_of(parts.next().unwrap_or_default(), sources, chart) else {
            continue;
        };
        if let Some(line) = parts.next().and_then(|line| line.parse().ok()) {
            return Place::at(file, line);
        }
        found.get_or_insert_with(|| Place::of(file));
    }
    found.unwrap_or_else(|| sources.place())
}

/// Returns the file in the repository that Helm calls `name`.
pub(crate) fn file_of(name: &str, sources: &Sources, chart: &str) -> Option<String> {
    let path = match name
        .strip_prefix(chart)
        .and_then(|rest| rest.strip_prefix('/'))
    {
        Some(rest) => joined(&sources.folder, rest),
        None => name.to_owned(),
    };
    sources.files.contains_key(&path).then_some(path)
}
