//! Where the `spec.template` of an object stands in a YAML file, to the byte.
//!
//! The positions come from granit-parser's events. It is the parser inside serde-saphyr, which
//! reads the same files for sync, so both agree on what a file says; serde-saphyr's own
//! `Spanned` gives only the place of a value whose Rust type is known, with no end for a block
//! collection and no style, and an edit needs all three. Values are compared as
//! sync reads them: see [`crate::yaml`].

use std::ops::Range;

use granit_parser::{Event, Parser, ScalarStyle, ScanError, Span, StructureStyle};
use serde_json::Value;

use super::ObjectKey;
use crate::yaml;

/// Why a file cannot be edited.
#[derive(Debug, thiserror::Error)]
pub enum YamlError {
    /// Not YAML.
    #[error(transparent)]
    Syntax(#[from] ScanError),
    /// YAML, but not what an object may be (a duplicate key, an odd tag, …).
    #[error(transparent)]
    Value(#[from] Box<serde_saphyr::Error>),
    /// Deeper than any object.
    #[error("nodes are nested more than {MAX_DEPTH} deep")]
    TooDeep,
    /// The object is there more than once.
    #[error("the object is in the file twice")]
    ObjectTwice,
    /// An event that has no place where it stands, or one that a later parser knows.
    #[error("line {line} holds something unexpected")]
    Unexpected {
        /// From 1.
        line: usize,
    },
}

/// A `spec.template` in a text.
#[derive(Debug)]
pub(super) struct Template<'t> {
    /// The whole file.
    pub(super) text: &'t str,
    /// Its documents, in order.
    pub(super) documents: Vec<Range<usize>>,
    /// Which of them, and which item of it where it is a `List`.
    pub(super) place: Place,
    /// Whether the object's `spec` is written with braces.
    pub(super) in_flow: bool,
    /// The key `template`.
    pub(super) key: Node,
    /// Its value.
    pub(super) node: Node,
    /// The whole document as it reads.
    pub(super) document: Value,
}

/// An object's place in a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) document: usize,
    pub(super) item: Option<usize>,
}

/// A node of a document.
#[derive(Clone, Debug)]
pub(super) struct Node {
    /// From the first to the last byte of what it holds, without comments around it.
    pub(super) span: Range<usize>,
    /// The column that it begins at.
    pub(super) column: usize,
    content: Content,
}

#[derive(Clone, Debug)]
enum Content {
    Scalar(String),
    /// A scalar under `|` or `>`.
    TextBlock(String),
    Alias,
    Sequence(Vec<Node>),
    Mapping {
        flow: bool,
        entries: Vec<(Node, Node)>,
    },
}

/// Reads events into nodes.
struct Reader<'t> {
    text: &'t str,
    parser: Parser<'t, granit_parser::StrInput<'t>>,
}

/// Kubernetes' own objects stay far below.
const MAX_DEPTH: usize = 100;

/// Finds the template of `target`. `None` where the object or its template isn't there.
pub(super) fn find_template<'t>(
    text: &'t str,
    target: &ObjectKey,
    default_namespace: &str,
) -> Result<Option<Template<'t>>, YamlError> {
    let (documents, roots) = Reader::new(text).documents()?;
    let mut found = None;
    for (document, root) in roots.iter().enumerate() {
        for (item, object) in objects(root) {
            if !object.is(target, default_namespace) {
                continue;
            }
            if found.replace((Place { document, item }, object)).is_some() {
                return Err(YamlError::ObjectTwice);
            }
        }
    }
    let Some((place, object)) = found else {
        return Ok(None);
    };
    let Some((in_flow, key, node)) = object.template() else {
        return Ok(None);
    };
    let document = value_of(&text[documents[place.document].clone()])?;
    Ok(Some(Template {
        text,
        place,
        in_flow,
        key: key.clone(),
        node: node.clone(),
        document,
        documents,
    }))
}

/// The value of a text of one document.
fn value_of(text: &str) -> Result<Value, YamlError> {
    yaml::value(text).map_err(|error| YamlError::Value(Box::new(error)))
}

/// The objects of a document: itself, or the items of a `List`.
fn objects(root: &Node) -> Vec<(Option<usize>, &Node)> {
    let items = root.get("items").map(|(_, items)| &items.content);
    match (root.scalar_at("kind"), items) {
        (Some("List"), Some(Content::Sequence(items))) => items
            .iter()
            .enumerate()
            .map(|(index, item)| (Some(index), item))
            .collect(),
        _ => vec![(None, root)],
    }
}

