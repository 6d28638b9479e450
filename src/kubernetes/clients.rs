//! Clients: one to watch with, one to write with, and one for each ServiceAccount that something is
//! written for.

use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use http::{HeaderName, HeaderValue, Request};
use kube::{Client, Config, client::ClientBuilder};
use tower::util::MapRequestLayer;

/// A write that takes longer than this may land after the lease was lost; kube's own clients wait
/// for ever.
const WRITE_TIMEOUT: Duration = Duration::from_secs(5);

/// The clients.
pub(crate) struct Clients {
    /// For watches: its answers may take as long as they like.
    pub(crate) watching: Client,
    /// For everything else, in Tidegate's own name.
    pub(crate) writing: Client,
    writing_config: Config,
    impersonating: Mutex<HashMap<String, Client>>,
}

/// Why there is no client.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ClientError {
    /// The connection cannot be set up.
    #[error("cannot set up the connection to the API server: {0}")]
    Setup(#[source] kube::Error),
    /// A name that cannot be sent.
    #[error("the ServiceAccount {0:?} has a name that cannot be sent")]
    Name(String),
}

// === impl Clients ===

impl Clients {
    pub(crate) fn new(config: Config) -> Result<Self, ClientError> {
        let mut writing_config = config.clone();
        writing_config.connect_timeout = Some(WRITE_TIMEOUT);
        writing_config.read_timeout = Some(WRITE_TIMEOUT);
        writing_config.write_timeout = Some(WRITE_TIMEOUT);
        Ok(Self {
            watching: Client::try_from(config).map_err(ClientError::Setup)?,
            writing: Client::try_from(writing_config.clone()).map_err(ClientError::Setup)?,
            writing_config,
            impersonating: Mutex::default(),
        })
    }

    /// A client for writes in the name of a ServiceAccount.
    pub(crate) fn of_service_account(&self, namespace: &str, name: &str) -> Result<Client, ClientError> {
        let user = format!("system:serviceaccount:{namespace}:{name}");
        let mut known = self.impersonating.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(client) = known.get(&user) {
            return Ok(client.clone());
        }
        let client = impersonating(self.writing_config.clone(), &user)?;
        known.insert(user, client.clone());
        Ok(client)
    }
}

fn impersonating(config: Config, user: &str) -> Result<Client, ClientError> {
    let user = HeaderValue::from_str(user).map_err(|_| ClientError::Name(user.to_owned()))?;
    let header = HeaderName::from_static("impersonate-user");
    let layer = MapRequestLayer::new(move |mut request: Request<kube::client::Body>| {
        request.headers_mut().insert(header.clone(), user.clone());
        request
    });
    let builder = ClientBuilder::try_from(config).map_err(ClientError::Setup)?;
    Ok(builder.with_layer(&layer).build())
}
