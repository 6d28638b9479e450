//! The life of one pod on the node: started, probed, restarted, reported, ended.

use std::{net::IpAddr, sync::Arc, time::Duration};

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Container, Pod};
use kube::{
    Api, Client, ResourceExt as _,
    api::{DeleteParams, Patch, PatchParams, Preconditions},
};
use serde_json::Value;
use tokio::{
    sync::watch,
    time::{Instant, timeout, timeout_at},
};

use super::{
    NodeAgentSpec, Wanted,
    config::ConfigReader,
    container::RunningContainer,
    probe::{self, Finding, Readiness},
    status::{self, Transitions},
};

/// Timeout of a call of the API, which is tried again.
const API_TIMEOUT: Duration = Duration::from_secs(5);
/// Wait before a call is tried again.
const API_RETRY: Duration = Duration::from_millis(200);
/// Wait before config that is missing is looked for again.
const CONFIG_RETRY: Duration = Duration::from_secs(1);
/// A pod that gets ready within this time is reported once, not twice.
const FIRST_REPORT: Duration = Duration::from_millis(300);
/// Kubernetes' default grace period, in seconds.
const GRACE: i64 = 30;
/// A container that dies again and again is restarted no faster than this.
const LONGEST_BACKOFF: Duration = Duration::from_secs(5);

pub(super) struct PodTask {
    client: Client,
    spec: Arc<NodeAgentSpec>,
    probes: reqwest::Client,
    address: IpAddr,
    wanted: watch::Receiver<Wanted>,
    pod: Arc<Pod>,
    containers: Vec<Supervised>,
    transitions: Transitions,
    begun: Instant,
    /// The status as the API server has taken it.
    reported: Option<Value>,
}

/// A container, and what its probes and its ends have come to.
struct Supervised {
    running: RunningContainer,
    readiness: Readiness,
    restart_at: Option<Instant>,
}

// === impl PodTask ===

impl PodTask {
    pub(super) fn new(
        client: Client,
        spec: Arc<NodeAgentSpec>,
        probes: reqwest::Client,
        address: IpAddr,
        mut wanted: watch::Receiver<Wanted>,
    ) -> Self {
        let pod = match &*wanted.borrow_and_update() {
            Wanted::Pod(pod) => pod.clone(),
            Wanted::Gone => Arc::default(),
        };
        Self {
            client,
            spec,
            probes,
            address,
            wanted,
            pod,
            containers: Vec::new(),
            transitions: Transitions::new(Timestamp::now()),
            begun: Instant::now(),
            reported: None,
        }
    }

    /// Runs the pod until it is gone from the API server, and its processes are gone too.
    pub(super) async fn run(mut self) {
        if self.pod.metadata.deletion_timestamp.is_none() {
            let Some(containers) = self.with_config().await else {
                return;
            };
            self.start(containers);
            if self.supervise().await == Ending::AtOnce {
                return self.kill().await;
            }
            self.end_in_order().await;
        }
        self.delete().await;
    }

    /// Returns the pod's containers once all config that they name is there; `None` if the pod is gone before.
    async fn with_config(&mut self) -> Option<Vec<Container>> {
        let namespace = self.pod.namespace().unwrap_or_default();
        let client = self.client.clone();
        let reader = ConfigReader {
            client: &client,
            namespace: &namespace,
        };
        let spec = self.pod.spec.clone().unwrap_or_default();
        let mut resolved = Vec::new();
        for container in spec.containers {
            loop {
                match reader.resolve(container.clone()).await {
                    Ok(container) => {
                        resolved.push(container);
                        break;
                    }
                    Err(error) => {
                        tracing::warn!(pod = self.pod.name_any(), %error, "CreateContainerConfigError");
                        if timeout(CONFIG_RETRY, self.gone()).await.is_ok() {
                            return None;
                        }
                    }
                }
            }
        }
        Some(resolved)
    }

    fn start(&mut self, containers: Vec<Container>) {
        for container in containers {
            let mut supervised = Supervised {
                running: RunningContainer::new(container),
                readiness: Readiness::default(),
                restart_at: None,
            };
            self.start_one(&mut supervised);
            self.containers.push(supervised);
        }
    }

