//! Answers that the API server could give, given by the proxy.

use std::time::Duration;

use http::{Response, StatusCode, header};
use serde_json::json;

/// A refusal in the words of the API server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// 409: somebody else was faster.
    Conflict,
    /// 429: come back after this time (told in whole seconds).
    TooManyRequests(Duration),
    /// 500: something broke in there.
    InternalError,
}

// === impl Refusal ===

impl Refusal {
    fn status(self) -> StatusCode {
        match self {
            Self::Conflict => StatusCode::CONFLICT,
            Self::TooManyRequests(_) => StatusCode::TOO_MANY_REQUESTS,
            Self::InternalError => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }

    /// The `reason` of a Kubernetes `Status`.
    fn reason(self) -> &'static str {
        match self {
            Self::Conflict => "Conflict",
            Self::TooManyRequests(_) => "TooManyRequests",
            Self::InternalError => "InternalError",
        }
    }

    pub(super) fn response(self) -> Response<String> {
        let status = json!({
            "kind": "Status",
            "apiVersion": "v1",
            "metadata": {},
            "status": "Failure",
            "message": "refused by the fault proxy",
            "reason": self.reason(),
            "code": self.status().as_u16(),
        });
        let mut response = Response::builder()
            .status(self.status())
            .header(header::CONTENT_TYPE, "application/json");
        if let Self::TooManyRequests(after) = self {
            response = response.header(header::RETRY_AFTER, after.as_secs());
        }
        response
            .body(status.to_string())
            .expect("the parts of this answer are valid")
    }
}
