//! Who we are to Prometheus.

use std::{
    io,
    path::{Path, PathBuf},
};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use http::HeaderValue;

/// What is sent in `Authorization`. Its `Debug` shows nothing of it.
#[derive(Clone, Default)]
pub struct Credentials(Source);

/// Where it comes from.
#[derive(Clone, Default)]
enum Source {
    #[default]
    None,
    Given(HeaderValue),
    /// A file with a bearer token. It is read for each request: tokens are rotated, gates are read
    /// every few seconds, and the file is small.
    File(PathBuf),
}

/// Why credentials cannot be sent.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CredentialsError {
    /// The token holds what a header cannot.
    #[error("the bearer token holds a line break or another character that no header may hold")]
    Token,
    /// A colon ends the user name.
    #[error("the user name holds a colon, which basic authentication cannot send")]
    UserName,
    /// The file with the token is not there or may not be read.
    #[error("the file {} with the bearer token cannot be read: {cause}", .file.display())]
    Unreadable {
        /// The file.
        file: PathBuf,
        /// What the system says.
        cause: String,
    },
    /// The file with the token holds none.
    #[error("the file {} is to hold the bearer token, and is empty", .file.display())]
    Empty {
        /// The file.
        file: PathBuf,
    },
    /// The file holds something else than a token.
    #[error("the file {} holds no bearer token: no header may hold what is in it", .file.display())]
    NoToken {
        /// The file.
        file: PathBuf,
    },
}

// === impl Credentials ===

impl Credentials {
    /// None.
    pub fn none() -> Self {
        Self(Source::None)
    }

    /// A bearer token; white space around it, such as a file's last line break, is left out.
    pub fn bearer(token: &str) -> Result<Self, CredentialsError> {
        let header =
            sensitive(&format!("Bearer {}", token.trim())).ok_or(CredentialsError::Token)?;
        Ok(Self(Source::Given(header)))
    }

    /// The bearer token that a file holds at the time of each request. The file must hold one now.
    pub fn bearer_file(file: PathBuf) -> Result<Self, CredentialsError> {
        token(&file, std::fs::read(&file))?;
        Ok(Self(Source::File(file)))
    }

    /// A user name and a password.
    pub fn basic(username: &str, password: &str) -> Result<Self, CredentialsError> {
        if username.contains(':') {
            return Err(CredentialsError::UserName);
        }
        let encoded = STANDARD.encode(format!("{username}:{password}"));
        let header = sensitive(&format!("Basic {encoded}")).ok_or(CredentialsError::UserName)?;
        Ok(Self(Source::Given(header)))
    }

    /// The header's value as it is now, marked as sensitive.
    pub(super) async fn header(&self) -> Result<Option<HeaderValue>, CredentialsError> {
        match &self.0 {
            Source::None => Ok(None),
            Source::Given(header) => Ok(Some(header.clone())),
            Source::File(file) => token(file, tokio::fs::read(file).await).map(Some),
        }
    }
}

impl std::fmt::Debug for Credentials {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match &self.0 {
            Source::None => f.write_str("Credentials(none)"),
            Source::Given(_) => f.write_str("Credentials(***)"),
            Source::File(file) => write!(f, "Credentials({})", file.display()),
        }
    }
}

/// The token in a file, as a header. What is in the file is never said.
fn token(file: &Path, content: io::Result<Vec<u8>>) -> Result<HeaderValue, CredentialsError> {
    let file = || file.to_owned();
    let content = content.map_err(|error| CredentialsError::Unreadable {
        file: file(),
        cause: error.to_string(),
    })?;
    let content =
        String::from_utf8(content).map_err(|_| CredentialsError::NoToken { file: file() })?;
    match content.trim() {
        "" => Err(CredentialsError::Empty { file: file() }),
        token => sensitive(&format!("Bearer {token}"))
            .ok_or_else(|| CredentialsError::NoToken { file: file() }),
    }
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
    fn what_no_header_may_hold_is_refused() {
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
        let at_start = || Credentials::bearer_file(file.clone()).map(drop);
        let write = |content: &[u8]| std::fs::write(&file, content).expect("a file");
        assert!(matches!(
            at_start(),
            Err(CredentialsError::Unreadable { .. })
        ));
        write(b" \n");
        assert_eq!(
            at_start(),
            Err(CredentialsError::Empty { file: file.clone() })
        );
        for content in [b"s3cret\ns3cret".as_slice(), b"s3cret\xff"] {
            write(content);
            assert_eq!(
                at_start(),
                Err(CredentialsError::NoToken { file: file.clone() })
            );
        }

        write(b"s3cret\n");
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
