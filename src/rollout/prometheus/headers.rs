//! Headers for a store of metrics out of a Secret, such as that of a tenant.

use http::{HeaderMap, HeaderName, HeaderValue, header};
use kube::Client;

use crate::repository::{SecretAccess, SecretUse, find_secret};

/// Headers that the connection needs, and that a person must not set.
const OURS: [HeaderName; 6] = [
    header::HOST,
    header::CONTENT_LENGTH,
    header::CONTENT_TYPE,
    header::CONNECTION,
    header::TRANSFER_ENCODING,
    header::UPGRADE,
];

/// Reads the headers of a Secret, or says why it has none that can be sent. No value is ever shown.
pub(super) async fn read(
    client: &Client,
    namespace: &str,
    name: &str,
    access: SecretAccess,
) -> Result<HeaderMap, String> {
    let found = find_secret(client, namespace, name, SecretUse::Metrics, access)
        .await
        .map_err(|error| error.to_string())?;
    let secret = found.ok_or_else(|| {
        format!(
            "the Secret `{name}` of spec.metrics.headersFrom is not in this namespace: create it"
        )
    })?;
    let mut headers = HeaderMap::new();
    for (key, value) in secret.data.unwrap_or_default() {
        let (header, value) = parse(&key, &value.0).ok_or_else(|| {
            format!(
                "the key {key:?} of the Secret `{name}` is no header that can be sent: name it like \
                 X-Scope-OrgID, with a value on one line"
            )
        })?;
        headers.insert(header, value);
    }
    if headers.is_empty() {
        return Err(format!(
            "the Secret `{name}` of spec.metrics.headersFrom is empty: give it a key for each header"
        ));
    }
    Ok(headers)
}

fn parse(key: &str, value: &[u8]) -> Option<(HeaderName, HeaderValue)> {
    let header = HeaderName::from_bytes(key.as_bytes()).ok()?;
    if OURS.contains(&header) {
        return None;
    }
    let mut value = HeaderValue::from_bytes(value.trim_ascii()).ok()?;
    value.set_sensitive(true);
    Some((header, value))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_header_has_a_name_and_a_value_on_one_line_that_is_not_shown() {
        let (header, value) = parse("X-Scope-OrgID", b"team-a\n").expect("a header");
        assert_eq!(header.as_str(), "x-scope-orgid");
        assert_eq!(value.as_bytes(), b"team-a");
        assert!(!format!("{value:?}").contains("team-a"));
        for (key, value) in [("X-A", "a\nb"), ("a b", "c"), ("Host", "elsewhere")] {
            assert!(parse(key, value.as_bytes()).is_none(), "{key}");
        }
    }
}
