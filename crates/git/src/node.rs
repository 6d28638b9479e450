//! Nodes of a YAML file with their positions, to the byte.
//!
//! The positions come from granit-parser's events. It is the parser inside serde-saphyr, which
//! reads the same files for sync, so both agree on the structure of a file; serde-saphyr's own
//! `Spanned` gives only the start of a value whose Rust type is known, with no end for a block
//! collection and no style, and an edit needs all three. Values of scalars are the business of
//! [`crate::yaml`].

use std::ops::Range;

use granit_parser::{Event, Parser, ScalarStyle, ScanError, Span, StructureStyle};

/// A file that cannot be edited.
#[derive(Debug, thiserror::Error)]
pub enum YamlError {
    /// The file is not YAML.
    #[error(transparent)]
    Syntax(#[from] ScanError),
    /// The file is YAML, but not as an object is written (a duplicate key, an unknown tag, …).
    #[error(transparent)]
    Value(#[from] Box<serde_saphyr::Error>),
    /// Nodes are nested more deeply than in any object.
    #[error("nodes are nested more than {MAX_DEPTH} deep")]
    TooDeep,
    /// The object is in the file more than once.
    #[error("the object is in the file twice")]
    ObjectTwice,
    /// The parser reported an event without a position, or one that is not known here.
    #[error("line {line} contains an unexpected element")]
    Unexpected {
        /// Number of the line, from 1.
        line: usize,
    },
}

/// A node of a document.
#[derive(Clone, Debug)]
pub struct Node {
    /// Bytes of the node, without comments around it.
    pub span: Range<usize>,
    /// Column of its first character, from 0.
    pub column: usize,
    /// Content of the node.
    pub content: Content,
}

/// Content of a node.
#[derive(Clone, Debug)]
pub enum Content {
    /// A scalar on its line, quoted or not.
    Scalar(String),
    /// A scalar under `|` or `>`.
    BlockScalar(String),
    /// A reference to an anchor.
    Alias,
    /// Elements in their order.
    Sequence(Vec<Node>),
    /// Keys with their values.
    Mapping {
        /// True if it is written with braces.
        flow: bool,
        /// Keys with their values, in their order.
        entries: Vec<(Node, Node)>,
    },
}

/// Reads the parser's events into nodes.
struct NodeReader<'t> {
    text: &'t str,
    parser: Parser<'t, granit_parser::StrInput<'t>>,
}

/// Objects of Kubernetes stay far below.
const MAX_DEPTH: usize = 100;

/// Returns the bytes of each document and its root. Together the documents are the whole text.
pub fn documents(text: &str) -> Result<(Vec<Range<usize>>, Vec<Node>), YamlError> {
    NodeReader::new(text).documents()
}

// === impl Node ===

impl Node {
    /// Returns the entry of a mapping with this key, as key and value.
    pub fn get(&self, key: &str) -> Option<(&Node, &Node)> {
        let Content::Mapping { entries, .. } = &self.content else {
            return None;
        };
        entries
            .iter()
            .find(|(name, _)| matches!(&name.content, Content::Scalar(name) if name == key))
            .map(|(name, value)| (name, value))
    }

    /// Returns the scalar under this key of a mapping.
    pub fn scalar_at(&self, key: &str) -> Option<&str> {
        match &self.get(key)?.1.content {
            Content::Scalar(value) | Content::BlockScalar(value) => Some(value),
            Content::Alias | Content::Sequence(_) | Content::Mapping { .. } => None,
        }
    }

    /// Returns true if the node is a mapping that is written with braces.
    pub fn is_flow(&self) -> bool {
        matches!(self.content, Content::Mapping { flow: true, .. })
    }

    /// Returns true if the node ends in a block scalar, which needs a line break after it.
    pub fn ends_in_block_scalar(&self) -> bool {
        match &self.content {
            Content::BlockScalar(_) => true,
            Content::Scalar(_) | Content::Alias => false,
            Content::Sequence(items) => items.last().is_some_and(Self::ends_in_block_scalar),
            Content::Mapping { entries, .. } => entries
                .last()
                .is_some_and(|(_, value)| value.ends_in_block_scalar()),
        }
    }
}

// === impl NodeReader ===

impl<'t> NodeReader<'t> {
    fn new(text: &'t str) -> Self {
        Self {
            text,
            parser: Parser::new_from_str_with_options(
                text,
                granit_parser::options! { emit_comments: false },
            ),
        }
    }

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
                    Content::BlockScalar(value.to_string())
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
                // An omitted value may be reported anywhere up to the next token.
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

    /// Returns the end of a block scalar; the parser's span runs up to the next token. Blank lines
    /// after the last line are part of it only under the indicator `+`. A line of blanks beyond the
    /// block's indentation is content.
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

/// Returns true if the header of the block scalar whose content follows `before` has the indicator `+`.
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
