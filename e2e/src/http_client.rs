//! HTTP clients of the harness: no proxies, no retries, no redirects, and no trust but that given.

use std::{sync::Once, time::Duration};

/// Everything is near: what cannot be reached within this time is not there.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// Makes ring the TLS provider of this process, once; clients and servers want one installed.
pub fn install_tls_provider() {
    static INSTALLED: Once = Once::new();
    INSTALLED.call_once(|| {
        // Somebody else may have been first, with the same one.
        let _ = rustls::crypto::ring::default_provider().install_default();
    });
}

/// A client for plain HTTP within the cluster.
pub fn plain() -> reqwest::Client {
    builder([]).build().expect("nothing in it can be wrong")
}

/// A client that trusts exactly the certificate authorities in `ca_pem`.
pub fn trusting(ca_pem: &str) -> Result<reqwest::Client, reqwest::Error> {
    let authorities = reqwest::Certificate::from_pem_bundle(ca_pem.as_bytes())?;
    builder(authorities).build()
}

fn builder(authorities: impl IntoIterator<Item = reqwest::Certificate>) -> reqwest::ClientBuilder {
    install_tls_provider();
    reqwest::Client::builder()
        .no_proxy()
        .connect_timeout(CONNECT_TIMEOUT)
        .retry(reqwest::retry::never())
        .redirect(reqwest::redirect::Policy::none())
        .tls_certs_only(authorities)
}
