//! The git repository of a `ConfigRepo`, opened with the credentials of its Secret.
//!
//! Credentials are kept no longer than the handle of the repository is.

use std::sync::Arc;

use k8s_openapi::api::core::v1::Secret as SecretObject;
use kube::{Api, Client, ResourceExt as _};
use reqwest::Url;
use tidegate_api::{config_repo::ConfigRepoSpec, names};
use tidegate_git::{Credentials, Git, Remote, RemoteError, Repository, Secret};
use tidegate_render::{RenderSettings, Renderer};

use crate::hosts::{AllowedHosts, Place, SSH_PORT};

/// Port of https.
const HTTPS_PORT: u16 = 443;

/// Beginning of the URL of a repository that is read over SSH.
const SSH: &str = "ssh://";

/// Repositories that ConfigRepos may name, and Secrets that may be sent to their servers.
pub(crate) struct Repositories {
    git: Arc<Git>,
    /// Hosts that may be asked, as `HOST` or `HOST:PORT`; any if there are none.
    hosts: AllowedHosts,
    secrets: SecretAccess,
    renderer: Renderer,
}

/// Secrets that may be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum SecretAccess {
    /// Those whose label says for what.
    Labeled,
    /// All.
    Any,
}

/// Use of a Secret, as its label says it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum SecretUse {
    /// It is sent to a git server.
    Git,
    /// It is sent to a metrics server.
    Metrics,
    /// It says where releases are told of.
    Notifications,
}

/// A repository that could not be opened.
#[derive(Debug, thiserror::Error)]
pub(crate) enum OpenError {
    /// Its Secret.
    #[error(transparent)]
    Secret(#[from] SecretError),
    /// Its URL.
    #[error(transparent)]
    Remote(#[from] RemoteError),
    /// It is read over SSH, and no Secret is named.
    #[error(
        "a repository over ssh needs a key: name a Secret with identity and known_hosts in spec.secretRef"
    )]
    NoKey,
    /// The operator does not let its host be asked.
    #[error(
        "spec.url names {host}, which the operator of Tidegate does not allow: have it added to --git-hosts (in the chart git.allowedHosts), or name another"
    )]
    Host {
        /// Host and port.
        host: String,
    },
}

/// A Secret that could not be read, or that holds no credentials.
#[derive(Debug, thiserror::Error)]
#[error("the Secret `{name}` cannot be read: {why}")]
pub(crate) struct SecretError {
    name: String,
    why: String,
}

// === impl Repositories ===

impl Repositories {
    pub(crate) fn new(
        git: Arc<Git>,
        hosts: impl IntoIterator<Item = String>,
        secrets: SecretAccess,
    ) -> Self {
        Self {
            git,
            hosts: AllowedHosts::new(hosts),
            secrets,
            renderer: Renderer::default(),
        }
    }

    /// Has overlays and charts rendered with these settings.
    #[must_use]
    pub(crate) fn rendered_by(self, settings: RenderSettings) -> Self {
        Self {
            renderer: Renderer::new(settings),
            ..self
        }
    }

    /// Returns the programs that render overlays and charts.
    pub(crate) fn renderer(&self) -> &Renderer {
        &self.renderer
    }

    /// Deletes what is kept of repositories that nobody has open.
    pub(crate) fn remove_unused(&self) {
        self.git.remove_unused();
    }

    /// Deletes what an earlier process has kept of repositories that are not among these.
    pub(crate) fn remove_left_behind(&self, urls: &[String]) {
        self.git.remove_left_behind(urls.iter().map(String::as_str));
    }

    /// Opens the repository that a `ConfigRepo` names, with the credentials of its Secret.
    pub(crate) async fn open(
        &self,
        client: &Client,
        namespace: &str,
        spec: &ConfigRepoSpec,
    ) -> Result<Repository, OpenError> {
        self.allowed(&spec.url)?;
        if lacks_key(spec) {
            return Err(OpenError::NoKey);
        }
        let Some(secret_ref) = &spec.secret_ref else {
            let remote = Remote::new(&spec.url, Credentials::Anonymous)?;
            return Ok(self.git.repository(remote));
        };
        let (name, usage) = (&secret_ref.name, SecretUse::Git);
        let (credentials, ca) = read_secret(client, namespace, name, usage, self.secrets).await?;
        let mut remote = Remote::new(&spec.url, credentials)?;
        if let Some(ca) = ca {
            remote = remote.with_ca(ca);
        }
        Ok(self.git.repository(remote))
    }

