//! The git repository of a `ConfigRepo`, opened with the credentials of its Secret.
//!
//! Credentials are kept no longer than the handle of the repository is.

use std::sync::Arc;

use k8s_openapi::api::core::v1::Secret as SecretObject;
use kube::{Api, Client};
use tidegate_api::config_repo::ConfigRepoSpec;

use tidegate_git::{Credentials, Git, Remote, RemoteError, Repository, Secret};

/// A repository that could not be opened.
#[derive(Debug, thiserror::Error)]
pub(crate) enum OpenError {
    /// Its Secret.
    #[error(transparent)]
    Secret(#[from] SecretError),
    /// Its URL.
    #[error(transparent)]
    Remote(#[from] RemoteError),
}

/// A Secret that could not be read, or that holds no credentials.
#[derive(Debug, thiserror::Error)]
#[error("the Secret `{name}` cannot be read: {why}")]
pub(crate) struct SecretError {
    name: String,
    why: String,
}

/// Opens the repository that a `ConfigRepo` names, with the credentials of its Secret.
pub(crate) async fn open(
    git: &Arc<Git>,
    client: &Client,
    namespace: &str,
    spec: &ConfigRepoSpec,
) -> Result<Repository, OpenError> {
    let Some(secret_ref) = &spec.secret_ref else {
        return Ok(git.repository(Remote::new(&spec.url, Credentials::Anonymous)?));
    };
    let (credentials, ca) = read_secret(client, namespace, &secret_ref.name).await?;
    let mut remote = Remote::new(&spec.url, credentials)?;
    if let Some(ca) = ca {
        remote = remote.with_ca(ca);
    }
    Ok(git.repository(remote))
}

/// Reads credentials and a CA bundle out of a Secret of the namespace.
pub(crate) async fn read_secret(
    client: &Client,
    namespace: &str,
    name: &str,
) -> Result<(Credentials, Option<Vec<u8>>), SecretError> {
    let api: Api<SecretObject> = Api::namespaced(client.clone(), namespace);
    let unreadable = |why: &str| SecretError {
        name: name.to_owned(),
        why: why.to_owned(),
    };
    let secret = match api.get_opt(name).await {
        Ok(Some(secret)) => secret,
        Ok(None) => return Err(unreadable("there is none in this namespace")),
        Err(kube::Error::Api(status)) => return Err(unreadable(&status.message)),
        // Its text could hold a part of the Secret.
        Err(_) => return Err(unreadable("the API server could not be asked")),
    };
    let ca = data(&secret, "ca.crt").map(<[u8]>::to_vec);
    Ok((credentials(&secret).map_err(unreadable)?, ca))
}

fn credentials(secret: &SecretObject) -> Result<Credentials, &'static str> {
    let text = |key: &str| match data(secret, key).map(std::str::from_utf8) {
        None => Ok(None),
        Some(Ok(text)) => Ok(Some(text.trim_end_matches(['\r', '\n']).to_owned())),
        Some(Err(_)) => Err("a value in it is not text"),
    };
    match (text("bearerToken")?, text("username")?, text("password")?) {
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
        (None, None, None) => Err("it has neither username and password nor bearerToken"),
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
    use k8s_openapi::ByteString;

    use super::*;

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
