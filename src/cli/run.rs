//! `tidegate run`: the controller.
//!
//! Owns its arguments; what it does is in `controller`. The cluster is found as every client of
//! Kubernetes finds it: `KUBECONFIG`, else the pod's service account.

use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
    sync::Arc,
};

use anyhow::Context as _;
use clap::Args;
use reqwest::Url;
use tidegate_api::{Duration, notification::NotificationFormat};
use tidegate_git::{Limits, Secret, TransportSettings};
use tidegate_metrics::{credentials::Credentials, http::HttpSettings, prometheus::Prometheus};
use tidegate_render::RenderSettings;
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

use crate::{
    clock,
    controller::{self, Settings},
    kubernetes::leadership::LeaseConfig,
    notifications::{NotifierSettings, OperatorsDestination},
    repository::SecretAccess,
    telemetry::{self, LogFormat},
};

/// File in which a pod finds the name of its namespace.
const POD_NAMESPACE: &str = "/var/run/secrets/kubernetes.io/serviceaccount/namespace";

/// Shortest duration of the Lease: it is renewed five times in it, and given up after two thirds.
const SHORTEST_LEASE: std::time::Duration = std::time::Duration::from_secs(2);

/// Arguments of `tidegate run`.
#[derive(Args, Clone, Debug)]
pub struct RunArgs {
    /// Namespace to manage (default: all)
    #[arg(short, long, env = "TIDEGATE_NAMESPACE")]
    pub namespace: Option<String>,
    /// Name of this cluster in the records in git
    #[arg(long, env = "TIDEGATE_CLUSTER_NAME", value_parser = cluster_name)]
    pub cluster_name: String,
    /// URL of the Prometheus server that gates query
    #[arg(long, env = "TIDEGATE_PROMETHEUS_URL")]
    pub prometheus_url: Url,
    /// Interval at which Prometheus scrapes workloads, as long as it cannot be learned from the samples
    /// of stable
    #[arg(
        long,
        env = "TIDEGATE_PROMETHEUS_SCRAPE_INTERVAL",
        default_value = "15s"
    )]
    pub prometheus_scrape_interval: Duration,
    /// File with the bearer token for Prometheus; it is read for each query
    #[arg(long, env = "TIDEGATE_PROMETHEUS_TOKEN_FILE", value_name = "FILE")]
    pub prometheus_token_file: Option<PathBuf>,
    /// CA bundle (PEM) used to verify Prometheus
    #[arg(long, env = "TIDEGATE_PROMETHEUS_CA_FILE", value_name = "FILE")]
    pub prometheus_ca_file: Option<PathBuf>,
    /// Other metrics servers that Rollouts may use for their gates (spec.metrics): HOST:PORT, or
    /// HOST for ports 80 and 443; a Secret is sent over plain HTTP only to a HOST:PORT
    #[arg(
        long,
        env = "TIDEGATE_METRICS_HOSTS",
        value_name = "HOST,…",
        value_delimiter = ','
    )]
    pub metrics_hosts: Vec<String>,
    /// Git servers at which ConfigRepos may have repositories: HOST:PORT, or HOST for port 443 (https) or 22 (ssh)
    /// (default: any)
    #[arg(
        long,
        env = "TIDEGATE_GIT_HOSTS",
        value_name = "HOST,…",
        value_delimiter = ','
    )]
    pub git_hosts: Vec<String>,
    /// Directory with the files url, hmacKey and ca.crt, such as a mounted Secret: the webhook that is told of
    /// every release (default: none); they are read for each delivery
    #[arg(long, env = "TIDEGATE_NOTIFICATION_DIR", value_name = "DIR")]
    pub notification_dir: Option<PathBuf>,
    /// Format of what that webhook is told: Json, Slack or Teams
    #[arg(long, env = "TIDEGATE_NOTIFICATION_FORMAT", value_name = "FORMAT", default_value = "Json", value_parser = notification_format)]
    pub notification_format: NotificationFormat,
    /// Webhooks that Rollouts may have told of their releases (spec.notifications): HOST:PORT, or HOST for port 443;
    /// plain HTTP only to a HOST:PORT
    #[arg(
        long,
        env = "TIDEGATE_NOTIFICATION_HOSTS",
        value_name = "HOST,…",
        value_delimiter = ','
    )]
    pub notification_hosts: Vec<String>,
    /// Use any Secret that a ConfigRepo or a Rollout names (default: those with the label
    /// tidegate.io/use: git, metrics or notifications)
    #[arg(long, env = "TIDEGATE_ANY_SECRET")]
    pub any_secret: bool,
    /// Label that every selector of a gate's query is given, with the Rollout's namespace as its value,
    /// so that no Rollout reads the metrics of other namespaces
    #[arg(
        long,
        env = "TIDEGATE_METRICS_ENFORCE_NAMESPACE_LABEL",
        value_name = "LABEL",
        value_parser = label_name
    )]
    pub metrics_enforce_namespace_label: Option<String>,
    /// Address on which /healthz, /readyz and /metrics are served
    #[arg(long, env = "TIDEGATE_LISTEN", default_value = "0.0.0.0:8080")]
    pub listen: SocketAddr,
    /// Directory for clones of repositories
    #[arg(
        long,
        env = "TIDEGATE_GIT_CACHE",
        value_name = "DIR",
        default_value = "/var/cache/tidegate/git"
    )]
    pub git_cache: PathBuf,
    /// Program that renders Kustomize overlays, by its path or found in /usr/local/bin:/usr/bin:/bin
    #[arg(
        long,
        env = "TIDEGATE_KUSTOMIZE",
        value_name = "PROGRAM",
        default_value = "kustomize"
    )]
    pub kustomize: PathBuf,
    /// Program that renders Helm charts of repositories, likewise
    #[arg(
        long,
        env = "TIDEGATE_HELM",
        value_name = "PROGRAM",
        default_value = "helm"
    )]
    pub helm: PathBuf,
    /// Maximum size of all clones together, like 2Gi; a tenth of it is left free
    #[arg(long, env = "TIDEGATE_GIT_CACHE_SIZE", value_name = "BYTES", default_value = "2Gi", value_parser = bytes)]
    pub git_cache_size: u64,
    /// Maximum size of one clone, history included, like 512Mi
    #[arg(long, env = "TIDEGATE_GIT_MAX_REPOSITORY", value_name = "BYTES", default_value = "512Mi", value_parser = bytes)]
    pub git_max_repository: u64,
    /// Maximum size of one object in the history of a repository, like 64Mi
    #[arg(long, env = "TIDEGATE_GIT_MAX_OBJECT", value_name = "BYTES", default_value = "64Mi", value_parser = bytes)]
    pub git_max_object: u64,
    /// Maximum number of values and keys in the manifests of all ConfigRepos, about 100 bytes of memory
    /// each
    #[arg(long, env = "TIDEGATE_MAX_NODES", default_value = "2000000")]
    pub max_nodes: usize,
    /// Name of the Lease for leader election
    #[arg(long, env = "TIDEGATE_LEASE_NAME", default_value = "tidegate")]
    pub lease_name: String,
    /// Namespace of the Lease (default: that of the pod)
    #[arg(long, env = "TIDEGATE_LEASE_NAMESPACE")]
    pub lease_namespace: Option<String>,
    /// Lease duration: how long a standby waits before it takes over
    #[arg(long, env = "TIDEGATE_LEASE_DURATION", default_value = "15s")]
    pub lease_duration: Duration,
    /// Format of the log
    #[arg(long, env = "TIDEGATE_LOG_FORMAT", value_enum, default_value_t)]
    pub log_format: LogFormat,
}