// === impl Template ===

impl Template<'_> {
    /// The template as it reads.
    pub(super) fn value(&self) -> &Value {
        let object = match self.place.item {
            Some(item) => &self.document["items"][item],
            None => &self.document,
        };
        &object["spec"]["template"]
    }

    /// The document without the template.
    pub(super) fn document_without_template(&self) -> Value {
        let mut document = self.document.clone();
        let object = match self.place.item {
            Some(item) => &mut document["items"][item],
            None => &mut document,
        };
        object["spec"]["template"] = Value::Null;
        document
    }

    /// Whether the template itself is written with braces.
    pub(super) fn is_flow(&self) -> bool {
        matches!(self.node.content, Content::Mapping { flow: true, .. })
    }
}

// === impl Node ===

impl Node {
    fn get(&self, key: &str) -> Option<(&Node, &Node)> {
        let Content::Mapping { entries, .. } = &self.content else {
            return None;
        };
        entries
            .iter()
            .find(|(name, _)| matches!(&name.content, Content::Scalar(name) if name == key))
            .map(|(name, value)| (name, value))
    }

    fn scalar_at(&self, key: &str) -> Option<&str> {
        match &self.get(key)?.1.content {
            Content::Scalar(value) | Content::TextBlock(value) => Some(value),
            Content::Alias | Content::Sequence(_) | Content::Mapping { .. } => None,
        }
    }

    /// Whether the last thing in it is a text block, which needs a line break after it.
    pub(super) fn ends_in_text_block(&self) -> bool {
        match &self.content {
            Content::TextBlock(_) => true,
            Content::Scalar(_) | Content::Alias => false,
            Content::Sequence(items) => items.last().is_some_and(Self::ends_in_text_block),
            Content::Mapping { entries, .. } => entries
                .last()
                .is_some_and(|(_, value)| value.ends_in_text_block()),
        }
    }

    fn is(&self, target: &ObjectKey, default_namespace: &str) -> bool {
        let Some((_, metadata)) = self.get("metadata") else {
            return false;
        };
        let namespace = metadata
            .scalar_at("namespace")
            .filter(|namespace| !matches!(*namespace, "" | "~" | "null"))
            .unwrap_or(default_namespace);
        self.scalar_at("apiVersion") == Some(&target.api_version)
            && self.scalar_at("kind") == Some(&target.kind)
            && metadata.scalar_at("name") == Some(&target.name)
            && namespace == target.namespace
    }

    /// Whether `spec` is written with braces, and the key and value of its `template`.
    fn template(&self) -> Option<(bool, &Node, &Node)> {
        let (_, spec) = self.get("spec")?;
        let (key, value) = spec.get("template")?;
        match spec.content {
            Content::Mapping { flow, .. } => Some((flow, key, value)),
            Content::Scalar(_) | Content::TextBlock(_) | Content::Alias | Content::Sequence(_) => {
                None
            }
        }
    }
}

// === impl Reader ===

impl<'t> Reader<'t> {
    fn new(text: &'t str) -> Self {
        Self {
            text,
            parser: Parser::new_from_str_with_options(
                text,
                granit_parser::options! { emit_comments: false },
            ),
        }
    }

    /// The bytes of each document and its root. Together the documents are the whole text.
    fn documents(mut self) -> Result<(Vec<Range<usize>>, Vec<Node>), YamlError> {
        let mut starts = Vec::new();
        let mut roots = Vec::new();
        while let Some(event) = self.parser.next_event() {
            let (event, span) = event?;
            match event {
                Event::DocumentStart(..) => starts.push(bytes(&span)?.start),
                Event::StreamStart | Event::DocumentEnd | Event::StreamEnd => {}
                node => roots.push(self.node(&node, &span, 0)?),
            }
        }
        if let Some(first) = starts.first_mut() {
            *first = 0;
        }
        let ends = starts.iter().skip(1).copied().chain([self.text.len()]);
        let documents = starts.iter().zip(ends).map(|(start, end)| *start..end);
        Ok((documents.collect(), roots))
    }

