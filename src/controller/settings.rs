//! Settings of the program, as its command line gives them.

use std::{net::SocketAddr, path::PathBuf};

use jiff::SignedDuration;
use tidegate_git::{Limits, TransportSettings};
use tidegate_metrics::prometheus::Prometheus;
use tidegate_render::RenderSettings;

use crate::{
    kubernetes::leadership::LeaseConfig, notifications::NotifierSettings, repository::SecretAccess,
};

/// Settings of the program.
pub(crate) struct Settings {
    /// Namespace, or all.
    pub(crate) namespace: Option<String>,
    /// Name of the cluster in records.
    pub(crate) cluster: String,
    /// Prometheus at which gates are read.
    pub(crate) prometheus: Prometheus,
    /// Hosts at which Rollouts may have gates read instead.
    pub(crate) metrics_hosts: Vec<String>,
    /// Hosts of repositories; any if there are none.
    pub(crate) git_hosts: Vec<String>,
    /// Secrets that ConfigRepos and Rollouts may name.
    pub(crate) secrets: SecretAccess,
    /// Label that holds each query to the namespace of its Rollout.
    pub(crate) metrics_namespace_label: Option<String>,
    /// Interval at which Prometheus scrapes workloads.
    pub(crate) scrape_interval: SignedDuration,
    /// Address of health checks and metrics.
    pub(crate) listen: SocketAddr,
    /// Settings of the git program.
    pub(crate) git: TransportSettings,
    /// Directory in which repositories are kept between fetches.
    pub(crate) git_cache: PathBuf,
    /// Programs that render overlays and charts.
    pub(crate) rendering: RenderSettings,
    /// Limits of repositories.
    pub(crate) git_limits: Limits,
    /// Nodes of YAML that are kept in memory, of all ConfigRepos.
    pub(crate) nodes: usize,
    /// Destinations that are told of releases.
    pub(crate) notifications: NotifierSettings,
    /// Lease by which one of several replicas leads.
    pub(crate) lease: LeaseConfig,
}
