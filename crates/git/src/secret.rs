//! Credentials that are never printed, and the redaction of text that may contain one.

use std::fmt;

/// A credential. Its `Debug` prints `***` and it has no `Display`.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

// === impl Secret ===

impl Secret {
    /// Wraps a credential.
    pub fn new(value: impl Into<String>) -> Self {
        Self(value.into())
    }

    /// The credential itself, for the code that hands it to a server.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

/// Replaces the user part of every URL, and each of `secrets`, by `***`.
pub(crate) fn redact<'a>(text: &str, secrets: impl IntoIterator<Item = &'a str>) -> String {
    let mut clean = text.to_owned();
    for secret in secrets {
        if !secret.is_empty() {
            clean = clean.replace(secret, "***");
        }
    }
    redact_userinfo(&clean)
}

fn redact_userinfo(text: &str) -> String {
    let mut clean = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find("://") {
        let (before, after) = rest.split_at(at + "://".len());
        clean.push_str(before);
        let authority_end = after
            .find(|c: char| c == '/' || c.is_whitespace() || matches!(c, '\'' | '"'))
            .unwrap_or(after.len());
        rest = match after[..authority_end].rfind('@') {
            Some(user_end) => {
                clean.push_str("***");
                &after[user_end..]
            }
            None => after,
        };
    }
    clean.push_str(rest);
    clean
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn debug_of_a_secret_prints_no_credential() {
        assert_eq!(format!("{:?}", Secret::new("hunter2")), "***");
    }

    #[test]
    fn user_parts_and_secrets_are_redacted() {
        let text = "fatal: 'https://bob:hunter2@git.example.com/a' and https://x/y@z say hunter3";
        assert_eq!(
            redact(text, ["hunter3", ""]),
            "fatal: 'https://***@git.example.com/a' and https://x/y@z say ***"
        );
    }
}
