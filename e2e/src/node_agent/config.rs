//! Variables that a container takes from ConfigMaps and Secrets, as a kubelet reads them: once, when it starts.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{ConfigMap, Container, EnvVar, Secret};
use kube::{Api, Client};

/// Something that a container needs and that is not there.
#[derive(Debug, thiserror::Error)]
pub(super) enum ConfigError {
    #[error("{kind} {name:?} not found")]
    NotFound { kind: &'static str, name: String },
    #[error("couldn't find key {key} in {kind} {name:?}")]
    NoKey {
        kind: &'static str,
        name: String,
        key: String,
    },
    #[error(transparent)]
    Api(#[from] kube::Error),
}

/// Reader of the config of a namespace.
pub(super) struct ConfigReader<'a> {
    pub(super) client: &'a Client,
    pub(super) namespace: &'a str,
}

/// Variables by their names.
type Variables = BTreeMap<String, String>;

// === impl ConfigReader ===

impl ConfigReader<'_> {
    /// Returns a container whose variables have the values that config gives them. Its own come after those that it
    /// takes whole.
    pub(super) async fn resolve(&self, mut container: Container) -> Result<Container, ConfigError> {
        let mut env = Vec::new();
        for source in container.env_from.take().unwrap_or_default() {
            let variables = if let Some(from) = source.config_map_ref {
                let is_optional = from.optional == Some(true);
                missing_is_empty(self.config_map(&from.name).await, is_optional)?
            } else if let Some(from) = source.secret_ref {
                let is_optional = from.optional == Some(true);
                missing_is_empty(self.secret(&from.name).await, is_optional)?
            } else {
                Variables::new()
            };
            let prefix = source.prefix.unwrap_or_default();
            env.extend(variables.into_iter().map(|(name, value)| EnvVar {
                name: format!("{prefix}{name}"),
                value: Some(value),
                value_from: None,
            }));
        }
        for mut variable in container.env.take().unwrap_or_default() {
            let from = variable.value_from.take();
            let read = match from.as_ref() {
                Some(from) => {
                    let config_map = from.config_map_key_ref.as_ref();
                    let secret = from.secret_key_ref.as_ref();
                    if let Some(key) = config_map {
                        let read = self.config_map(&key.name).await;
                        Some((read, "configmap", &key.name, &key.key, key.optional))
                    } else if let Some(key) = secret {
                        let read = self.secret(&key.name).await;
                        Some((read, "secret", &key.name, &key.key, key.optional))
                    } else {
                        None
                    }
                }
                None => None,
            };
            let Some((read, kind, name, key, optional)) = read else {
                variable.value_from = from;
                env.push(variable);
                continue;
            };
            let is_optional = optional == Some(true);
            match missing_is_empty(read, is_optional)?.remove(key) {
                Some(value) => variable.value = Some(value),
                None if is_optional => continue,
                None => {
                    return Err(ConfigError::NoKey {
                        kind,
                        name: name.clone(),
                        key: key.clone(),
                    });
                }
            }
            env.push(variable);
        }
        container.env = Some(env);
        Ok(container)
    }

    async fn config_map(&self, name: &str) -> Result<Variables, ConfigError> {
        let api: Api<ConfigMap> = Api::namespaced(self.client.clone(), self.namespace);
        let found = api.get_opt(name).await?;
        let found = found.ok_or_else(|| not_found("configmap", name))?;
        Ok(found.data.unwrap_or_default())
    }

    async fn secret(&self, name: &str) -> Result<Variables, ConfigError> {
        let api: Api<Secret> = Api::namespaced(self.client.clone(), self.namespace);
        let found = api.get_opt(name).await?;
        let found = found.ok_or_else(|| not_found("secret", name))?;
        let data = found.data.unwrap_or_default().into_iter();
        Ok(data
            .map(|(key, value)| (key, String::from_utf8_lossy(&value.0).into_owned()))
            .collect())
    }
}

fn not_found(kind: &'static str, name: &str) -> ConfigError {
    ConfigError::NotFound {
        kind,
        name: name.to_owned(),
    }
}

fn missing_is_empty(
    read: Result<Variables, ConfigError>,
    is_optional: bool,
) -> Result<Variables, ConfigError> {
    match read {
        Err(ConfigError::NotFound { .. }) if is_optional => Ok(Variables::new()),
        read => read,
    }
}
