//! Causes of an error, in words.

use std::error::Error;

/// Returns an error with its causes.
pub(crate) fn in_full(error: &(dyn Error + 'static)) -> String {
    let all: Vec<_> = all(error).map(ToString::to_string).collect();
    all.join(": ")
}

/// Returns the cause that all others are about: what is around it says only where there was an error.
pub(crate) fn innermost(error: &(dyn Error + 'static)) -> String {
    all(error)
        .last()
        .map_or_else(String::new, ToString::to_string)
}

/// Yields an error and its causes, the innermost last.
fn all<'e>(error: &'e (dyn Error + 'static)) -> impl Iterator<Item = &'e (dyn Error + 'static)> {
    std::iter::successors(Some(error), |error| (*error).source())
}