/// Runs the controller until it is shut down.
pub async fn run(args: RunArgs) -> anyhow::Result<()> {
    telemetry::init(args.log_format)?;
    let settings = settings(args)?;
    let shutdown = CancellationToken::new();
    tokio::spawn(shut_down_at_signal(shutdown.clone())?);
    Ok(controller::run(settings, shutdown).await?)
}

fn settings(args: RunArgs) -> anyhow::Result<Settings> {
    let http = HttpSettings {
        ca_bundle: read(args.prometheus_ca_file.as_deref())?,
        ..HttpSettings::default()
    };
    let credentials = match args.prometheus_token_file {
        Some(file) => Credentials::bearer_file(file).context("--prometheus-token-file")?,
        None => Credentials::none(),
    };
    let clock = Arc::new(clock::now);
    let prometheus = Prometheus::new(
        http.client()?,
        args.prometheus_url.as_str(),
        credentials,
        clock,
    );
    Ok(Settings {
        namespace: args.namespace,
        cluster: args.cluster_name,
        prometheus: prometheus.context("--prometheus-url")?,
        metrics_hosts: args.metrics_hosts,
        git_hosts: args.git_hosts,
        secrets: if args.any_secret {
            SecretAccess::Any
        } else {
            SecretAccess::Labeled
        },
        metrics_namespace_label: args.metrics_enforce_namespace_label,
        scrape_interval: args.prometheus_scrape_interval.as_signed(),
        listen: args.listen,
        git: git_settings(|name| std::env::var(name).ok()),
        git_cache: args.git_cache,
        rendering: RenderSettings {
            kustomize: args.kustomize,
            helm: args.helm,
            ..RenderSettings::default()
        },
        git_limits: Limits {
            clone_bytes: args.git_max_repository,
            // A volume that is full has the pod evicted.
            cache_bytes: args.git_cache_size / 10 * 9,
            object_bytes: args.git_max_object,
        },
        nodes: args.max_nodes,
        notifications: NotifierSettings {
            operators: args.notification_dir.map(|directory| OperatorsDestination {
                directory,
                format: args.notification_format,
            }),
            hosts: args.notification_hosts,
        },
        lease: LeaseConfig {
            namespace: match args.lease_namespace {
                Some(namespace) => namespace,
                None => std::fs::read_to_string(POD_NAMESPACE).context(
                    "outside a pod, set --lease-namespace to the namespace of the Lease",
                )?,
            },
            lease: args.lease_name,
            duration: lease_duration(args.lease_duration)?,
            identity: identity(),
        },
    })
}