    fn allowed(&self, url: &str) -> Result<(), OpenError> {
        if self.hosts.is_empty() {
            return Ok(());
        }
        let place = Url::parse(url).ok().as_ref().and_then(Place::of);
        let usual = if url.starts_with(SSH) {
            SSH_PORT
        } else {
            HTTPS_PORT
        };
        match place {
            Some(place) if self.hosts.allow(&place, &[usual]) => Ok(()),
            Some(place) => Err(OpenError::Host {
                host: place.to_string(),
            }),
            None => Err(OpenError::Host {
                host: "no host".to_owned(),
            }),
        }
    }
}

// === impl SecretError ===

impl SecretError {
    fn new(name: &str, why: &str) -> Self {
        Self {
            name: name.to_owned(),
            why: why.to_owned(),
        }
    }
}

/// Returns true for a repository over SSH without a Secret.
pub(crate) fn lacks_key(spec: &ConfigRepoSpec) -> bool {
    spec.url.starts_with(SSH) && spec.secret_ref.is_none()
}

// === impl SecretUse ===

impl SecretUse {
    /// Value of the label.
    fn as_str(self) -> &'static str {
        match self {
            Self::Git => "git",
            Self::Metrics => "metrics",
            Self::Notifications => "notifications",
        }
    }
}

/// Reads credentials and a CA bundle out of a Secret of the namespace, if that may be sent there.
pub(crate) async fn read_secret(
    client: &Client,
    namespace: &str,
    name: &str,
    usage: SecretUse,
    access: SecretAccess,
) -> Result<(Credentials, Option<Vec<u8>>), SecretError> {
    let secret = find_secret(client, namespace, name, usage, access).await?;
    let secret = secret.ok_or_else(|| SecretError::new(name, "there is none in this namespace"))?;
    let ca = data(&secret, "ca.crt").map(<[u8]>::to_vec);
    let credentials = credentials(&secret).map_err(|why| SecretError::new(name, why))?;
    Ok((credentials, ca))
}

/// Returns a Secret of the namespace, if it may be sent there; `None` where there is none.
pub(crate) async fn find_secret(
    client: &Client,
    namespace: &str,
    name: &str,
    usage: SecretUse,
    access: SecretAccess,
) -> Result<Option<SecretObject>, SecretError> {
    let api: Api<SecretObject> = Api::namespaced(client.clone(), namespace);
    let secret = match api.get_opt(name).await {
        Ok(Some(secret)) => secret,
        Ok(None) => return Ok(None),
        Err(kube::Error::Api(status)) if status.is_forbidden() => {
            let said = status.message;
            let why = format!(
                "{said}; the chart lets Tidegate get the Secrets in rbac.secretNames, or all where there are none"
            );
            return Err(SecretError::new(name, &why));
        }
        Err(kube::Error::Api(status)) => return Err(SecretError::new(name, &status.message)),
        // Its text could hold a part of the Secret.
        Err(_) => return Err(SecretError::new(name, "the API server could not be asked")),
    };
    let label = secret.labels().get(names::USE_LABEL);
    if access == SecretAccess::Labeled && label.is_none_or(|label| label != usage.as_str()) {
        let (key, value) = (names::USE_LABEL, usage.as_str());
        let why = format!(
            "it lacks the label {key}: {value}, by which its owner lets Tidegate send it to a {value} server; \
             run kubectl label secret {name} --namespace {namespace} {key}={value}"
        );
        return Err(SecretError::new(name, &why));
    }
    Ok(Some(secret))
}

fn credentials(secret: &SecretObject) -> Result<Credentials, &'static str> {
    if let Some(identity) = text(secret, "identity")? {
        let known_hosts = text(secret, "known_hosts")?.filter(|hosts| !hosts.trim().is_empty());
        let known_hosts = known_hosts.ok_or(
            "it has an identity and no known_hosts: add the server's line of ssh-keyscan HOST, once you know that it is the right one",
        )?;
        return Ok(Credentials::Key {
            identity: Secret::new(identity),
            passphrase: text(secret, "password")?.map(Secret::new),
            known_hosts: format!("{known_hosts}\n"),
        });
    }
    let token = text(secret, "bearerToken")?;
    match (token, text(secret, "username")?, text(secret, "password")?) {
        (Some(token), _, _) => Ok(Credentials::Bearer(Secret::new(token))),
        (None, username, Some(password)) => {
            let username = username.unwrap_or_else(|| "git".to_owned());
            Ok(Credentials::Basic {
                username,
                password: Secret::new(password),
            })
        }
        (None, Some(_), None) => Err("it has a username and no password: add the key password"),
        (None, None, None) if data(secret, "ca.crt").is_some() => Ok(Credentials::Anonymous),
        (None, None, None) => Err(
            "it has neither username and password nor bearerToken, nor identity and known_hosts",
        ),
    }
}

