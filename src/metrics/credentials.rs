//! Who we are to Prometheus.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use http::HeaderValue;

/// What is sent in `Authorization`. Its `Debug` shows nothing of it.
#[derive(Clone, Default)]
pub struct Credentials(Option<HeaderValue>);

/// Why credentials cannot be sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CredentialsError {
    /// The token holds what a header cannot.
    #[error("the bearer token holds a line break or another character that no header may hold")]
    Token,
    /// A colon ends the user name.
    #[error("the user name holds a colon, which basic authentication cannot send")]
    UserName,
}

// === impl Credentials ===

impl Credentials {
    /// None.
    pub fn none() -> Self {
        Self(None)
    }

    /// A bearer token; white space around it, such as a file's last line break, is left out.
    pub fn bearer(token: &str) -> Result<Self, CredentialsError> {
        Self::sensitive(&format!("Bearer {}", token.trim())).ok_or(CredentialsError::Token)
    }

    /// A user name and a password.
    pub fn basic(username: &str, password: &str) -> Result<Self, CredentialsError> {
        if username.contains(':') {
            return Err(CredentialsError::UserName);
        }
        let encoded = STANDARD.encode(format!("{username}:{password}"));
        Self::sensitive(&format!("Basic {encoded}")).ok_or(CredentialsError::UserName)
    }

    /// The header's value, marked as sensitive.
    pub(super) fn header(&self) -> Option<HeaderValue> {
        self.0.clone()
    }

    fn sensitive(value: &str) -> Option<Self> {
        let mut header = HeaderValue::from_str(value).ok()?;
        header.set_sensitive(true);
        Some(Self(Some(header)))
    }
}

impl std::fmt::Debug for Credentials {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(if self.0.is_some() { "Credentials(***)" } else { "Credentials(none)" })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn credentials_never_show() {
        let bearer = Credentials::bearer("s3cret\n").expect("a token");
        let basic = Credentials::basic("tide", "s3cret").expect("a password");
        assert_eq!(format!("{bearer:?} {basic:?}"), "Credentials(***) Credentials(***)");
        assert_eq!(format!("{:?}", bearer.header()), "Some(Sensitive)");
    }

    #[test]
    fn what_no_header_may_hold_is_refused() {
        assert_eq!(Credentials::bearer("a\nb").err(), Some(CredentialsError::Token));
        assert_eq!(Credentials::basic("a:b", "c").err(), Some(CredentialsError::UserName));
    }
}
