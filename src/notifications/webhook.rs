//! Deliveries: one request, and what its answer means.

use std::time::Duration;

use http::{HeaderMap, StatusCode, header};
use jiff::{Timestamp, fmt::rfc2822::DateTimeParser};
use reqwest::Client;
use tidegate_api::notification::{Notification, NotificationFormat};
use tidegate_metrics::http::{HttpError, HttpSettings};

use super::{
    Shared,
    destination::{Address, Destination, DestinationError},
    signature::{SIGNATURE_HEADER, TIMESTAMP_HEADER, signature},
    slack, teams,
};
use crate::{causes::innermost, clock};

/// A notification that was not delivered. No variant shows the URL: that of a chat is a credential. Nor does one
/// show the answer's body, from which a tenant could learn what there is inside the cluster.
#[derive(Debug, thiserror::Error)]
pub(super) enum DeliveryError {
    /// The destination cannot be asked.
    #[error(transparent)]
    Destination(#[from] DestinationError),
    /// There is no client for it.
    #[error(transparent)]
    Client(#[from] HttpError),
    /// It has not answered in time.
    #[error("it has not answered in time")]
    Timeout,
    /// It cannot be connected to.
    #[error("it cannot be reached: {cause}")]
    Unreachable {
        /// Innermost cause.
        cause: String,
    },
    /// It would have the request sent somewhere else.
    #[error("it answered {0}, and redirects are not followed: give the url that it redirects to")]
    Redirect(StatusCode),
    /// It did not take the request.
    #[error("it answered {status}")]
    Status {
        /// Its answer.
        status: StatusCode,
        /// Wait that it asks for.
        retry_after: Option<Duration>,
    },
}

/// Client of one destination, made again when its CA bundle changes.
#[derive(Default)]
pub(super) struct Webhook {
    client: Option<(Option<Vec<u8>>, Client)>,
}

// === impl Webhook ===

impl Webhook {
    /// Sends a notification once.
    pub(super) async fn deliver(
        &mut self,
        shared: &Shared,
        destination: &Destination,
        notification: &Notification,
    ) -> Result<(), DeliveryError> {
        let address = destination.address(shared).await?;
        let client = self.client(address.ca_bundle.as_ref())?;
        let body = body(destination.format(), notification);
        match request(client, address, body).send().await {
            Ok(answer) => accepted(answer.status(), answer.headers()),
            Err(error) => Err(DeliveryError::of(&error.without_url())),
        }
    }

    fn client(&mut self, ca_bundle: Option<&Vec<u8>>) -> Result<&Client, HttpError> {
        let is_current = self
            .client
            .as_ref()
            .is_some_and(|(used, _)| used.as_ref() == ca_bundle);
        if !is_current {
            self.client = None;
        }
        match &mut self.client {
            Some((_, client)) => Ok(client),
            none => {
                let settings = HttpSettings {
                    ca_bundle: ca_bundle.cloned(),
                    ..HttpSettings::default()
                };
                let client = settings.client()?;
                Ok(&none.insert((ca_bundle.cloned(), client)).1)
            }
        }
    }
}

fn body(format: NotificationFormat, notification: &Notification) -> Vec<u8> {
    let body = match format {
        NotificationFormat::Json => serde_json::to_vec(notification),
        NotificationFormat::Slack => serde_json::to_vec(&slack::message(notification)),
        NotificationFormat::Teams => serde_json::to_vec(&teams::message(notification)),
    };
    body.expect("texts and numbers are JSON")
}

fn request(client: &Client, address: Address, body: Vec<u8>) -> reqwest::RequestBuilder {
    let mut request = client
        .post(address.url)
        .header(header::CONTENT_TYPE, "application/json");
    if let Some(key) = &address.hmac_key {
        let timestamp = clock::now().as_second();
        request = request
            .header(TIMESTAMP_HEADER, timestamp)
            .header(SIGNATURE_HEADER, signature(key, timestamp, &body));
    }
    request.body(body)
}

fn accepted(status: StatusCode, headers: &HeaderMap) -> Result<(), DeliveryError> {
    if status.is_success() {
        return Ok(());
    }
    if status.is_redirection() {
        return Err(DeliveryError::Redirect(status));
    }
    Err(DeliveryError::Status {
        status,
        retry_after: retry_after(headers, clock::now()),
    })
}

/// Returns the wait that an answer asks for, in seconds or until a time.
fn retry_after(headers: &HeaderMap, now: Timestamp) -> Option<Duration> {
    let asked = headers.get(header::RETRY_AFTER)?.to_str().ok()?.trim();
    if let Ok(seconds) = asked.parse() {
        return Some(Duration::from_secs(seconds));
    }
    let until = DateTimeParser::new().parse_timestamp(asked).ok()?;
    let wait = until.duration_since(now);
    Some(wait.try_into().unwrap_or_default())
}

// === impl DeliveryError ===

impl DeliveryError {
    fn of(error: &reqwest::Error) -> Self {
        if error.is_timeout() {
            return Self::Timeout;
        }
        Self::Unreachable {
            // The others are about requests, this one is about names, connections and certificates.
            cause: innermost(error),
        }
    }

    /// Returns true if the same notification may be taken later: the destination recovers, or somebody corrects the
    /// Secret or the operator's list.
    pub(super) fn is_transient(&self) -> bool {
        match self {
            Self::Destination(_) | Self::Client(_) | Self::Timeout | Self::Unreachable { .. } => {
                true
            }
            Self::Redirect(_) => false,
            Self::Status { status, .. } => {
                let busy = [StatusCode::REQUEST_TIMEOUT, StatusCode::TOO_MANY_REQUESTS];
                status.is_server_error() || busy.contains(status)
            }
        }
    }

    /// Returns the wait that the destination asks for.
    pub(super) fn retry_after(&self) -> Option<Duration> {
        if let Self::Status { retry_after, .. } = self {
            *retry_after
        } else {
            None
        }
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a test may panic")]
    use super::*;

    #[test]
    fn a_wait_is_asked_for_in_seconds_or_until_a_time() {
        let now: Timestamp = "2026-11-30T08:00:00Z".parse().unwrap();
        let wait = |asked: &str| {
            let headers = HeaderMap::from_iter([(header::RETRY_AFTER, asked.parse().unwrap())]);
            retry_after(&headers, now)
        };
        assert_eq!(wait("7"), Some(Duration::from_secs(7)));
        let date = "Mon, 30 Nov 2026 08:00:30 GMT";
        assert_eq!(wait(date), Some(Duration::from_secs(30)));
        let past = "Mon, 30 Nov 2026 07:00:00 GMT";
        assert_eq!(wait(past), Some(Duration::ZERO));
        assert_eq!(wait("soon"), None);
        assert_eq!(retry_after(&HeaderMap::new(), now), None);
    }

    #[test]
    fn only_what_may_pass_is_tried_again() {
        let transient = |code: u16| {
            let status = StatusCode::from_u16(code).unwrap();
            accepted(status, &HeaderMap::new())
                .unwrap_err()
                .is_transient()
        };
        for code in [408, 429, 500, 502, 503, 504] {
            assert!(transient(code), "{code}");
        }
        for code in [301, 307, 308, 400, 401, 403, 404, 410, 413] {
            assert!(!transient(code), "{code}");
        }
        for code in [200, 201, 202, 204] {
            let status = StatusCode::from_u16(code).unwrap();
            assert!(accepted(status, &HeaderMap::new()).is_ok(), "{code}");
        }
    }
}
