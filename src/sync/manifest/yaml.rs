//! The documents of a file, with the lines where they begin.
//!
//! The value of a scalar is the business of [`tidegate_git::yaml`]; positions and error messages are
//! made here.

use serde::{Deserialize, de::IgnoredAny};
use serde_json::Value;
use serde_saphyr::{Error, Spanned};
use tidegate_git::yaml::{
    MAX_ALIASES, MAX_DEPTH, MAX_DOCUMENTS, MAX_NODES, MAX_TEXT_BYTES, normalize_integers, options,
};

/// A document of a file.
pub(crate) struct Document {
    /// Line at which its content begins, from 1.
    pub(crate) line: u64,
    /// Lines at which the elements of its `items` begin; empty if unknown.
    pub(crate) item_lines: Vec<u64>,
    /// Content.
    pub(crate) value: Value,
}

/// Error in a file that is not usable YAML. It never repeats a value: the file may hold a Secret.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct YamlError {
    /// Line of the error, from 1.
    pub(crate) line: u64,
    /// Cause and, if it helps, the remedy.
    pub(crate) reason: String,
    /// True if it may be valid, and is more than is read.
    pub(crate) is_too_much: bool,
}

/// A List, for the lines of its elements.
#[derive(Deserialize)]
struct ItemLines {
    #[serde(default)]
    items: Option<Vec<Spanned<IgnoredAny>>>,
}

/// The documents of a file, without the empty ones.
pub(crate) fn documents(bytes: &[u8]) -> Result<Vec<Document>, YamlError> {
    let text = std::str::from_utf8(bytes).map_err(|error| YamlError {
        line: line_of(bytes, error.valid_up_to()),
        reason: "the file is not UTF-8 text".to_owned(),
        is_too_much: false,
    })?;
    let read: Vec<Spanned<Value>> = serde_saphyr::from_multiple_with_options(text, options())
        .map_err(|error| YamlError::of(&error))?;
    let mut lines = item_lines(text, &read);
    Ok(read
        .into_iter()
        .enumerate()
        .map(
            |(
                index,
                Spanned {
                    mut value,
                    referenced,
                    ..
                },
            )| {
                normalize_integers(&mut value);
                Document {
                    line: referenced.line(),
                    item_lines: lines.get_mut(index).map(std::mem::take).unwrap_or_default(),
                    value,
                }
            },
        )
        .collect())
}

/// Returns the lines at which the elements of each document's `items` begin; empty if no document
/// is a List.
fn item_lines(text: &str, read: &[Spanned<Value>]) -> Vec<Vec<u64>> {
    let has_list = read
        .iter()
        .any(|document| document.value.get("items").is_some());
    if !has_list {
        return Vec::new();
    }
    let read: Vec<ItemLines> =
        serde_saphyr::from_multiple_with_options(text, options()).unwrap_or_default();
    read.into_iter()
        .map(|list| list.items.unwrap_or_default())
        .map(|items| items.iter().map(|item| item.referenced.line()).collect())
        .collect()
}

fn line_of(bytes: &[u8], at: usize) -> u64 {
    bytes[..at].split(|byte| *byte == b'\n').count() as u64
}

// === impl YamlError ===

impl YamlError {
    fn of(error: &Error) -> Self {
        let error = match error.without_snippet() {
            Error::AliasError { error, .. } => error.without_snippet(),
            other => other,
        };
        Self {
            line: error.location().map_or(1, |at| at.line()),
            reason: reason(error),
            is_too_much: is_too_much(error),
        }
    }
}

/// Returns true for an error of a limit.
fn is_too_much(error: &Error) -> bool {
    matches!(
        error,
        Error::Budget { .. }
            | Error::AliasReplayLimitExceeded { .. }
            | Error::AliasExpansionLimitExceeded { .. }
            | Error::AliasReplayStackDepthExceeded { .. }
    )
}

