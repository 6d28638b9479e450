//! Connections to the API server, and how soon one is given up that is dead.
//!
//! kube's own clients never probe a connection, so that a watch hears of a network that was cut only
//! when its time is over, after five minutes. The stack is theirs in everything else.

use std::time::Duration;

use hyper_timeout::TimeoutConnector;
use hyper_util::{
    client::legacy::{Client as HttpClient, connect::HttpConnector},
    rt::TokioExecutor,
};
use kube::{
    Client, Config,
    client::{Body, ConfigExt as _, retry::RetryPolicy},
};
use tower::{BoxError, ServiceBuilder, retry::RetryLayer};

/// Time without data after which a connection is probed.
const PROBED_AFTER: Duration = Duration::from_secs(15);

/// Interval of probes that nobody answers.
const PROBE_INTERVAL: Duration = Duration::from_secs(10);

/// Number of them with which the connection is given up: after 45 s in all.
const PROBES: u32 = 3;

/// Time in which sent data has to arrive.
const SENT_WITHIN: Duration = Duration::from_secs(30);

/// Makes a client.
pub(super) fn client(config: Config) -> Result<Client, kube::Error> {
    if config.proxy_url.is_some() {
        // It says that it was built without proxies.
        return Client::try_from(config);
    }
    let connector = config.rustls_https_connector_with_connector(connector())?;
    let mut connector = TimeoutConnector::new(connector);
    connector.set_connect_timeout(config.connect_timeout);
    connector.set_read_timeout(config.read_timeout);
    connector.set_write_timeout(config.write_timeout);
    connector.set_reset_reader_on_write(config.reset_reader_on_write);
    let http: HttpClient<_, Body> = HttpClient::builder(TokioExecutor::new()).build(connector);
    let retry = if config.default_retry {
        Some(RetryLayer::new(RetryPolicy::server_retry()))
    } else {
        None
    };
    let service = ServiceBuilder::new()
        .layer(config.base_uri_layer())
        .option_layer(retry)
        .option_layer(config.auth_layer()?)
        .layer(config.extra_headers_layer()?)
        .map_err(BoxError::from)
        .service(http);
    Ok(Client::new(service, config.default_namespace))
}

/// Makes connections that are probed. Nothing is gained by waiting for more to send, as small packets do
/// by default.
fn connector() -> HttpConnector {
    let mut connector = HttpConnector::new();
    connector.enforce_http(false);
    connector.set_nodelay(true);
    connector.set_keepalive(Some(PROBED_AFTER));
    connector.set_keepalive_interval(Some(PROBE_INTERVAL));
    connector.set_keepalive_retries(Some(PROBES));
    #[cfg(target_os = "linux")]
    connector.set_tcp_user_timeout(Some(SENT_WITHIN));
    connector
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a test may panic")]
    use socket2::SockRef;
    use tokio::net::TcpListener;
    use tower::ServiceExt as _;

    use super::*;

    #[tokio::test]
    async fn a_connection_that_is_cut_is_given_up_within_45_seconds() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let uri = format!("http://{}", listener.local_addr().unwrap());
        let connection = connector().oneshot(uri.parse().unwrap()).await.unwrap();
        let socket = SockRef::from(connection.inner());
        assert!(socket.keepalive().unwrap());
        let idle = socket.tcp_keepalive_time().unwrap();
        let probes = socket.tcp_keepalive_retries().unwrap();
        let unanswered = socket.tcp_keepalive_interval().unwrap() * probes;
        assert!(
            idle + unanswered <= Duration::from_secs(45),
            "{idle:?} and {unanswered:?}"
        );
    }
}
