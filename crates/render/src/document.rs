//! Documents of a YAML file: their values as kubectl reads them, and the lines of what is in them.

use std::{fmt, ops::Range};

use serde_json::Value;
use tidegate_git::{
    node::{self, Content, Node},
    yaml,
};

/// A document that is not empty.
pub(crate) struct Document {
    pub(crate) value: Value,
    /// Line of its first node, from 1.
    pub(crate) line: usize,
    root: Node,
}

/// A text that is not usable YAML. It repeats no value, for the text may hold a Secret.
#[derive(Debug)]
pub(crate) struct Malformed {
    /// Line of the error, from 1.
    pub(crate) line: usize,
    pub(crate) reason: String,
}

/// A step into a value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    Key(String),
    Index(usize),
}

/// Steps into a value, as people write them: `patches[2].path`.
pub(crate) struct Field<'a>(pub(crate) &'a [Step]);

/// Returns the documents of a file.
pub(crate) fn documents(bytes: &[u8]) -> Result<Vec<Document>, Malformed> {
    let text = std::str::from_utf8(bytes).map_err(|error| Malformed {
        line: line_at(bytes, error.valid_up_to()),
        reason: "the file is not UTF-8 text".to_owned(),
    })?;
    let (ranges, roots) = node::documents(text).map_err(|error| Malformed::of_nodes(&error))?;
    let mut documents = Vec::new();
    for (range, root) in ranges.into_iter().zip(roots) {
        let first = line_at(bytes, range.start);
        let value =
            yaml::from_str(&text[range]).map_err(|error| Malformed::of_value(&error, first))?;
        if value.is_null() {
            continue;
        }
        documents.push(Document {
            value,
            line: line_at(bytes, root.span.start),
            root,
        });
    }
    Ok(documents)
}

/// Returns the line of a byte, from 1.
pub(crate) fn line_at(bytes: &[u8], at: usize) -> usize {
    let before = &bytes[..at.min(bytes.len())];
    before.split(|byte| *byte == b'\n').count()
}

// === impl Document ===

impl Document {
    /// Returns the bytes of the value of a field; none if it is not there, or in what an alias stands for.
    pub(crate) fn range_of(&self, steps: &[Step]) -> Option<Range<usize>> {
        let mut node = &self.root;
        for step in steps {
            node = match (step, &node.content) {
                (Step::Key(key), Content::Mapping { .. }) => node.get(key)?.1,
                (Step::Index(index), Content::Sequence(items)) => items.get(*index)?,
                _ => return None,
            };
        }
        Some(node.span.clone())
    }

    /// Returns the byte at which a field begins, or the nearest around it that has a place of its own: what an
    /// alias stands for is elsewhere.
    pub(crate) fn start_of(&self, steps: &[Step]) -> usize {
        let mut node = &self.root;
        let mut start = node.span.start;
        for step in steps {
            let next = match (step, &node.content) {
                (Step::Key(key), Content::Mapping { .. }) => {
                    node.get(key).map(|(key, value)| (key.span.start, value))
                }
                (Step::Index(index), Content::Sequence(items)) => {
                    items.get(*index).map(|item| (item.span.start, item))
                }
                _ => None,
            };
            let Some((begin, next)) = next else {
                break;
            };
            (start, node) = (begin, next);
        }
        start
    }
}

// === impl Malformed ===

impl Malformed {
    fn of_nodes(error: &tidegate_git::YamlError) -> Self {
        let line = match error {
            tidegate_git::YamlError::Syntax(error) => error.marker().line(),
            tidegate_git::YamlError::Unexpected { line } => *line,
            tidegate_git::YamlError::Value(_)
            | tidegate_git::YamlError::TooDeep
            | tidegate_git::YamlError::ObjectTwice => 1,
        };
        Self {
            line: line.max(1),
            reason: format!("this is not YAML: {error}"),
        }
    }

    /// `first` is the line of the file at which the document begins.
    fn of_value(error: &serde_saphyr::Error, first: usize) -> Self {
        let error = error.without_snippet();
        let line = error.location().map_or(1, |at| at.line());
        Self {
            line: first + usize::try_from(line).unwrap_or(1).max(1) - 1,
            reason: reason(error),
        }
    }
}

/// Describes an error in words that repeat nothing of the file but names of keys.
pub(crate) fn reason(error: &serde_saphyr::Error) -> String {
    match error.without_snippet() {
            serde_saphyr::Error::DuplicateMappingKey { key: Some(key), .. } => {
                format!("the key `{key}` is there twice in one mapping: keep one")
            }
            serde_saphyr::Error::UnknownAnchor { .. } => {
                "an alias names an anchor that is not in this document".to_owned()
            }
            serde_saphyr::Error::Budget { .. }
            | serde_saphyr::Error::AliasReplayLimitExceeded { .. }
            | serde_saphyr::Error::AliasExpansionLimitExceeded { .. }
            | serde_saphyr::Error::AliasReplayStackDepthExceeded { .. } => {
                "the file is larger or more deeply nested than Tidegate reads: split it, or write aliases out"
                    .to_owned()
            }
            _ => "this is not YAML as Kubernetes reads it".to_owned(),
        }
}

// === impl Step ===

impl From<&str> for Step {
    fn from(key: &str) -> Self {
        Self::Key(key.to_owned())
    }
}

impl From<usize> for Step {
    fn from(index: usize) -> Self {
        Self::Index(index)
    }
}

// === impl Field ===

impl fmt::Display for Field<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, step) in self.0.iter().enumerate() {
            match step {
                Step::Key(key) if at == 0 => write!(f, "{key}")?,
                Step::Key(key) => write!(f, ".{key}")?,
                Step::Index(index) => write!(f, "[{index}]")?,
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a test that cannot prepare has failed")]

    use super::*;

    #[test]
    fn fields_have_lines_and_aliases_those_of_their_own() {
        let text = "# one\nresources:\n- a\n- &x b\nbases: [*x]\n---\nkind: Second\n";
        let documents = documents(text.as_bytes()).unwrap();
        let line = |steps: &[Step]| line_at(text.as_bytes(), documents[0].start_of(steps));
        assert_eq!(documents[0].value["bases"][0], "b");
        assert_eq!(line(&["resources".into(), 1.into()]), 4);
        assert_eq!(line(&["bases".into(), 0.into()]), 5);
        assert_eq!(documents[1].line, 7);
        assert_eq!(
            Field(&["a".into(), 1.into(), "b".into()]).to_string(),
            "a[1].b"
        );
    }

    #[test]
    fn merge_keys_and_byte_order_marks_are_read_as_kustomize_reads_them() {
        let text = "\u{feff}a: &a {x: 1}\r\nb: {<<: *a, y: 2}\r\n";
        let documents = documents(text.as_bytes()).unwrap();
        assert_eq!(documents[0].value["b"]["x"], 1);
    }

    #[test]
    fn an_error_has_the_line_of_the_file() {
        let line = |text: &str| documents(text.as_bytes()).err().unwrap().line;
        assert_eq!(line("a: 1\n---\nb: 1\nb: 2\n"), 4);
        assert_eq!(line("a: 1\nb: [\n"), 2);
    }
}
