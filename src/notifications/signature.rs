//! Signatures: by them a receiver tells that a request is Tidegate's, and not an old one sent again.

use http::HeaderValue;
use ring::hmac;
use tidegate_git::Secret;

/// Header with the time of the request, in seconds since 1970. It is signed, too.
pub(super) const TIMESTAMP_HEADER: &str = "x-tidegate-timestamp";

/// Header with the signature.
pub(super) const SIGNATURE_HEADER: &str = "x-tidegate-signature-256";

/// Returns HMAC-SHA256 over the time, a full stop and the body, as `sha256=HEX`.
pub(super) fn signature(key: &Secret, timestamp: i64, body: &[u8]) -> HeaderValue {
    let key = hmac::Key::new(hmac::HMAC_SHA256, key.expose().as_bytes());
    let mut context = hmac::Context::with_key(&key);
    context.update(format!("{timestamp}.").as_bytes());
    context.update(body);
    let signature = context.sign();
    let hex = signature
        .as_ref()
        .iter()
        .fold("sha256=".to_owned(), |hex, byte| {
            hex + &format!("{byte:02x}")
        });
    HeaderValue::try_from(hex).expect("hex is valid in a header")
}
