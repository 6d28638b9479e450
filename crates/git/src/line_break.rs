//! Line breaks of a text, which an edit of it keeps.

/// Returns the first line break of a text.
pub fn of(text: &str) -> &'static str {
    match text.find('\n') {
        Some(at) if text[..at].ends_with('\r') => "\r\n",
        _ => "\n",
    }
}

/// Gives a text these line breaks.
pub fn with(text: &str, line_break: &str) -> String {
    text.replace("\r\n", "\n").replace('\n', line_break)
}
