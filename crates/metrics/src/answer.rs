//! Prometheus' JSON, decoded by ourselves: client libraries drop `warnings` and `infos`, and fail
//! on native histograms.

use std::collections::BTreeMap;

use serde::{Deserialize, de::IgnoredAny};

use super::query_error::{QueryError, shortened};

/// A successful answer without warnings.
#[derive(Clone, Debug, PartialEq)]
pub struct Answer {
    /// The result.
    pub data: Data,
    /// Remarks on the query, such as that a metric's name does not look like a counter's.
    pub infos: Vec<String>,
}

/// The result of an instant query.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(tag = "resultType", content = "result", rename_all = "lowercase")]
pub enum Data {
    /// One element per series.
    Vector(Vec<Element>),
    /// One number.
    Scalar(Point),
    /// A text.
    String(Discarded),
    /// Many points per series.
    Matrix(Discarded),
}

/// One series of a vector.
#[derive(Clone, Debug, PartialEq, Deserialize)]
pub struct Element {
    /// Its labels.
    #[serde(default)]
    pub metric: BTreeMap<String, String>,
    /// Its number, if it is one.
    #[serde(default)]
    pub value: Option<Point>,
    /// Its native histogram, if it is one.
    #[serde(default)]
    pub histogram: Option<Discarded>,
}

/// A number at a time.
#[derive(Clone, Copy, Debug, PartialEq, Deserialize)]
#[serde(try_from = "(f64, String)")]
pub struct Point {
    /// The evaluation time, in seconds since 1970; not the time of any sample.
    pub time_seconds: f64,
    /// The number; may be NaN or infinite.
    pub value: f64,
}

/// A part of an answer that no gate can use, so that it is not kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Discarded;

/// What Prometheus wraps each answer in.
#[derive(Deserialize)]
struct Envelope {
    status: Status,
    data: Option<Data>,
    #[serde(rename = "errorType")]
    error_type: Option<String>,
    error: Option<String>,
    #[serde(default)]
    warnings: Vec<String>,
    #[serde(default)]
    infos: Vec<String>,
    /// What `VictoriaMetrics` says in the place of a warning where a part of its storage is away.
    #[serde(rename = "isPartial", default)]
    is_partial: bool,
}

#[derive(Deserialize)]
#[serde(rename_all = "lowercase")]
enum Status {
    Success,
    Error,
}

/// What an answer with `status: error` says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Refusal {
    /// `bad_data`, `execution`, `timeout`, …
    pub(super) kind: String,
    /// The sentence.
    pub(super) message: String,
}

// === impl Answer ===

impl Answer {
    /// Decodes the body of an answer with status 200. `server` is for errors.
    pub(super) fn decode(body: &[u8], server: &str) -> Result<Self, QueryError> {
        let envelope = Envelope::decode(body)?;
        match envelope.status {
            Status::Error => Err(envelope.refusal().into_error(200, server)),
            Status::Success if !envelope.warnings.is_empty() => Err(QueryError::Warnings(
                envelope
                    .warnings
                    .iter()
                    .map(|warning| shortened(warning))
                    .collect(),
            )),
            Status::Success if envelope.is_partial => Err(QueryError::Incomplete {
                cause: "`isPartial` says that it is only a part".to_owned(),
            }),
            Status::Success => {
                let data = envelope.data.ok_or_else(|| QueryError::Malformed {
                    cause: "it holds no data".into(),
                })?;
                Ok(Self {
                    data,
                    infos: envelope.infos,
                })
            }
        }
    }
}

// === impl Refusal ===

impl Refusal {
    /// Decodes the body of an answer with another status, if it is one of Prometheus.
    pub(super) fn decode(body: &[u8]) -> Option<Self> {
        Envelope::decode(body)
            .ok()
            .filter(|envelope| matches!(envelope.status, Status::Error))
            .map(Envelope::refusal)
    }

    /// What it means. Timeouts come with 503, so the kind says more than the status.
    pub(super) fn into_error(self, status: u16, server: &str) -> QueryError {
        match (self.kind.as_str(), status) {
            ("timeout", _) => QueryError::Timeout {
                server: server.to_owned(),
            },
            ("bad_data" | "execution", _) | (_, 400 | 422) => QueryError::Invalid {
                message: self.message,
            },
            _ => QueryError::Server {
                status,
                message: Some(self.message),
            },
        }
    }
}

// === impl Envelope ===

impl Envelope {
    fn decode(body: &[u8]) -> Result<Self, QueryError> {
        serde_json::from_slice(body).map_err(|error| QueryError::Malformed {
            cause: shortened(&error.to_string()),
        })
    }

    fn refusal(self) -> Refusal {
        let message = self
            .error
            .as_deref()
            .map_or_else(|| "no reason given".to_owned(), shortened);
        Refusal {
            kind: self.error_type.unwrap_or_default(),
            message,
        }
    }
}

// === impl Point ===

impl TryFrom<(f64, String)> for Point {
    type Error = std::num::ParseFloatError;

    fn try_from((time_seconds, value): (f64, String)) -> Result<Self, Self::Error> {
        Ok(Self {
            time_seconds,
            value: value.parse()?,
        })
    }
}

// === impl Discarded ===

impl<'de> Deserialize<'de> for Discarded {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        IgnoredAny::deserialize(deserializer).map(|_| Self)
    }
}