/// Returns the duration of the Lease, which Kubernetes keeps in whole seconds.
fn lease_duration(asked: Duration) -> anyhow::Result<std::time::Duration> {
    let duration = asked.as_std();
    anyhow::ensure!(
        duration >= SHORTEST_LEASE,
        "--lease-duration {asked} is too short: write at least {}s, for example 15s",
        SHORTEST_LEASE.as_secs()
    );
    Ok(duration)
}

/// Returns the settings of git, which has an environment of its own; the proxy is the one that every
/// other client here uses.
fn git_settings(variable: impl Fn(&str) -> Option<String>) -> TransportSettings {
    TransportSettings {
        proxy: either(["https_proxy", "HTTPS_PROXY"], &variable).map(Secret::new),
        no_proxy: either(["no_proxy", "NO_PROXY"], &variable),
        ..TransportSettings::default()
    }
}

/// Returns the first of two variables that is set, unless it is empty.
fn either(names: [&str; 2], variable: impl Fn(&str) -> Option<String>) -> Option<String> {
    let value = names.into_iter().find_map(variable);
    value.filter(|value| !value.is_empty())
}

/// Returns the name by which the Lease is held: of the pod and its uid, so that a container that is
/// restarted takes its own Lease back at once. Outside a pod no other process has the name.
fn identity() -> String {
    let host = std::env::var("HOSTNAME").unwrap_or_else(|_| "tidegate".to_owned());
    if let Ok(uid) = std::env::var("POD_UID") {
        return format!("{host}_{uid}");
    }
    format!(
        "{host}_{}_{}",
        std::process::id(),
        clock::now().as_microsecond()
    )
}

fn read(file: Option<&Path>) -> anyhow::Result<Option<Vec<u8>>> {
    file.map(|file| std::fs::read(file).with_context(|| format!("cannot read {}", file.display())))
        .transpose()
}

/// Shuts down at SIGTERM, as Kubernetes sends it, and at SIGINT, as a terminal does.
fn shut_down_at_signal(shutdown: CancellationToken) -> std::io::Result<impl Future<Output = ()>> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    Ok(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        tracing::info!("shutdown signal received");
        shutdown.cancel();
    })
}

/// Parses the cluster's name, which is a folder on the records branch.
fn cluster_name(text: &str) -> Result<String, String> {
    let starts_well = text.starts_with(|c: char| c.is_ascii_alphanumeric());
    if starts_well && text.len() <= 63 && text.chars().all(is_allowed) {
        Ok(text.to_owned())
    } else {
        Err(
            "write at most 63 letters, digits, `-`, `_` and `.`, beginning with a letter or digit"
                .to_owned(),
        )
    }
}