    fn start_one(&self, supervised: &mut Supervised) {
        supervised.restart_at = None;
        let (program, logs) = (&self.spec.program, &self.spec.log_dir);
        let started = supervised
            .running
            .start(&self.pod, self.address, program, logs);
        if let Err(error) = started {
            tracing::error!(%error, "a container cannot be started");
            supervised.restart_at = Some(Instant::now() + LONGEST_BACKOFF);
        }
    }

    /// Probes, restarts and reports, until the pod is to end.
    async fn supervise(&mut self) -> Ending {
        loop {
            let pause = self.pause();
            tokio::select! {
                biased;
                changed = self.wanted.changed() => {
                    if let Some(ending) = self.look_at_wanted(changed.is_err()) {
                        return ending;
                    }
                    continue;
                }
                findings = probe_all(&self.probes, self.address, &self.containers, pause) => {
                    self.take(&findings);
                }
            }
            self.restart_dead();
            if self.transitions.ready || self.begun.elapsed() > FIRST_REPORT {
                let _ = self.report().await;
            }
        }
    }

    fn pause(&self) -> Duration {
        if !self.transitions.ready && self.begun.elapsed() < probe::FIRST_TIME {
            probe::FIRST_INTERVAL
        } else {
            probe::INTERVAL
        }
    }

    fn look_at_wanted(&mut self, agent_is_gone: bool) -> Option<Ending> {
        if agent_is_gone {
            return Some(Ending::AtOnce);
        }
        let wanted = self.wanted.borrow_and_update().clone();
        match wanted {
            Wanted::Gone => Some(Ending::AtOnce),
            Wanted::Pod(pod) => {
                self.pod = pod;
                let ends = self.pod.metadata.deletion_timestamp.is_some();
                ends.then_some(Ending::InOrder)
            }
        }
    }

    fn take(&mut self, findings: &[Option<Finding>]) {
        for (supervised, finding) in self.containers.iter_mut().zip(findings) {
            if let Some(finding) = finding {
                supervised.running.ready = supervised.readiness.take(*finding);
            }
        }
        self.set_ready(self.containers.iter().all(|c| c.running.ready));
    }

    fn set_ready(&mut self, ready: bool) {
        self.transitions.set_ready(ready, Timestamp::now());
    }

    fn restart_dead(&mut self) {
        let mut containers = std::mem::take(&mut self.containers);
        for supervised in &mut containers {
            supervised.bury();
            if supervised.restart_at.is_some_and(|at| at <= Instant::now()) {
                self.start_one(supervised);
            }
        }
        self.set_ready(containers.iter().all(|c| c.running.ready));
        self.containers = containers;
    }

    /// Reports the status if it is not what was reported last. Whatever fails is tried again with
    /// the next probe.
    async fn report(&mut self) -> Result<(), kube::Error> {
        let containers: Vec<_> = self.containers.iter().map(|c| &c.running).collect();
        let patch = status::patch(
            &self.pod,
            &self.spec,
            self.address,
            &containers,
            &self.transitions,
        );
        if self.reported.as_ref() == Some(&patch) {
            return Ok(());
        }
        let (api, name) = (self.api(), self.pod.name_any());
        let params = PatchParams::default();
        let body = Patch::Strategic(&patch);
        let sent = api.patch_status(&name, &params, &body);
        match timeout(API_TIMEOUT, sent).await {
            Ok(Ok(_)) => self.reported = Some(patch),
            Ok(Err(kube::Error::Api(status))) if status.is_not_found() => {}
            Ok(Err(error)) => {
                tracing::warn!(pod = name, %error, "a status cannot be reported");
                return Err(error);
            }
            Err(_) => tracing::warn!(pod = name, "a status takes too long to report"),
        }
        Ok(())
    }

    /// Ends the pod as a kubelet does: report it unready, send SIGTERM, wait, and kill it at the deadline.
    async fn end_in_order(&mut self) {
        let grace = self
            .pod
            .metadata
            .deletion_grace_period_seconds
            .unwrap_or(GRACE);
        let grace = Duration::from_secs(u64::try_from(grace).unwrap_or_default());
        let deadline = Instant::now() + grace;
        let pre_stop = self.pre_stop_sleep();
        if !pre_stop.is_zero() {
            // The processes serve on meanwhile; a pod that is gone early ends early.
            let _ = timeout(pre_stop.min(grace), self.gone()).await;
        }
        for supervised in &mut self.containers {
            if let Some(process) = &mut supervised.running.process {
                let _ = process.terminate();
            }
            supervised.running.ready = false;
        }
        self.set_ready(false);
        let _ = self.report().await;
        let _ = timeout_at(deadline, self.processes_ended_or_gone()).await;
        self.kill().await;
    }

