//! Variables that a container takes from ConfigMaps and Secrets, as a kubelet reads them: once, when it starts.

use std::collections::BTreeMap;

use k8s_openapi::{
    ByteString,
    api::core::v1::{ConfigMap, Container, EnvFromSource, EnvVar, EnvVarSource, Secret},
};
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

/// Object that a container takes variables from.
struct Source<'a> {
    kind: Kind,
    name: &'a str,
    is_optional: bool,
}

#[derive(Clone, Copy)]
enum Kind {
    ConfigMap,
    Secret,
}

/// Variables by their names.
type Variables = BTreeMap<String, String>;

// === impl ConfigReader ===

impl ConfigReader<'_> {
    /// Returns a container whose variables have the values that config gives them. Its own come after those that it
    /// takes whole.
    pub(super) async fn resolve(&self, mut container: Container) -> Result<Container, ConfigError> {
        let mut env = Vec::new();
        for from in container.env_from.take().unwrap_or_default() {
            let Some(source) = Source::of_all(&from) else {
                continue;
            };
            let variables = self.read(&source).await?.into_iter();
            let prefix = from.prefix.as_deref().unwrap_or_default();
            env.extend(variables.map(|(name, value)| EnvVar {
                name: format!("{prefix}{name}"),
                value: Some(value),
                value_from: None,
            }));
        }
        for mut variable in container.env.take().unwrap_or_default() {
            let from = variable.value_from.clone();
            if let Some((source, key)) = from.as_ref().and_then(Source::of_one) {
                let value = self.read(&source).await?.remove(key);
                if value.is_none() && source.is_optional {
                    continue;
                }
                let value = value.ok_or_else(|| source.lacks(key))?;
                (variable.value, variable.value_from) = (Some(value), None);
            }
            env.push(variable);
        }
        container.env = Some(env);
        Ok(container)
    }

    /// Returns all that an object holds: nothing, if it may be missing and is.
    async fn read(&self, source: &Source<'_>) -> Result<Variables, ConfigError> {
        let (client, name) = (self.client.clone(), source.name);
        let found = match source.kind {
            Kind::ConfigMap => {
                let api: Api<ConfigMap> = Api::namespaced(client, self.namespace);
                let found = api.get_opt(name).await?;
                found.map(|found| found.data.unwrap_or_default())
            }
            Kind::Secret => {
                let api: Api<Secret> = Api::namespaced(client, self.namespace);
                let found = api.get_opt(name).await?;
                found.map(|found| texts(found.data.unwrap_or_default()))
            }
        };
        match found {
            None if source.is_optional => Ok(Variables::new()),
            found => found.ok_or_else(|| source.not_found()),
        }
    }
}

// === impl Source ===

impl<'a> Source<'a> {
    /// The object that is taken whole.
    fn of_all(from: &'a EnvFromSource) -> Option<Self> {
        if let Some(from) = &from.config_map_ref {
            return Some(Self::new(Kind::ConfigMap, &from.name, from.optional));
        }
        let from = from.secret_ref.as_ref()?;
        Some(Self::new(Kind::Secret, &from.name, from.optional))
    }

    /// The object of which one key is taken, and the key.
    fn of_one(from: &'a EnvVarSource) -> Option<(Self, &'a str)> {
        if let Some(from) = &from.config_map_key_ref {
            let source = Self::new(Kind::ConfigMap, &from.name, from.optional);
            return Some((source, &from.key));
        }
        let from = from.secret_key_ref.as_ref()?;
        let source = Self::new(Kind::Secret, &from.name, from.optional);
        Some((source, &from.key))
    }

    fn new(kind: Kind, name: &'a str, optional: Option<bool>) -> Self {
        Self {
            kind,
            name,
            is_optional: optional == Some(true),
        }
    }

    fn not_found(&self) -> ConfigError {
        ConfigError::NotFound {
            kind: self.kind.as_str(),
            name: self.name.to_owned(),
        }
    }

    fn lacks(&self, key: &str) -> ConfigError {
        ConfigError::NoKey {
            kind: self.kind.as_str(),
            name: self.name.to_owned(),
            key: key.to_owned(),
        }
    }
}

// === impl Kind ===

impl Kind {
    fn as_str(self) -> &'static str {
        match self {
            Self::ConfigMap => "configmap",
            Self::Secret => "secret",
        }
    }
}

fn texts(data: BTreeMap<String, ByteString>) -> Variables {
    let texts = data.into_iter();
    texts
        .map(|(key, value)| (key, String::from_utf8_lossy(&value.0).into_owned()))
        .collect()
}