/// Parses a number of bytes as Kubernetes writes it: `512Mi`, `1.5Gi`, `2000000000`, `2e9`.
fn bytes(text: &str) -> Result<u64, String> {
    let error = || "write a number of bytes like 512Mi or 2Gi".to_owned();
    let end = text
        .find(|c: char| !c.is_ascii_digit() && c != '.')
        .unwrap_or(text.len());
    let (number, unit) = text.split_at(end);
    let unit: u64 = match unit {
        "" => 1,
        "k" => 1_000,
        "M" => 1_000_000,
        "G" => 1_000_000_000,
        "T" => 1_000_000_000_000,
        "Ki" => 1 << 10,
        "Mi" => 1 << 20,
        "Gi" => 1 << 30,
        "Ti" => 1 << 40,
        power => {
            let power = power.strip_prefix('e').ok_or_else(error)?;
            let power = power.parse().map_err(|_| error())?;
            10_u64.checked_pow(power).ok_or_else(error)?
        }
    };
    let (whole, fraction) = number.split_once('.').unwrap_or((number, "0"));
    let parts = 10_u64
        .checked_pow(u32::try_from(fraction.len()).map_err(|_| error())?)
        .ok_or_else(error)?;
    let whole: u64 = whole.parse().map_err(|_| error())?;
    let fraction: u64 = fraction.parse().map_err(|_| error())?;
    let fraction = fraction.checked_mul(unit).ok_or_else(error)? / parts;
    whole
        .checked_mul(unit)
        .and_then(|bytes| bytes.checked_add(fraction))
        .ok_or_else(error)
}

/// Parses a format of notifications, in the words of the API.
fn notification_format(text: &str) -> Result<NotificationFormat, String> {
    let mut formats = NotificationFormat::ALL.into_iter();
    formats
        .find(|format| format.as_str() == text)
        .ok_or_else(|| "write Json, Slack or Teams".to_owned())
}

/// Parses the name of a label of Prometheus.
fn label_name(text: &str) -> Result<String, String> {
    let starts_well = text.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_');
    if starts_well && text.chars().all(|c| c.is_ascii_alphanumeric() || c == '_') {
        Ok(text.to_owned())
    } else {
        Err("write the name of a label, like `namespace`".to_owned())
    }
}

fn is_allowed(c: char) -> bool {
    c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn git_uses_the_proxy_of_the_environment() {
        let set = |name: &str| match name {
            "HTTPS_PROXY" => Some("http://user:hunter2@proxy:3128".to_owned()),
            "no_proxy" => Some(".svc".to_owned()),
            _ => None,
        };
        let settings = git_settings(set);
        assert_eq!(
            settings.proxy.as_ref().map(Secret::expose),
            Some("http://user:hunter2@proxy:3128")
        );
        assert_eq!(settings.no_proxy.as_deref(), Some(".svc"));
        assert!(!format!("{settings:?}").contains("hunter2"));
        assert!(
            git_settings(|_| Some(String::new())).proxy.is_none(),
            "set to nothing, it is not set"
        );
    }

    #[test]
    fn a_label_name_adds_nothing_to_a_query() {
        assert_eq!(label_name("namespace").as_deref(), Ok("namespace"));
        for bad in ["", "1a", "a=b", "a-b", "__name__\""] {
            assert!(label_name(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn sizes_are_written_as_in_kubernetes() {
        assert_eq!(bytes("2Gi"), Ok(2 << 30));
        assert_eq!(bytes("1.5Gi"), Ok(3 << 29));
        assert_eq!(bytes("500M"), Ok(500_000_000));
        assert_eq!(bytes("4096"), Ok(4096));
        assert_eq!(bytes("2e+09"), Ok(2_000_000_000));
        for bad in ["", "Gi", "-1", "2GiB", "1.2.3", "9999999999999Ti"] {
            assert!(bytes(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_cluster_name_is_a_safe_folder() {
        for good in ["prod", "prod-eu-1", "eu.prod_2"] {
            assert_eq!(cluster_name(good).as_deref(), Ok(good));
        }
        for bad in ["", "..", "a/b", "-x", "ä", &"x".repeat(64)] {
            assert!(cluster_name(bad).is_err(), "{bad}");
        }
    }
}