    fn node(&mut self, event: &Event<'t>, span: &Span, depth: usize) -> Result<Node, YamlError> {
        if depth > MAX_DEPTH {
            return Err(YamlError::TooDeep);
        }
        let mut range = bytes(span)?;
        let content = match event {
            Event::Scalar(value, style, ..) => {
                if matches!(style, ScalarStyle::Literal | ScalarStyle::Folded) {
                    range.end = self.end_of_block_scalar(&range, span.indent.unwrap_or_default());
                    Content::TextBlock(value.to_string())
                } else {
                    Content::Scalar(value.to_string())
                }
            }
            Event::Alias(_) => Content::Alias,
            Event::SequenceStart(style, ..) => {
                let (items, end) = self.items(depth)?;
                range.end = end_of_collection(*style, range.end, end, items.iter());
                Content::Sequence(items)
            }
            Event::MappingStart(style, ..) => {
                let (entries, end) = self.entries(depth)?;
                let nodes = entries.iter().flat_map(|(key, value)| [key, value]);
                range.end = end_of_collection(*style, range.end, end, nodes);
                let flow = *style == StructureStyle::Flow;
                Content::Mapping { flow, entries }
            }
            _ => return Err(unexpected(span)),
        };
        Ok(Node {
            span: range,
            column: span.start.col(),
            content,
        })
    }

    fn items(&mut self, depth: usize) -> Result<(Vec<Node>, Span), YamlError> {
        let mut items = Vec::new();
        loop {
            let (event, span) = self.event()?;
            if matches!(event, Event::SequenceEnd) {
                return Ok((items, span));
            }
            items.push(self.node(&event, &span, depth + 1)?);
        }
    }

    fn entries(&mut self, depth: usize) -> Result<(Vec<(Node, Node)>, Span), YamlError> {
        let mut entries = Vec::new();
        loop {
            let (event, span) = self.event()?;
            if matches!(event, Event::MappingEnd) {
                return Ok((entries, span));
            }
            let key = self.node(&event, &span, depth + 1)?;
            let (event, span) = self.event()?;
            let mut value = self.node(&event, &span, depth + 1)?;
            if value.span.is_empty() {
                // A value that is left out may be reported anywhere up to the next token.
                value.span = key.span.end..key.span.end;
            }
            entries.push((key, value));
        }
    }

    fn event(&mut self) -> Result<(Event<'t>, Span), YamlError> {
        match self.parser.next_event() {
            Some(event) => Ok(event?),
            None => Err(YamlError::Unexpected { line: 0 }),
        }
    }

    /// The parser's span of a block scalar runs up to the next token. What follows the last line
    /// is part of it only under the indicator `+`. A line of blanks beyond the block's
    /// indentation is content.
    fn end_of_block_scalar(&self, range: &Range<usize>, indent: usize) -> usize {
        let mut kept = &self.text[range.clone()];
        if keeps_blank_lines(&self.text[..range.start]) {
            return range.start + kept.trim_end_matches([' ', '\t']).len();
        }
        while let Some((before, line)) = kept.rsplit_once('\n') {
            let line = line.trim_end_matches('\r');
            if !line.trim().is_empty() || line.len() > indent {
                break;
            }
            kept = before;
        }
        range.start + kept.len()
    }
}

/// Whether the header of the block scalar whose content follows `before` holds a `+`.
fn keeps_blank_lines(before: &str) -> bool {
    let header = before.trim_end().lines().next_back().unwrap_or_default();
    let header = header.split(" #").next().unwrap_or_default();
    header
        .rsplit([' ', '\t'])
        .find(|part| !part.is_empty())
        .is_some_and(|indicator| indicator.starts_with(['|', '>']) && indicator.contains('+'))
}

fn end_of_collection<'n>(
    style: StructureStyle,
    start: usize,
    end: Span,
    nodes: impl Iterator<Item = &'n Node>,
) -> usize {
    match style {
        StructureStyle::Flow => end.end.byte_offset().unwrap_or(start),
        StructureStyle::Block => nodes.map(|node| node.span.end).max().unwrap_or(start),
    }
}

fn bytes(span: &Span) -> Result<Range<usize>, YamlError> {
    span.byte_range().ok_or_else(|| unexpected(span))
}

fn unexpected(span: &Span) -> YamlError {
    YamlError::Unexpected {
        line: span.start.line(),
    }
}
