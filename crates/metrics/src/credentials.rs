//! Credentials for Prometheus.

use std::{
    io,
    path::{Path, PathBuf},
};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use http::HeaderValue;

/// Credentials for the `Authorization` header. `Debug` shows nothing of them.
#[derive(Clone, Default)]
pub struct Credentials(CredentialSource);

/// Origin of the header.
#[derive(Clone, Default)]
enum CredentialSource {
    #[default]
    None,
    Given(HeaderValue),
    /// A file with a bearer token. It is read for each request: tokens are rotated, gates are read
    /// every few seconds, and the file is small.
    File(PathBuf),
}

/// Cause for which credentials cannot be sent.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CredentialsError {
    /// The token has a character that a header cannot have.
    #[error("the bearer token has a line break or another character that is not valid in a header")]
    Token,
    /// A colon ends the user name.
    #[error("the user name has a colon, which basic authentication cannot send")]
    UserName,
    /// The file with the token is missing or may not be read.
    #[error("the file {} with the bearer token cannot be read: {cause}", .file.display())]
    Unreadable {
        /// Path of the file.
        file: PathBuf,
        /// Error of the system.
        cause: String,
    },
    /// The file with the token is empty.
    #[error("the file {} with the bearer token is empty", .file.display())]
    Empty {
        /// Path of the file.
        file: PathBuf,
    },
    /// The file has something else than a token.
    #[error("the file {} has no bearer token: its content is not valid in a header", .file.display())]
    NoToken {
        /// Path of the file.
        file: PathBuf,
    },
}

// === impl Credentials ===

impl Credentials {
    /// Returns no credentials.
    pub fn none() -> Self {
        Self(CredentialSource::None)
    }

    /// Returns a bearer token; white space around it, such as a last line break, is left out.
    pub fn bearer(token: &str) -> Result<Self, CredentialsError> {
        let header =
            sensitive(&format!("Bearer {}", token.trim())).ok_or(CredentialsError::Token)?;
        Ok(Self(CredentialSource::Given(header)))
    }

    /// Returns the bearer token that a file has at the time of each request. It must have one now.
    pub fn bearer_file(file: PathBuf) -> Result<Self, CredentialsError> {
        token(&file, std::fs::read(&file))?;
        Ok(Self(CredentialSource::File(file)))
    }

    /// Returns a user name and a password.
    pub fn basic(username: &str, password: &str) -> Result<Self, CredentialsError> {
        if username.contains(':') {
            return Err(CredentialsError::UserName);
        }
        let encoded = STANDARD.encode(format!("{username}:{password}"));
        let header = sensitive(&format!("Basic {encoded}")).ok_or(CredentialsError::UserName)?;
        Ok(Self(CredentialSource::Given(header)))
    }

    /// Returns the header's current value, marked as sensitive.
    pub(super) async fn header(&self) -> Result<Option<HeaderValue>, CredentialsError> {
        match &self.0 {
            CredentialSource::None => Ok(None),
            CredentialSource::Given(header) => Ok(Some(header.clone())),
            CredentialSource::File(file) => token(file, tokio::fs::read(file).await).map(Some),
        }
    }
}

impl std::fmt::Debug for Credentials {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match &self.0 {
            CredentialSource::None => f.write_str("Credentials(none)"),
            CredentialSource::Given(_) => f.write_str("Credentials(***)"),
            CredentialSource::File(file) => write!(f, "Credentials({})", file.display()),
        }
    }
}

/// Returns the token in a file as a header. No error shows the content of the file.
fn token(file: &Path, content: io::Result<Vec<u8>>) -> Result<HeaderValue, CredentialsError> {
    let content = content.map_err(|error| CredentialsError::Unreadable {
        file: file.to_owned(),
        cause: error.to_string(),
    })?;
    let header = match std::str::from_utf8(&content).map(str::trim) {
        Ok("") => {
            return Err(CredentialsError::Empty {
                file: file.to_owned(),
            });
        }
        Ok(token) => sensitive(&format!("Bearer {token}")),
        Err(_) => None,
    };
    header.ok_or_else(|| CredentialsError::NoToken {
        file: file.to_owned(),
    })
}

fn sensitive(value: &str) -> Option<HeaderValue> {
    let mut header = HeaderValue::from_str(value).ok()?;
    header.set_sensitive(true);
    Some(header)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn credentials_never_show() {
        let bearer = Credentials::bearer("s3cret\n").expect("a token");
        let basic = Credentials::basic("tide", "s3cret").expect("a password");
        assert_eq!(
            format!("{bearer:?} {basic:?}"),
            "Credentials(***) Credentials(***)"
        );
        assert_eq!(
            format!("{:?}", bearer.header().await),
            "Ok(Some(Sensitive))"
        );
    }

    #[test]
    fn what_is_not_valid_in_a_header_is_rejected() {
        assert_eq!(
            Credentials::bearer("a\nb").err(),
            Some(CredentialsError::Token)
        );
        assert_eq!(
            Credentials::basic("a:b", "c").err(),
            Some(CredentialsError::UserName)
        );
    }

    #[tokio::test]
    async fn a_file_without_a_token_is_an_error_that_names_the_file_and_nothing_in_it() {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("token");
        assert!(matches!(
            Credentials::bearer_file(file.clone()).map(drop),
            Err(CredentialsError::Unreadable { .. })
        ));
        std::fs::write(&file, " \n").expect("a file");
        assert_eq!(
            Credentials::bearer_file(file.clone()).map(drop),
            Err(CredentialsError::Empty { file: file.clone() })
        );
        for content in [b"s3cret\ns3cret".as_slice(), b"s3cret\xff"] {
            std::fs::write(&file, content).expect("a file");
            assert_eq!(
                Credentials::bearer_file(file.clone()).map(drop),
                Err(CredentialsError::NoToken { file: file.clone() })
            );
        }

        std::fs::write(&file, "s3cret\n").expect("a file");
        let credentials = Credentials::bearer_file(file.clone()).expect("a token");
        assert!(!format!("{credentials:?}").contains("s3cret"));
        assert_eq!(
            format!("{:?}", credentials.header().await),
            "Ok(Some(Sensitive))"
        );
        std::fs::remove_file(&file).expect("it was there");
        let error = credentials.header().await.expect_err("no file").to_string();
        assert!(
            error.contains(&*file.to_string_lossy()) && error.contains("cannot be read"),
            "{error}"
        );
    }
}
