//! Positions of the fields of a document, from the parser that reads it.

use std::collections::HashMap;

use granit_parser::{Event, Parser, Span, StrInput};

use super::finding::Place;

/// Positions of a document's fields, by their paths.
#[derive(Debug)]
pub(super) struct Places {
    root: Place,
    fields: HashMap<String, Place>,
}

/// Reads the parser's events.
struct Reader<'t> {
    parser: Parser<'t, StrInput<'t>>,
    fields: HashMap<String, Place>,
}

/// Returns the positions of each document that is not empty; fewer where the text is not YAML.
pub(super) fn documents(text: &str) -> Vec<Places> {
    let options = granit_parser::options! { emit_comments: false };
    let mut reader = Reader {
        parser: Parser::new_from_str_with_options(text, options),
        fields: HashMap::new(),
    };
    let mut documents = Vec::new();
    while let Some((event, span)) = reader.event() {
        let begins_node = match &event {
            // An empty document has this value.
            Event::Scalar(value, ..) => !matches!(&**value, "" | "~"),
            Event::SequenceStart(..) | Event::MappingStart(..) => true,
            _ => false,
        };
        if begins_node {
            reader.node(&event, "");
            documents.push(Places {
                root: place(&span),
                fields: std::mem::take(&mut reader.fields),
            });
        }
    }
    documents
}

/// Returns the path of a field of the object at `path`.
pub(super) fn field(path: &str, name: &str) -> String {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '$' | '<');
    if !name.chars().all(is_plain) {
        return format!("{path}[{name:?}]");
    }
    if path.is_empty() {
        return name.to_owned();
    }
    format!("{path}.{name}")
}

/// Returns the path of an element of the list at `path`.
pub(super) fn element(path: &str, index: usize) -> String {
    format!("{path}[{index}]")
}

// === impl Places ===

impl Places {
    /// Line at which the document's content begins.
    pub(super) fn line(&self) -> u64 {
        self.root.line
    }

    /// Position of a field. One that came by an alias, or is not there, is where the nearest field around it is.
    pub(super) fn of(&self, path: &str) -> Place {
        let mut path = path;
        loop {
            if let Some(place) = self.fields.get(path) {
                return *place;
            }
            match path.rfind(['.', '[']) {
                Some(end) => path = &path[..end],
                None => return self.root,
            }
        }
    }
}

// === impl Reader ===

impl<'t> Reader<'t> {
    fn event(&mut self) -> Option<(Event<'t>, Span)> {
        self.parser.next_event()?.ok()
    }

    /// Reads the rest of a node that begins with `event`; `None` at the end of what can be read.
    fn node(&mut self, event: &Event<'t>, path: &str) -> Option<()> {
        match event {
            Event::SequenceStart(..) => self.elements(path),
            Event::MappingStart(..) => self.entries(path),
            _ => Some(()),
        }
    }

    fn elements(&mut self, path: &str) -> Option<()> {
        for index in 0.. {
            let (event, span) = self.event()?;
            if matches!(event, Event::SequenceEnd) {
                return Some(());
            }
            let path = element(path, index);
            self.fields.insert(path.clone(), place(&span));
            self.node(&event, &path)?;
        }
        Some(())
    }

    fn entries(&mut self, path: &str) -> Option<()> {
        loop {
            let (key, span) = self.event()?;
            if matches!(key, Event::MappingEnd) {
                return Some(());
            }
            let name = match &key {
                Event::Scalar(name, ..) => name.to_string(),
                _ => String::new(),
            };
            self.node(&key, "")?;
            let path = field(path, &name);
            self.fields.insert(path.clone(), place(&span));
            let (value, _) = self.event()?;
            self.node(&value, &path)?;
        }
    }
}

fn place(span: &Span) -> Place {
    Place {
        line: span.start.line() as u64,
        column: span.start.col() as u64 + 1,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str, path: &str) -> (u64, u64) {
        let place = documents(text)[0].of(path);
        (place.line, place.column)
    }

    #[test]
    fn a_field_is_where_its_key_is() {
        let text = "spec:\n  steps:\n  - { weight: 10, hold: 5m }\n  - approval: {}\n";
        assert_eq!(at(text, "spec"), (1, 1));
        assert_eq!(at(text, "spec.steps[0]"), (3, 5));
        assert_eq!(at(text, "spec.steps[0].hold"), (3, 19));
        assert_eq!(at(text, "spec.steps[1].approval"), (4, 5));
    }

    #[test]
    fn what_is_not_there_is_where_the_nearest_field_around_it_is() {
        let text = "a: 1\nspec: &s\n  x: 1\nother: *s\nlabels: { a.b/c: 1 }\n";
        assert_eq!(at(text, "spec.y[3].z"), (2, 1));
        assert_eq!(at(text, "other.x"), (4, 1));
        assert_eq!(at(text, r#"labels["a.b/c"]"#), (5, 11));
        assert_eq!(at(text, "nowhere"), (1, 1));
    }

    #[test]
    fn each_document_has_its_own() {
        let documents = documents("# none\n---\n---\na: 1\n---\n\nb: 2\n");
        let lines: Vec<_> = documents.iter().map(Places::line).collect();
        assert_eq!(lines, [4, 7]);
    }
}
