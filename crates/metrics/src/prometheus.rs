//! The client: instant queries, sent and read within bounds.
//!
//! Queries are built by prometheus-http-query and end in its `post_raw`. Everything after it is done
//! here: status, media type, the size of the body and its decoding.

use std::{
    error::Error as StdError,
    future::Future,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use http::{HeaderMap, Method, StatusCode, header};
use jiff::{SignedDuration, Timestamp, fmt::rfc2822::DateTimeParser};
use reqwest::{Response, Url};

use super::{
    Clock,
    credentials::Credentials,
    query_error::{QueryError, shortened},
    query_result::{ApiError, QueryResult},
};

/// Maximum size of a body. No gate needs more; beyond it a query lacks an aggregation.
pub(crate) const MAX_BODY_BYTES: usize = 1024 * 1024;

/// Maximum difference between the clocks; beyond it "now" would not mean the same samples.
pub(crate) const MAX_CLOCK_SKEW: SignedDuration = SignedDuration::from_secs(30);

/// A source of results of instant queries.
pub trait InstantQuery: Send + Sync {
    /// Evaluates a query at a time.
    fn instant(
        &self,
        query: &str,
        at: Timestamp,
    ) -> impl Future<Output = Result<QueryResult, QueryError>> + Send;
}

/// A server with the API of Prometheus. Cheap to clone.
#[derive(Clone)]
pub struct Prometheus {
    api: prometheus_http_query::Client,
    credentials: Credentials,
    headers: HeaderMap,
    server: String,
    clock: Clock,
    /// True once POST was refused and GET was not. Shared by the clones.
    asks_by_get: Arc<AtomicBool>,
}

/// Cause for which an address cannot be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AddressError {
    /// The address cannot be parsed.
    #[error("the address of Prometheus must be a URL such as http://prometheus.monitoring:9090")]
    Url,
    /// The address has credentials, which would end up in logs.
    #[error(
        "the address of Prometheus has credentials: put them into the Secret or the token file"
    )]
    Credentials,
}

/// Times of a request and of the beginning of its response.
struct Exchange {
    sent: Timestamp,
    answered: Timestamp,
}

// === impl Prometheus ===

impl Prometheus {
    /// Returns the Prometheus at an address; a path in it goes before `/api/v1`.
    pub fn new(
        http: reqwest::Client,
        url: &str,
        credentials: Credentials,
        clock: Clock,
    ) -> Result<Self, AddressError> {
        let parsed = Url::parse(url).map_err(|_| AddressError::Url)?;
        if !parsed.username().is_empty() || parsed.password().is_some() {
            return Err(AddressError::Credentials);
        }
        let server = match (
            parsed.scheme(),
            parsed.host_str(),
            parsed.port_or_known_default(),
        ) {
            ("http" | "https", Some(host), Some(port)) => format!("{host}:{port}"),
            _ => return Err(AddressError::Url),
        };
        let api = prometheus_http_query::Client::from(http, url).map_err(|_| AddressError::Url)?;
        Ok(Self {
            api,
            credentials,
            headers: HeaderMap::new(),
            server,
            clock,
            asks_by_get: Arc::default(),
        })
    }

    /// Sends these headers with each query, such as that of a tenant.
    #[must_use]
    pub fn with_headers(self, headers: HeaderMap) -> Self {
        Self { headers, ..self }
    }

    /// Sends a query by POST, which has room for long ones. A gateway that lets people read may let GET
    /// alone through: then it is asked so, from now on.
    async fn send(&self, query: &str, at: Timestamp) -> Result<(Response, Exchange), QueryError> {
        if self.asks_by_get.load(Ordering::Relaxed) {
            return self.send_by(Method::GET, query, at).await;
        }
        let posted = self.send_by(Method::POST, query, at).await?;
        if !matches!(
            posted.0.status(),
            StatusCode::FORBIDDEN | StatusCode::METHOD_NOT_ALLOWED
        ) {
            return Ok(posted);
        }
        let got = self.send_by(Method::GET, query, at).await?;
        // A refusal of both is told in the words of the first.
        if is_refusal(got.0.status()) {
            return Ok(posted);
        }
        self.asks_by_get.store(true, Ordering::Relaxed);
        Ok(got)
    }

