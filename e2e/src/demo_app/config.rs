//! Configuration of the demo app, from its environment.

use std::{net::SocketAddr, time::Duration};

use super::{Behavior, Greeting, default_bind};

/// Port of the pods: a Gateway listener on port 80 already has Envoy on 8080 of every address.
pub(super) const PORT: u16 = 9898;

/// Long enough for endpoints to leave the gateway (about 0.2 s here) several times over.
const DRAIN: Duration = Duration::from_secs(1);

/// Configuration that the app starts with.
#[derive(Clone, Debug, PartialEq)]
pub struct DemoAppConfig {
    /// `BIND`: the address to listen on.
    pub bind: SocketAddr,
    /// `VERSION`, `POD_NAME`, `NAMESPACE` and `DEMO_…`: what it says of itself.
    pub greeting: Greeting,
    /// `ERROR_RATE`, `LATENCY_MS` and `SLOW_RATE`: how it behaves until told otherwise.
    pub behavior: Behavior,
    /// `WORK_RATE`: number of jobs that it takes by itself each second, as a worker of a queue does.
    pub work_rate: u32,
    /// `DRAIN_MS`: how long it goes on serving after it is asked to end.
    pub drain: Duration,
    /// `EXIT_WITH_STDIN`: end when standard input does.
    pub exit_with_stdin: bool,
}

/// A variable that holds something else than it should.
#[derive(Debug, thiserror::Error)]
#[error("{name}={value:?} is not {wanted}")]
pub struct ConfigError {
    name: String,
    value: String,
    wanted: &'static str,
}

// === impl DemoAppConfig ===

impl DemoAppConfig {
    /// Reads what environment variables say; what they leave out has its default.
    pub fn from_vars(
        vars: impl IntoIterator<Item = (String, String)>,
    ) -> Result<Self, ConfigError> {
        let mut config = Self::default();
        for (name, value) in vars {
            let wanted = |wanted| ConfigError {
                name: name.clone(),
                value: value.clone(),
                wanted,
            };
            match name.as_str() {
                "BIND" => {
                    config.bind = value.parse().map_err(|_| wanted("an address and port"))?;
                }
                "VERSION" => config.greeting.version = value,
                "POD_NAME" => config.greeting.pod = value,
                "NAMESPACE" => config.greeting.namespace = value,
                "ERROR_RATE" => config.behavior.error_rate = share(&value, wanted)?,
                "SLOW_RATE" => config.behavior.slow_rate = share(&value, wanted)?,
                "LATENCY_MS" => config.behavior.latency_ms = milliseconds(&value, wanted)?,
                "WORK_RATE" => config.work_rate = value.parse().map_err(|_| wanted("a number"))?,
                "DRAIN_MS" => config.drain = Duration::from_millis(milliseconds(&value, wanted)?),
                "EXIT_WITH_STDIN" => config.exit_with_stdin = true,
                _ if name.starts_with("DEMO_") => {
                    config.greeting.env.insert(name, value);
                }
                _ => {}
            }
        }
        Ok(config)
    }
}

impl Default for DemoAppConfig {
    fn default() -> Self {
        Self {
            bind: default_bind(),
            greeting: Greeting {
                version: "unversioned".to_owned(),
                pod: "unnamed".to_owned(),
                namespace: String::new(),
                env: std::collections::BTreeMap::new(),
            },
            behavior: Behavior {
                error_rate: 0.0,
                latency_ms: 0,
                slow_rate: 1.0,
                ready: true,
            },
            work_rate: 0,
            drain: DRAIN,
            exit_with_stdin: false,
        }
    }
}

fn share(
    value: &str,
    wanted: impl FnOnce(&'static str) -> ConfigError,
) -> Result<f64, ConfigError> {
    let share = value.parse().ok();
    let share = share.filter(|share| (0.0..=1.0).contains(share));
    share.ok_or_else(|| wanted("within 0..1"))
}

fn milliseconds(
    value: &str,
    wanted: impl FnOnce(&'static str) -> ConfigError,
) -> Result<u64, ConfigError> {
    value
        .parse()
        .map_err(|_| wanted("a whole number of milliseconds"))
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

    use super::*;

    fn parse(vars: &[(&str, &str)]) -> Result<DemoAppConfig, ConfigError> {
        DemoAppConfig::from_vars(
            vars.iter()
                .map(|(name, value)| ((*name).to_owned(), (*value).to_owned())),
        )
    }

    #[test]
    fn everything_has_a_default() {
        assert_eq!(
            parse(&[("PATH", "/bin")]).unwrap(),
            DemoAppConfig::default()
        );
    }

    #[test]
    fn only_demo_variables_are_told() {
        let config = parse(&[("DEMO_COLOR", "blue"), ("HOME", "/root"), ("VERSION", "v2")]);
        let greeting = config.unwrap().greeting;
        assert_eq!(greeting.version, "v2");
        assert_eq!(greeting.env.len(), 1);
        assert_eq!(greeting.env["DEMO_COLOR"], "blue");
    }

    #[test]
    fn a_rate_above_one_is_refused() {
        let error = parse(&[("ERROR_RATE", "20")]).unwrap_err();
        assert_eq!(error.to_string(), "ERROR_RATE=\"20\" is not within 0..1");
    }
}