fn text(secret: &SecretObject, key: &str) -> Result<Option<String>, &'static str> {
    match data(secret, key).map(std::str::from_utf8) {
        None => Ok(None),
        Some(Ok(text)) => Ok(Some(text.trim_end_matches(['\r', '\n']).to_owned())),
        Some(Err(_)) => Err("a value in it is not text"),
    }
}

fn data<'a>(secret: &'a SecretObject, key: &str) -> Option<&'a [u8]> {
    secret
        .data
        .as_ref()?
        .get(key)
        .map(|value| value.0.as_slice())
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use k8s_openapi::ByteString;
    use serde_json::json;
    use tidegate_git::{Limits, Transport, TransportSettings};

    use super::*;
    use crate::kubernetes::testing::Script;

    fn repositories(hosts: &[&str]) -> Repositories {
        let transport = Transport::new(TransportSettings::default()).unwrap();
        let folder = tempfile::tempdir().unwrap();
        let git = Arc::new(Git::new(transport, folder.path(), Limits::default()));
        let hosts = hosts.iter().map(ToString::to_string);
        Repositories::new(git, hosts, SecretAccess::Labeled)
    }

    #[test]
    fn only_hosts_that_the_operator_allows_are_asked() {
        let some = repositories(&["Git.example.com", "10.0.0.1:8443"]);
        for url in [
            "https://git.example.com/a.git",
            "https://GIT.example.com:443/a.git",
            "https://10.0.0.1:8443/a.git",
        ] {
            assert!(some.allowed(url).is_ok(), "{url}");
        }
        for url in [
            "https://git.example.com:8443/a.git",
            "https://git.example.com.evil.test/a.git",
            "https://10.0.0.1/a.git",
            "https://[::1]/a.git",
        ] {
            let error = some.allowed(url).unwrap_err().to_string();
            assert!(error.contains("--git-hosts"), "{error}");
        }
        assert!(repositories(&[]).allowed("https://any.test/a.git").is_ok());
    }

    /// Reads a Secret with this label for a git server.
    async fn read_labeled(label: Option<&str>, access: SecretAccess) -> Result<(), String> {
        let script = Script::default();
        let labels = label.map(|label| json!({ "tidegate.io/use": label }));
        let data = json!({ "password": "aHVudGVyMg==" });
        let metadata = json!({ "name": "git", "labels": labels });
        script.put("secrets/git", json!({ "metadata": metadata, "data": data }));
        let client = script.client();
        let secret = read_secret(&client, "shop", "git", SecretUse::Git, access).await;
        secret.map(drop).map_err(|error| error.to_string())
    }

    #[tokio::test]
    async fn a_secret_is_sent_only_where_its_label_says() {
        let git = read_labeled(Some("git"), SecretAccess::Labeled).await;
        assert_eq!(git, Ok(()));
        assert_eq!(read_labeled(None, SecretAccess::Any).await, Ok(()));
        for label in [None, Some("metrics")] {
            let error = read_labeled(label, SecretAccess::Labeled)
                .await
                .unwrap_err();
            assert!(
                error.contains("kubectl label secret git --namespace shop tidegate.io/use=git"),
                "{error}"
            );
            assert!(!error.contains("hunter2"), "{error}");
        }
    }

    fn read(keys: &[(&str, &str)]) -> Result<Credentials, &'static str> {
        let data = keys
            .iter()
            .map(|(key, value)| ((*key).to_owned(), ByteString(value.as_bytes().to_vec())));
        credentials(&SecretObject {
            data: Some(data.collect()),
            ..SecretObject::default()
        })
    }

    #[test]
    fn the_keys_that_flux_users_know_are_read() {
        let basic = |username: &str| Credentials::Basic {
            username: username.to_owned(),
            password: Secret::new("hunter2"),
        };
        assert_eq!(
            read(&[("username", "ada"), ("password", "hunter2\n")]),
            Ok(basic("ada"))
        );
        assert_eq!(read(&[("password", "hunter2")]), Ok(basic("git")));
        assert_eq!(
            read(&[("bearerToken", "hunter2")]),
            Ok(Credentials::Bearer(Secret::new("hunter2")))
        );
        assert_eq!(read(&[("ca.crt", "PEM")]), Ok(Credentials::Anonymous));
    }

    #[test]
    fn a_secret_without_the_right_keys_is_refused_with_a_sentence() {
        assert!(
            read(&[("username", "ada")])
                .expect_err("refused")
                .contains("add the key password")
        );
        assert!(
            read(&[("token", "hunter2")])
                .expect_err("refused")
                .contains("bearerToken")
        );
    }
}