    async fn send_by(
        &self,
        method: Method,
        query: &str,
        at: Timestamp,
    ) -> Result<(Response, Exchange), QueryError> {
        // The builder's own `at` takes whole seconds.
        let mut request = self.api.query(query).query("time", unix_seconds(at));
        for (name, value) in &self.headers {
            request = request.header(name, value);
        }
        if let Some(value) = self.credentials.header().await? {
            request = request.header(header::AUTHORIZATION, value);
        }
        let sent = (self.clock)();
        let response = if method == Method::GET {
            request.get_raw().await
        } else {
            request.post_raw().await
        };
        let response = response.map_err(|error| self.no_response(&error))?;
        Ok((
            response,
            Exchange {
                sent,
                answered: (self.clock)(),
            },
        ))
    }

    async fn read(
        &self,
        response: Response,
        exchange: &Exchange,
    ) -> Result<QueryResult, QueryError> {
        let status = response.status();
        if status != StatusCode::OK {
            return Err(self.status_error(response).await);
        }
        check_clock(response.headers(), exchange)?;
        check_media_type(response.headers())?;
        let body = self.body(response).await?;
        QueryResult::decode(&body, &self.server)
    }

    /// Returns the error for a status other than 200.
    async fn status_error(&self, response: Response) -> QueryError {
        let status = response.status();
        let code = status.as_u16();
        match code {
            401 | 403 => QueryError::Unauthorized {
                server: self.server.clone(),
                status: code,
                message: self.own_words(response).await,
            },
            206 => QueryError::Incomplete {
                cause: "status 206".into(),
            },
            300..=399 => QueryError::Redirect { status: code },
            400 | 422 | 429 | 500..=599 => {
                let body = self.body(response).await.unwrap_or_default();
                match (ApiError::decode(&body), code) {
                    (Some(error), _) => error.into_error(code, &self.server),
                    (None, 504) => QueryError::Timeout {
                        server: self.server.clone(),
                    },
                    (None, 429 | 500..) => QueryError::Server {
                        status: code,
                        message: first_words(&body),
                    },
                    (None, _) => QueryError::Status {
                        status: code,
                        message: first_words(&body),
                    },
                }
            }
            _ => QueryError::Status {
                status: code,
                message: self.own_words(response).await,
            },
        }
    }

    /// Returns what a server says beside its status.
    async fn own_words(&self, response: Response) -> Option<String> {
        let body = self.body(response).await.ok()?;
        match ApiError::decode(&body) {
            Some(error) => Some(error.message),
            None => first_words(&body),
        }
    }

    async fn body(&self, mut response: Response) -> Result<Vec<u8>, QueryError> {
        let mut body = Vec::new();
        while let Some(chunk) = response
            .chunk()
            .await
            .map_err(|error| self.broken_body(&error))?
        {
            if body.len() + chunk.len() > MAX_BODY_BYTES {
                return Err(QueryError::TooLarge);
            }
            body.extend_from_slice(&chunk);
        }
        Ok(body)
    }

    fn no_response(&self, error: &prometheus_http_query::Error) -> QueryError {
        let server = self.server.clone();
        match error
            .source()
            .and_then(|source| source.downcast_ref::<reqwest::Error>())
        {
            Some(error) if error.is_timeout() => QueryError::Timeout { server },
            Some(error) => match tls_failure(error) {
                Some(cause) => QueryError::Tls { server, cause },
                None => QueryError::Unreachable {
                    server,
                    cause: root_cause(error),
                },
            },
            None => QueryError::Unreachable {
                server,
                cause: "the request cannot be sent".into(),
            },
        }
    }

    fn broken_body(&self, error: &reqwest::Error) -> QueryError {
        if error.is_timeout() {
            QueryError::Timeout {
                server: self.server.clone(),
            }
        } else {
            QueryError::Incomplete {
                cause: root_cause(error),
            }
        }
    }
}

impl InstantQuery for Prometheus {
    async fn instant(&self, query: &str, at: Timestamp) -> Result<QueryResult, QueryError> {
        let (response, exchange) = self.send(query, at).await?;
        self.read(response, &exchange).await
    }
}

impl std::fmt::Debug for Prometheus {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Prometheus")
            .field("server", &self.server)
            .field("credentials", &self.credentials)
            .finish_non_exhaustive()
    }
}

/// Returns seconds since 1970 with milliseconds, the precision of Prometheus.
pub(super) fn unix_seconds(at: Timestamp) -> String {
    let millis = at.as_millisecond();
    format!("{}.{:03}", millis.div_euclid(1000), millis.rem_euclid(1000))
}