    fn pre_stop_sleep(&self) -> Duration {
        let seconds = self.containers.iter().filter_map(|supervised| {
            let hooks = supervised.running.container.lifecycle.as_ref()?;
            Some(hooks.pre_stop.as_ref()?.sleep.as_ref()?.seconds)
        });
        let longest = seconds.max().unwrap_or_default();
        Duration::from_secs(u64::try_from(longest).unwrap_or_default())
    }

    async fn processes_ended_or_gone(&mut self) {
        let mut wanted = self.wanted.clone();
        let gone = until_gone(&mut wanted);
        let ended = async {
            for supervised in &mut self.containers {
                if let Some(process) = &mut supervised.running.process {
                    let _ = process.wait().await;
                }
            }
        };
        tokio::select! { () = gone => {}, () = ended => {} }
    }

    async fn gone(&mut self) {
        until_gone(&mut self.wanted).await;
    }

    async fn kill(&mut self) {
        for supervised in &mut self.containers {
            if let Some(mut process) = supervised.running.process.take() {
                let _ = process.kill().await;
            }
        }
    }

    /// Deletes the pod from the API server, until it is gone from there.
    async fn delete(&mut self) {
        let (api, name) = (self.api(), self.pod.name_any());
        let params = DeleteParams {
            preconditions: Some(Preconditions {
                uid: self.pod.uid(),
                resource_version: None,
            }),
            ..DeleteParams::default().grace_period(0)
        };
        loop {
            match timeout(API_TIMEOUT, api.delete(&name, &params)).await {
                Ok(Ok(_)) => return,
                // Gone, or another pod has the name by now.
                Ok(Err(kube::Error::Api(status)))
                    if status.is_not_found() || status.is_conflict() =>
                {
                    return;
                }
                Ok(Err(error)) => tracing::warn!(pod = name, %error, "a pod cannot be deleted"),
                Err(_) => tracing::warn!(pod = name, "a pod takes too long to delete"),
            }
            if timeout(API_RETRY, self.gone()).await.is_ok() {
                return;
            }
        }
    }

    fn api(&self) -> Api<Pod> {
        Api::namespaced(
            self.client.clone(),
            &self.pod.namespace().unwrap_or_default(),
        )
    }
}

/// Way in which a pod ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ending {
    /// It was asked to.
    InOrder,
    /// It is gone already, or the agent is.
    AtOnce,
}

async fn until_gone(wanted: &mut watch::Receiver<Wanted>) {
    // An agent that is gone has no pods.
    let _ = wanted
        .wait_for(|wanted| matches!(wanted, Wanted::Gone))
        .await;
}

/// Asks every container that can be asked, after a pause.
async fn probe_all(
    client: &reqwest::Client,
    address: IpAddr,
    containers: &[Supervised],
    pause: Duration,
) -> Vec<Option<Finding>> {
    tokio::time::sleep(pause).await;
    let probes = containers.iter().map(|supervised| async {
        match supervised.running.readiness_url(address) {
            Some(url) => Some(probe::ask(client, &url).await),
            None => None,
        }
    });
    futures::future::join_all(probes).await
}

// === impl Supervised ===

impl Supervised {
    /// Notes that the process is dead, if it is, and when it lives again.
    fn bury(&mut self) {
        let Some(process) = &mut self.running.process else {
            return;
        };
        if let Ok(None) = process.exit_status() {
            return;
        }
        tracing::info!(
            container = process.name(),
            "a container died and is restarted"
        );
        self.running.process = None;
        self.running.ready = false;
        self.readiness = Readiness::default();
        let deaths = u32::try_from(self.running.restarts).unwrap_or_default();
        self.running.restarts += 1;
        let backoff = (API_RETRY * deaths).min(LONGEST_BACKOFF);
        self.restart_at = Some(Instant::now() + backoff);
    }
}
