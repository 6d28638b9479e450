//! Findings: what is wrong with a file, where, and what to write instead.

use serde::Serialize;

/// Finding in a file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// File, as it was given.
    pub file: String,
    /// Position in the file.
    #[serde(flatten)]
    pub place: Place,
    /// Object, like `Rollout/checkout`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub object: Option<String>,
    /// Path of the field in the object, like `spec.steps[0].weight`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub field: Option<String>,
    /// Check that found it.
    pub check: Check,
    /// Consequence.
    pub severity: Severity,
    /// State and remedy, in a sentence.
    pub message: String,
}

/// Position in a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Place {
    /// Line, from 1.
    pub line: u64,
    /// Column, from 1.
    pub column: u64,
}

/// Finding in an object that does not know its file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Remark {
    /// Path of the field in the object; empty for the object itself.
    pub(super) field: String,
    pub(super) check: Check,
    pub(super) message: String,
}

/// Consequence of a finding.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// The object is refused, by the API server or by Tidegate.
    Error,
    /// The object is accepted, and is perhaps not what was meant.
    Warning,
}

/// Check that finds something.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Check {
    /// The file is not YAML.
    InvalidYaml,
    /// No kind, or no version, of this name.
    UnknownKind,
    /// No field of this name.
    UnknownField,
    /// A required field is absent.
    MissingField,
    /// A value of another type than the field's.
    WrongType,
    /// A value that the field does not take.
    InvalidValue,
    /// A rule of the definition does not hold.
    BrokenRule,
    /// Tidegate would refuse it.
    Refused,
    /// A query that cannot be sent.
    InvalidQuery,
    /// A file that was passed over.
    Skipped,
    /// A release that nothing judges.
    NoGates,
    /// A ratio of which one failure of one request is a breach.
    SingleFailure,
    /// A range that most scrapes are too rare for.
    ShortRange,
    /// A part of the requests that another metric counts than all of them.
    OtherMetric,
    /// An object that is named and not among the files.
    MissingObject,
    /// Two objects of one name.
    DuplicateObject,
}

// === impl Finding ===

impl Finding {
    /// Describes the object and the field that it is about, like `Rollout/checkout spec.steps`; empty for a whole file.
    pub fn subject(&self) -> String {
        let parts = [self.object.as_deref(), self.field.as_deref()];
        let parts: Vec<_> = parts.into_iter().flatten().collect();
        parts.join(" ")
    }
}

// === impl Place ===

impl Place {
    /// Returns the beginning of a line.
    pub(super) fn line(line: u64) -> Self {
        Self { line, column: 1 }
    }
}

// === impl Remark ===

impl Remark {
    pub(super) fn new(field: impl Into<String>, check: Check, message: impl Into<String>) -> Self {
        Self {
            field: field.into(),
            check,
            message: message.into(),
        }
    }

    /// Remark on a field with a sentence that may begin with the path of the field, which stands before it already.
    pub(super) fn on(field: String, check: Check, sentence: &impl ToString) -> Self {
        let sentence = sentence.to_string();
        let rest = sentence.strip_prefix(&field);
        let message = match rest.and_then(|rest| rest.strip_prefix(' ')) {
            Some(rest) => format!("this {rest}"),
            None => sentence,
        };
        Self {
            field,
            check,
            message,
        }
    }
}

// === impl Severity ===

impl Severity {
    /// Returns the word, which is also that of GitHub's annotations and of SARIF.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Error => "error",
            Self::Warning => "warning",
        }
    }
}

// === impl Check ===

impl Check {
    /// Every check.
    pub const ALL: [Self; 16] = [
        Self::InvalidYaml,
        Self::UnknownKind,
        Self::UnknownField,
        Self::MissingField,
        Self::WrongType,
        Self::InvalidValue,
        Self::BrokenRule,
        Self::Refused,
        Self::InvalidQuery,
        Self::Skipped,
        Self::NoGates,
        Self::SingleFailure,
        Self::ShortRange,
        Self::OtherMetric,
        Self::MissingObject,
        Self::DuplicateObject,
    ];

    /// Returns the name of the check.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::InvalidYaml => "invalid-yaml",
            Self::UnknownKind => "unknown-kind",
            Self::UnknownField => "unknown-field",
            Self::MissingField => "missing-field",
            Self::WrongType => "wrong-type",
            Self::InvalidValue => "invalid-value",
            Self::BrokenRule => "broken-rule",
            Self::Refused => "refused",
            Self::InvalidQuery => "invalid-query",
            Self::Skipped => "skipped",
            Self::NoGates => "no-gates",
            Self::SingleFailure => "single-failure",
            Self::ShortRange => "short-range",
            Self::OtherMetric => "other-metric",
            Self::MissingObject => "missing-object",
            Self::DuplicateObject => "duplicate-object",
        }
    }

    /// Returns the consequence of its findings.
    pub fn severity(self) -> Severity {
        match self {
            Self::InvalidYaml
            | Self::UnknownKind
            | Self::UnknownField
            | Self::MissingField
            | Self::WrongType
            | Self::InvalidValue
            | Self::BrokenRule
            | Self::Refused
            | Self::InvalidQuery => Severity::Error,
            Self::Skipped
            | Self::NoGates
            | Self::SingleFailure
            | Self::ShortRange
            | Self::OtherMetric
            | Self::MissingObject
            | Self::DuplicateObject => Severity::Warning,
        }
    }

    /// Describes the check in a sentence.
    pub fn about(self) -> &'static str {
        match self {
            Self::InvalidYaml => "The file is YAML, as kubectl reads it.",
            Self::UnknownKind => "The kind and its version exist.",
            Self::UnknownField => "Each field exists: the API server would drop one that does not.",
            Self::MissingField => "Each required field is present.",
            Self::WrongType => "Each value has the type of its field.",
            Self::InvalidValue => "Each value is within the limits of its field.",
            Self::BrokenRule => "The rules of the definition hold.",
            Self::Refused => "Tidegate accepts the object.",
            Self::InvalidQuery => "Each query is PromQL, with placeholders that exist.",
            Self::Skipped => "Each file can be read as plain YAML.",
            Self::NoGates => "A release is judged by at least one gate.",
            Self::SingleFailure => "One failure of one request is no breach.",
            Self::ShortRange => "Each range is long enough for the usual time between two scrapes.",
            Self::OtherMetric => {
                "One metric counts all requests and the part of them that is compared."
            }
            Self::MissingObject => {
                "What a Rollout names is among the files, where other objects of its namespace are."
            }
            Self::DuplicateObject => "Each object is there once.",
        }
    }
}
