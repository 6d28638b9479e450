//! Clients: one to watch with, one to write with while leading, one for the Lease, and one for each
//! ServiceAccount that something is written for.

use std::time::Duration;

use http::{HeaderValue, Method, Request};
use kube::{Client, Config, client::Body};

use super::{connection, fence::Fence};

/// A write that takes longer than this may land after the lease was lost; kube's own clients wait
/// for ever.
pub(crate) const WRITE_TIMEOUT: Duration = Duration::from_secs(5);

/// The clients.
pub(crate) struct Clients {
    /// For watches: its answers may take as long as they like.
    pub(crate) watching: Client,
    /// For the Lease alone, which is written before this process leads.
    pub(crate) lease: Client,
    /// For everything else, in Tidegate's own name. It refuses every write that is not the
    /// leader's.
    pub(crate) writing: Client,
}

/// The connection to the API server cannot be set up.
#[derive(Debug, thiserror::Error)]
#[error("cannot set up the connection to the API server: {0}")]
pub(crate) struct ClientError(#[from] kube::Error);

/// A name that cannot be sent as a ServiceAccount's.
#[derive(Debug, thiserror::Error)]
#[error("{0:?} cannot be the name of a ServiceAccount")]
pub(crate) struct AccountName(String);

// === impl Clients ===

impl Clients {
    pub(crate) fn new(config: Config, fence: Fence) -> Result<Self, ClientError> {
        let lease = connection::client(bounded(config.clone()))?;
        let namespace = config.default_namespace.clone();
        let writing = fenced(lease.clone(), &namespace, fence);
        Ok(Self {
            watching: connection::client(config)?,
            lease,
            writing,
        })
    }
}

/// The configuration of a client whose requests end in time.
fn bounded(mut config: Config) -> Config {
    config.connect_timeout = Some(WRITE_TIMEOUT);
    config.read_timeout = Some(WRITE_TIMEOUT);
    config.write_timeout = Some(WRITE_TIMEOUT);
    // The time in which a connection was idle is not the request's.
    config.reset_reader_on_write = true;
    // What the client sends again by itself, for minutes, nobody asks again if this process still leads.
    config.default_retry = false;
    config
}

/// A client that writes in the name of a ServiceAccount. The API server adds the account's groups
/// by itself, so the right to impersonate that account is all that Tidegate needs.
pub(crate) fn impersonating(
    client: &Client,
    namespace: &str,
    account: &str,
) -> Result<Client, AccountName> {
    if account.is_empty() || !account.chars().all(is_in_names) {
        return Err(AccountName(account.to_owned()));
    }
    let user = HeaderValue::try_from(format!("system:serviceaccount:{namespace}:{account}"))
        .map_err(|_| AccountName(account.to_owned()))?;
    let client = client.clone();
    let service = tower::service_fn(move |mut request: Request<Body>| {
        request
            .headers_mut()
            .insert("impersonate-user", user.clone());
        let client = client.clone();
        async move { client.send(request).await }
    });
    Ok(Client::new(service, namespace))
}

/// Returns true for a character of the names of ServiceAccounts.
fn is_in_names(c: char) -> bool {
    c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '-' | '.')
}

/// A client that refuses every write while this process does not lead.
fn fenced(client: Client, namespace: &str, fence: Fence) -> Client {
    let service = tower::service_fn(move |request: Request<Body>| {
        let (client, fence) = (client.clone(), fence.clone());
        async move {
            if request.method() != Method::GET {
                fence
                    .epoch()
                    .map_err(|not_leading| kube::Error::Service(Box::new(not_leading)))?;
            }
            client.send(request).await
        }
    });
    Client::new(service, namespace)
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a test may panic")]
    use k8s_openapi::api::core::v1::ConfigMap;
    use kube::{Api, api::PostParams};
    use serde_json::json;
    use tokio::sync::watch;

    use super::*;
    use crate::{
        clock,
        kubernetes::{fence::Term, testing::Script},
    };

    fn object() -> ConfigMap {
        serde_json::from_value(json!({ "metadata": { "name": "one", "namespace": "shop" } }))
            .unwrap()
    }

    fn script() -> Script {
        let script = Script::default();
        script.put("configmaps/one", json!({}));
        script
    }

    fn term(left: Duration) -> Term {
        Term {
            epoch: 3,
            until: clock::monotonic() + left,
        }
    }

    async fn write(client: Client) -> Result<ConfigMap, kube::Error> {
        Api::namespaced(client, "shop")
            .replace("one", &PostParams::default(), &object())
            .await
    }

    #[test]
    fn a_write_has_its_time_from_when_it_is_sent_and_is_not_sent_again_unseen() {
        let config = bounded(Config::new("https://10.0.0.1".parse().unwrap()));
        let of_connection = [
            config.connect_timeout,
            config.read_timeout,
            config.write_timeout,
        ];
        assert_eq!(of_connection, [Some(WRITE_TIMEOUT); 3]);
        assert!(config.reset_reader_on_write && !config.default_retry);
    }

    #[tokio::test(start_paused = true)]
    async fn who_does_not_lead_reads_and_does_not_write() {
        let script = script();
        let (leads, terms) = watch::channel(None);
        let client = fenced(script.client(), "shop", Fence::new(terms));
        Api::<ConfigMap>::namespaced(client.clone(), "shop")
            .get("one")
            .await
            .unwrap();
        assert!(write(client.clone()).await.is_err());
        assert!(script.writes().is_empty(), "nothing has left");

        leads.send_replace(Some(term(Duration::from_secs(10))));
        write(client.clone()).await.unwrap();
        assert_eq!(script.short_writes(), ["PUT configmaps/one"]);

        tokio::time::advance(Duration::from_secs(11)).await;
        assert!(
            write(client).await.is_err(),
            "the term has ended though nobody said so"
        );
        assert!(script.writes().is_empty());
    }

    #[tokio::test]
    async fn a_service_account_is_impersonated_by_its_full_name() {
        let script = script();
        write(impersonating(&script.client(), "shop", "deployer").unwrap())
            .await
            .unwrap();
        let writes = script.writes();
        assert_eq!(
            writes[0].header("impersonate-user"),
            "system:serviceaccount:shop:deployer"
        );
    }

    #[tokio::test]
    async fn what_is_no_name_is_not_sent() {
        for account in ["", "a:b", "A", "a\nb"] {
            assert!(
                impersonating(&Script::default().client(), "shop", account).is_err(),
                "{account:?}"
            );
        }
    }
}