fn is_refusal(status: StatusCode) -> bool {
    matches!(
        status,
        StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN | StatusCode::METHOD_NOT_ALLOWED
    )
}

/// Returns the text of a body that is not JSON, without its markup, on one line.
fn first_words(body: &[u8]) -> Option<String> {
    let text = String::from_utf8_lossy(body);
    let mut words = String::new();
    let mut in_tag = false;
    for c in text.chars() {
        match c {
            '<' => in_tag = true,
            '>' if in_tag => {
                in_tag = false;
                words.push(' ');
            }
            _ if in_tag => {}
            _ => words.push(c),
        }
    }
    let words = words.split_whitespace().collect::<Vec<_>>().join(" ");
    if words.is_empty() {
        None
    } else {
        Some(shortened(&words))
    }
}

fn check_media_type(headers: &HeaderMap) -> Result<(), QueryError> {
    let found = headers
        .get(header::CONTENT_TYPE)
        .and_then(|value| value.to_str().ok())
        .unwrap_or("of no type");
    let essence = found.split(';').next().unwrap_or_default().trim();
    if essence.eq_ignore_ascii_case("application/json") {
        Ok(())
    } else {
        Err(QueryError::MediaType {
            found: shortened(essence),
        })
    }
}

/// Compares `Date` with our clock. It was written at some moment of the exchange, in whole seconds,
/// rounded down. A response without it cannot be compared, and is accepted.
fn check_clock(headers: &HeaderMap, exchange: &Exchange) -> Result<(), QueryError> {
    let date = headers
        .get(header::DATE)
        .and_then(|value| value.to_str().ok());
    let Some(date) = date.and_then(|date| DateTimeParser::new().parse_timestamp(date).ok()) else {
        return Ok(());
    };
    let after = date.duration_since(exchange.answered);
    let before = date.duration_since(exchange.sent) + SignedDuration::from_secs(1);
    let ahead = if after.is_positive() {
        after
    } else {
        before.min(SignedDuration::ZERO)
    };
    if ahead.abs() > MAX_CLOCK_SKEW {
        Err(QueryError::ClockSkew { ahead })
    } else {
        Ok(())
    }
}

/// Returns the error of TLS, if it failed there.
fn tls_failure(error: &(dyn StdError + 'static)) -> Option<String> {
    causes(error)
        .find_map(|cause| cause.downcast_ref::<rustls::Error>())
        .map(|cause| shortened(&cause.to_string()))
}

/// Returns the innermost cause, which is the specific one. It never has the address.
fn root_cause(error: &reqwest::Error) -> String {
    causes(error).last().map_or_else(
        || "no reason given".to_owned(),
        |cause| shortened(&cause.to_string()),
    )
}

/// Returns the causes of an error, outermost first. `source` skips the error that an I/O error
/// wraps, so that one is looked for too.
fn causes<'a>(
    error: &'a (dyn StdError + 'static),
) -> impl Iterator<Item = &'a (dyn StdError + 'static)> {
    std::iter::successors(error.source(), |cause| inner(*cause))
}

fn inner<'a>(error: &'a (dyn StdError + 'static)) -> Option<&'a (dyn StdError + 'static)> {
    let wrapped = error
        .downcast_ref::<std::io::Error>()
        .and_then(std::io::Error::get_ref);
    match wrapped {
        Some(wrapped) => Some(wrapped),
        None => error.source(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_keep_their_milliseconds() {
        let time = Timestamp::from_millisecond(1_700_000_000_025).expect("a time");
        assert_eq!(unix_seconds(time), "1700000000.025");
    }

    #[test]
    fn an_address_with_credentials_is_rejected_and_not_shown() {
        for (url, error) in [
            (
                "http://tide:s3cret@prometheus:9090",
                Some(AddressError::Credentials),
            ),
            ("prometheus:9090", Some(AddressError::Url)),
            ("http://prometheus:9090/prefix", None),
        ] {
            crate::tests::install_tls();
            let clock: Clock = std::sync::Arc::new(|| Timestamp::UNIX_EPOCH);
            let http = super::super::http::HttpSettings::default()
                .client()
                .expect("a client");
            let prometheus = Prometheus::new(http, url, Credentials::none(), clock);
            assert_eq!(prometheus.err(), error, "{url}");
        }
    }
}
