//! Prometheus' JSON, decoded here: client libraries drop `warnings` and `infos`, and fail on native
//! histograms.

use std::collections::BTreeMap;

use serde::{Deserialize, de::IgnoredAny};

use super::query_error::{QueryError, shortened, without_label_values};

/// Result of a query that succeeded without warnings.
#[derive(Clone, Debug, PartialEq)]
pub struct QueryResult {
    /// Data of the result.
    pub data: Data,
    /// Annotations of the query, for example that a metric's name is not that of a counter.
    pub infos: Vec<String>,
}

/// Data of an instant query.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(tag = "resultType", content = "result", rename_all = "lowercase")]
pub enum Data {
    /// One number or histogram per series.
    Vector(Vec<Series>),
    /// One number.
    Scalar(Point),
    /// A string.
    String(Ignored),
    /// Many points per series.
    Matrix(Vec<Samples>),
}

/// Samples of one series over a range.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(from = "RawSamples")]
pub struct Samples {
    /// Labels.
    pub metric: BTreeMap<String, String>,
    /// Numbers, oldest first, at the times of the samples.
    pub values: Vec<Point>,
    /// Times of all samples in seconds since 1970, those of native histograms included.
    pub times: Vec<f64>,
}

/// A series of a matrix as it is sent.
#[derive(Deserialize)]
struct RawSamples {
    #[serde(default)]
    metric: BTreeMap<String, String>,
    #[serde(default)]
    values: Vec<Point>,
    #[serde(default)]
    histograms: Vec<(f64, IgnoredAny)>,
}

/// One series of a vector.
#[derive(Clone, Debug, PartialEq, Deserialize)]
pub struct Series {
    /// Labels.
    #[serde(default)]
    pub metric: BTreeMap<String, String>,
    /// Number, unless it is a histogram.
    #[serde(default)]
    pub value: Option<Point>,
    /// Native histogram, unless it is a number.
    #[serde(default)]
    pub histogram: Option<Ignored>,
}

/// A number at a time.
#[derive(Clone, Copy, Debug, PartialEq, Deserialize)]
#[serde(try_from = "(f64, String)")]
pub struct Point {
    /// Time in seconds since 1970: of an instant vector that of the evaluation and not of any sample, of a range
    /// that of the sample.
    pub time_seconds: f64,
    /// Number; may be NaN or infinite.
    pub value: f64,
}

/// A part of a result that no gate can use, so it is not kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ignored;

/// Envelope of every response.
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
    /// Sign of `VictoriaMetrics`, in place of a warning, that a part of its storage is unavailable.
    #[serde(rename = "isPartial", default)]
    is_partial: bool,
}

#[derive(Deserialize)]
#[serde(rename_all = "lowercase")]
enum Status {
    Success,
    Error,
}

/// Error of a response with `status: error`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct ApiError {
    /// Type: `bad_data`, `execution`, `timeout`, …
    pub(super) kind: String,
    /// Message.
    pub(super) message: String,
}

// === impl QueryResult ===

impl QueryResult {
    /// Decodes the body of a response with status 200. `server` is for errors.
    pub(super) fn decode(body: &[u8], server: &str) -> Result<Self, QueryError> {
        let envelope = Envelope::decode(body)?;
        match envelope.status {
            Status::Error => Err(envelope.into_api_error().into_error(200, server)),
            Status::Success if !envelope.warnings.is_empty() => Err(QueryError::Warnings(
                envelope
                    .warnings
                    .iter()
                    .map(|warning| shortened(&without_label_values(warning)))
                    .collect(),
            )),
            Status::Success if envelope.is_partial => Err(QueryError::Incomplete {
                cause: "`isPartial` is true".to_owned(),
            }),
            Status::Success => {
                let data = envelope.data.ok_or_else(|| QueryError::Malformed {
                    cause: "it has no data".into(),
                })?;
                Ok(Self {
                    data,
                    infos: envelope.infos,
                })
            }
        }
    }
}

// === impl ApiError ===

impl ApiError {
    /// Decodes the body of a response with another status, if it is one of Prometheus.
    pub(super) fn decode(body: &[u8]) -> Option<Self> {
        Envelope::decode(body)
            .ok()
            .filter(|envelope| matches!(envelope.status, Status::Error))
            .map(Envelope::into_api_error)
    }

    /// Returns the error of the query. Timeouts come with 503, so the type is more precise than the
    /// status.
    pub(super) fn into_error(self, status: u16, server: &str) -> QueryError {
        match (self.kind.as_str(), status) {
            ("timeout", _) => QueryError::Timeout {
                server: server.to_owned(),
            },
            // What it says of the query's text may be said; what it says of series is other's.
            ("bad_data", _) => QueryError::Invalid {
                message: self.message,
            },
            ("execution", _) | (_, 400 | 422) => QueryError::Invalid {
                message: without_label_values(&self.message),
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

    fn into_api_error(self) -> ApiError {
        let message = self
            .error
            .as_deref()
            .map_or_else(|| "no reason given".to_owned(), shortened);
        ApiError {
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

// === impl Samples ===

impl From<RawSamples> for Samples {
    fn from(raw: RawSamples) -> Self {
        let histograms = raw.histograms.iter().map(|(time, _)| *time);
        let values = raw.values.iter().map(|point| point.time_seconds);
        Self {
            times: values.chain(histograms).collect(),
            metric: raw.metric,
            values: raw.values,
        }
    }
}

// === impl Ignored ===

impl<'de> Deserialize<'de> for Ignored {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        IgnoredAny::deserialize(deserializer).map(|_| Self)
    }
}