/// Describes an error in words that repeat nothing of the file but names of keys.
fn reason(error: &Error) -> String {
    match error {
        Error::DuplicateMappingKey { key: Some(key), .. } => {
            format!("the key `{key}` is there twice in one mapping: keep one")
        }
        Error::DuplicateMappingKey { key: None, .. } => {
            "a key is there twice in one mapping: keep one".to_owned()
        }
        Error::UnknownAnchor { .. } => {
            "an alias names an anchor that is not in this document".to_owned()
        }
        Error::NonFiniteFloat { .. } => {
            "a number that is not finite cannot be sent: quote it if it is a text".to_owned()
        }
        error if is_too_much(error) => format!(
            "the file is larger or more deeply nested than Tidegate reads (depth {MAX_DEPTH}, \
             {MAX_NODES} nodes, {MAX_DOCUMENTS} documents, {MAX_ALIASES} aliases, {} MiB with its aliases): split \
             it, or write aliases out",
            MAX_TEXT_BYTES / (1024 * 1024)
        ),
        Error::ExternalMessage { msg, .. } => format!("this is not YAML: {msg}"),
        Error::Eof { .. } => "this is not YAML: the document ends too early".to_owned(),
        Error::ContainerEndMismatch { .. } => {
            "this is not YAML: a bracket closes what was not opened".to_owned()
        }
        _ => "this cannot be read as a Kubernetes object: a tag or a value that JSON does not have"
            .to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn value(text: &str) -> Value {
        let mut documents = documents(text.as_bytes()).expect("YAML");
        assert_eq!(documents.len(), 1);
        documents.remove(0).value
    }

    fn refusal(text: &str) -> YamlError {
        documents(text.as_bytes()).err().expect("refused")
    }

    #[test]
    fn scalars_are_what_kubectl_takes_them_for() {
        let read = value(
            "[yes, No, on, OFF, true, y, 0644, 0o644, 0x1F, 1e3, 1.5, 1_000, 2020-01-01, 1.2.3, ~, '0644', \"yes\", 1:30]",
        );
        assert_eq!(
            read,
            json!([
                true,
                false,
                true,
                false,
                true,
                true,
                420,
                420,
                31,
                1000,
                1.5,
                1000,
                "2020-01-01",
                "1.2.3",
                null,
                "0644",
                "yes",
                "1:30"
            ])
        );
        assert_eq!(value("on: {1: a}"), json!({"on": {"1": "a"}}));
    }

    #[test]
    fn numbers_keep_their_size() {
        let read = value("[18446744073709551615, -9223372036854775808, 0.25]");
        assert_eq!(read, json!([u64::MAX, i64::MIN, 0.25]));
    }

    #[test]
    fn anchors_and_merge_keys_are_written_out() {
        let read = value("base: &b {a: 1}\nuse: {<<: *b, c: 2}\n");
        assert_eq!(read, json!({"base": {"a": 1}, "use": {"a": 1, "c": 2}}));
    }

    #[test]
    fn documents_know_their_lines_and_empty_ones_are_passed_over() {
        let read = documents(b"# only a comment\n---\n---\na: 1\n---\n\n# two\nb: 2\n...\n")
            .expect("YAML");
        let lines: Vec<_> = read.iter().map(|document| document.line).collect();
        assert_eq!(lines, [4, 8]);
        assert!(documents(b"").expect("YAML").is_empty());
    }

    #[test]
    fn elements_of_a_list_know_their_lines() {
        let read = documents(b"kind: List\nitems:\n- a: 1\n- b: 2\n---\nc: 1\n").expect("YAML");
        assert_eq!(read[0].item_lines, [3, 4]);
    }

    #[test]
    fn what_is_wrong_is_said_with_its_line() {
        let twice = refusal("a: 1\nb:\n  c: 1\n  c: 2\n");
        assert_eq!(twice.line, 4);
        assert_eq!(
            twice.reason,
            "the key `c` is there twice in one mapping: keep one"
        );
        assert_eq!(refusal("a:\n  [1, 2\nb: 3\n").line, 3);
        assert_eq!(refusal("a: 1\nb: *nowhere\n").line, 2);
        assert_eq!(
            documents(b"a: 1\nb: \xff\n").err().expect("refused").line,
            2
        );
        assert!(refusal("a: .inf").reason.contains("not finite"));
    }

    #[test]
    fn what_would_grow_without_bound_is_refused() {
        let deep = "[".repeat(100) + &"]".repeat(100);
        let mut laughs = "a: &a [x,x,x,x,x,x,x,x,x,x]\n".to_owned();
        for (name, before) in ["b", "c", "d", "e", "f", "g"]
            .iter()
            .zip(["a", "b", "c", "d", "e", "f"])
        {
            let aliases = vec![format!("*{before}"); 10].join(",");
            laughs = format!("{laughs}{name}: &{name} [{aliases}]\n");
        }
        for text in [deep, laughs, "---\na: 1\n".repeat(2_000)] {
            let reason = refusal(&text).reason;
            assert!(
                reason.contains("than Tidegate reads") || reason.contains("not YAML"),
                "{reason}"
            );
        }
    }

    #[test]
    fn aliases_of_a_long_text_are_counted_with_what_they_repeat() {
        let long = "x".repeat(1024 * 1024);
        let text = format!("a: &a {long}\nb: [{}]\n", ["*a"; 900].join(", "));
        let refused = refusal(&text);
        assert!(refused.is_too_much, "{}", refused.reason);
        assert!(refused.reason.contains("8 MiB"), "{}", refused.reason);
    }

    #[test]
    fn no_refusal_repeats_a_value() {
        for text in [
            "password: hunter2\npassword: hunter3\n",
            "password: !!int hunter2\n",
            "password: *hunter2\n",
            "password: \"hunter2\n",
            "password: hunter2: hunter2\n",
            "password: !!binary hunter2\n",
            "password: %hunter2\n",
            "password: @hunter2\n",
            "- hunter2\nhunter2\n",
        ] {
            let refused = documents(text.as_bytes()).err();
            let reason = refused.map(|error| error.reason).unwrap_or_default();
            assert!(!reason.contains("hunter"), "{text}: {reason}");
        }
    }
}
