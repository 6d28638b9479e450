//! Pods of canaries, whatever the kind of their workload: which are left, and why they are not ready.
//!
//! Only they are watched. A cluster has many pods, and what a release needs to know of the others their
//! workloads and the endpoints tell.

mod retained;

use std::sync::Arc;

use futures::Stream;
use kube::{Resource, ResourceExt, api::ObjectMeta};
use serde::{Deserialize, Serialize};
use tidegate_api::{names, workload::WorkloadRef};
use tidegate_engine::readiness::{Fault, PodProblem};

use super::version_of;
use crate::kubernetes::{
    cache::{Cache, CacheWriter},
    watch::{self, WatchScope},
};

/// Longest part of a message that is passed on, in bytes.
const LONGEST: usize = 300;

/// Pods of canaries.
pub(super) struct CanaryPods(Cache<Pod>);

/// Pod.
#[derive(Resource, Clone, Debug, Serialize, Deserialize)]
#[resource(inherit = "k8s_openapi::api::core::v1::Pod")]
pub(crate) struct Pod {
    metadata: ObjectMeta,
    #[serde(default, skip_serializing)]
    status: PodStatus,
}

/// Status of a pod.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct PodStatus {
    phase: String,
    reason: Option<String>,
    message: Option<String>,
    conditions: Vec<PodCondition>,
    init_container_statuses: Vec<ContainerStatus>,
    container_statuses: Vec<ContainerStatus>,
}

/// Condition of a pod.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct PodCondition {
    #[serde(rename = "type")]
    type_: String,
    status: String,
    reason: Option<String>,
    message: Option<String>,
}

/// Status of a container.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct ContainerStatus {
    name: String,
    ready: bool,
    state: ContainerState,
    last_state: ContainerState,
}

/// State of a container: one of these, or unknown.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
struct ContainerState {
    waiting: Option<Waiting>,
    running: Option<Running>,
    terminated: Option<Terminated>,
}

/// Container that has not started.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
struct Waiting {
    reason: String,
    message: String,
}

/// Container that runs.
#[derive(Clone, Debug, Default, Deserialize)]
struct Running {}

/// Container that has ended.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Terminated {
    exit_code: i32,
    reason: String,
    message: String,
}

// === impl CanaryPods ===

impl CanaryPods {
    pub(super) fn new() -> (Self, CacheWriter<Pod>) {
        let (cache, writer) = Cache::new();
        (Self(cache), writer)
    }

    pub(super) fn is_filled(&self) -> bool {
        self.0.is_filled()
    }

    pub(super) fn filled(&self) -> impl Future<Output = ()> + Send + use<> {
        self.0.filled()
    }

    pub(super) fn relists(&self) -> impl Stream<Item = ()> + Send + use<> {
        self.0.relists()
    }

    /// Returns the number of a canary's pods that are not terminating.
    pub(super) fn count(&self, namespace: &str, canary: &WorkloadRef) -> u32 {
        let alive = self
            .of(namespace, canary)
            .filter(|pod| !pod.is_terminating());
        alive.count().try_into().unwrap_or(u32::MAX)
    }

    /// Returns the problem of a canary's pods: one that is the revision's fault, where there is one.
    pub(super) fn problem(&self, namespace: &str, canary: &WorkloadRef) -> Option<PodProblem> {
        self.of(namespace, canary)
            .filter_map(|pod| problem(&pod))
            .min_by_key(|problem| problem.fault)
    }

    fn of(&self, namespace: &str, canary: &WorkloadRef) -> impl Iterator<Item = Arc<Pod>> {
        let pods = self.0.list(namespace).into_iter();
        pods.filter(|pod| pod.has_label(names::TRACK_LABEL, names::TRACK_CANARY))
            .filter(|pod| version_of(canary, &pod.name_any()).is_some())
    }
}

// === impl Pod ===

impl Pod {
    fn has_label(&self, key: &str, value: &str) -> bool {
        self.labels().get(key).is_some_and(|found| found == value)
    }

    fn is_terminating(&self) -> bool {
        self.metadata.deletion_timestamp.is_some()
    }
}

/// Starts the watch. Each change is reported with the namespace and the name of the pod.
pub(super) fn watch(
    scope: &WatchScope,
    writer: CacheWriter<Pod>,
    on_change: impl Fn(&str, &str) + Send + 'static,
) {
    let canaries = WatchScope {
        labels: Some(format!(
            "{} in ({},{})",
            names::TRACK_LABEL,
            names::TRACK_CANARY,
            names::TRACK_RETAINED
        )),
        ..scope.clone()
    };
    watch::spawn(&canaries, writer, move |pod: &Pod| {
        on_change(&pod.namespace().unwrap_or_default(), &pod.name_any());
    });
}

/// Returns the cause for which a pod is not ready, as far as its status tells.
fn problem(pod: &Pod) -> Option<PodProblem> {
    let status = &pod.status;
    let is_ready = status.condition("Ready").is_some_and(PodCondition::holds);
    if pod.is_terminating() || is_ready {
        return None;
    }
    let (fault, cause) = status
        .ended()
        .or_else(|| status.unscheduled())
        .or_else(|| status.container())
        .or_else(|| status.gated())?;
    Some(PodProblem {
        fault,
        message: format!("pod {}: {cause}", pod.name_any()),
    })
}

// === impl PodStatus ===

impl PodStatus {
    fn condition(&self, type_: &str) -> Option<&PodCondition> {
        self.conditions.iter().find(|one| one.type_ == type_)
    }

    /// The pod was evicted, or its node is gone.
    fn ended(&self) -> Option<(Fault, String)> {
        let reason = self.reason.as_deref()?;
        if self.phase != "Failed" {
            return None;
        }
        let message = self.message.as_deref().unwrap_or_default();
        Some((Fault::Surroundings, joined(reason, message)))
    }

    /// No node takes the pod.
    fn unscheduled(&self) -> Option<(Fault, String)> {
        let scheduled = self.condition("PodScheduled")?;
        if scheduled.status != "False" {
            return None;
        }
        let reason = scheduled.reason.as_deref().unwrap_or("Unschedulable");
        let message = scheduled.message.as_deref().unwrap_or_default();
        Some((Fault::Surroundings, joined(reason, message)))
    }

    /// A container does not run, or is not ready.
    fn container(&self) -> Option<(Fault, String)> {
        let init = self.init_container_statuses.iter();
        let problems = init
            .filter_map(|init| init.not_started().or_else(|| init.failed()))
            .chain(
                self.container_statuses
                    .iter()
                    .filter(|container| !container.ready)
                    .filter_map(ContainerStatus::problem),
            );
        problems.min_by_key(|(fault, _)| *fault)
    }

    /// Every container is ready, but a readiness gate is not.
    fn gated(&self) -> Option<(Fault, String)> {
        let ready = self.condition("Ready")?;
        if ready.reason.as_deref() != Some("ReadinessGatesNotReady") {
            return None;
        }
        let message = ready.message.as_deref().unwrap_or_default();
        Some((
            Fault::Surroundings,
            joined("ReadinessGatesNotReady", message),
        ))
    }
}

// === impl PodCondition ===

impl PodCondition {
    fn holds(&self) -> bool {
        self.status == "True"
    }
}

// === impl ContainerStatus ===

impl ContainerStatus {
    fn problem(&self) -> Option<(Fault, String)> {
        self.not_started()
            .or_else(|| self.failed())
            .or_else(|| self.not_ready())
    }

    /// The container waits to be started, and not as every container does at first.
    fn not_started(&self) -> Option<(Fault, String)> {
        let waiting = self.state.waiting.as_ref()?;
        let fault = match waiting.reason.as_str() {
            "" | "ContainerCreating" | "PodInitializing" => return None,
            // Its own message tells of the pause before the next try alone.
            "CrashLoopBackOff" => {
                let ended = self.last_state.terminated.as_ref();
                let cause = ended.map_or_else(String::new, Terminated::cause);
                return Some((Fault::Revision, self.named(&waiting.reason, &cause)));
            }
            "ErrImagePull" | "ImagePullBackOff" => pull_fault(&waiting.message),
            "InvalidImageName" | "ErrImageNeverPull" | "CreateContainerConfigError" => {
                Fault::Revision
            }
            _ => Fault::Unknown,
        };
        Some((fault, self.named(&waiting.reason, &waiting.message)))
    }

    /// The container has ended with an error, now or before it was restarted.
    fn failed(&self) -> Option<(Fault, String)> {
        let now = self.state.terminated.as_ref();
        let before = self.last_state.terminated.as_ref();
        let ended = now.or(before).filter(|ended| ended.exit_code != 0)?;
        Some((Fault::Revision, self.named("restarted", &ended.cause())))
    }

    /// The container runs, and its probe has not succeeded.
    fn not_ready(&self) -> Option<(Fault, String)> {
        self.state.running.as_ref()?;
        let words = format!(
            "container {} runs and is not ready: its readiness probe does not succeed",
            self.name
        );
        Some((Fault::Revision, words))
    }

    fn named(&self, reason: &str, message: &str) -> String {
        format!("container {}: {}", self.name, joined(reason, message))
    }
}

// === impl Terminated ===

impl Terminated {
    fn cause(&self) -> String {
        let reason = if self.reason.is_empty() {
            "ended"
        } else {
            &self.reason
        };
        joined(
            &format!("{reason}, exit code {}", self.exit_code),
            &self.message,
        )
    }
}

/// Returns the origin of a failed pull, by the words of the registry.
fn pull_fault(message: &str) -> Fault {
    const GONE: [&str; 4] = [
        "manifest unknown",
        "not found",
        "name unknown",
        "invalid reference format",
    ];
    const AWAY: [&str; 10] = [
        "timeout",
        "timed out",
        "deadline exceeded",
        "connection refused",
        "connection reset",
        "no such host",
        "too many requests",
        "toomanyrequests",
        "unexpected status from",
        "eof",
    ];
    let lower = message.to_lowercase();
    if contains_any(&lower, &AWAY) && !lower.contains("404") {
        Fault::Surroundings
    } else if contains_any(&lower, &GONE) {
        Fault::Revision
    } else {
        Fault::Unknown
    }
}

fn contains_any(text: &str, words: &[&str]) -> bool {
    words.iter().any(|word| text.contains(word))
}

/// Joins a reason and its message, on one line and cut.
fn joined(reason: &str, message: &str) -> String {
    let message = message.split_whitespace().collect::<Vec<_>>().join(" ");
    if message.is_empty() {
        return reason.to_owned();
    }
    let end = message.floor_char_boundary(LONGEST);
    match message.get(..end) {
        Some(cut) if end < message.len() => format!("{reason}: {cut}…"),
        Some(_) | None => format!("{reason}: {message}"),
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a test may panic")]
    use serde_json::{Value, json};

    use super::*;

    fn told(status: &Value) -> Option<(Fault, String)> {
        let pod: Pod = serde_json::from_value(json!({
            "metadata": { "name": "web-canary-1-a" }, "status": status,
        }))
        .unwrap();
        problem(&pod).map(|problem| (problem.fault, problem.message))
    }

    fn waiting(reason: &str, message: &str) -> Option<(Fault, String)> {
        told(&json!({ "containerStatuses": [{
            "name": "app", "ready": false,
            "state": { "waiting": { "reason": reason, "message": message } },
            "lastState": { "terminated": { "exitCode": 137, "reason": "OOMKilled" } },
        }] }))
    }

    #[test]
    fn a_pod_that_starts_or_is_ready_has_no_problem() {
        let starting = json!({ "containerStatuses": [
            { "name": "app", "ready": false, "state": { "waiting": { "reason": "ContainerCreating" } } },
        ] });
        assert_eq!(told(&starting), None);
        assert_eq!(told(&json!({ "phase": "Pending" })), None);
        let ready = json!({ "conditions": [{ "type": "Ready", "status": "True" }] });
        assert_eq!(told(&ready), None);
    }

    #[test]
    fn a_crash_is_told_with_its_last_end_and_is_the_revisions_fault() {
        let expected =
            "pod web-canary-1-a: container app: CrashLoopBackOff: OOMKilled, exit code 137";
        let crash = waiting(
            "CrashLoopBackOff",
            "back-off 40s restarting failed container",
        );
        assert_eq!(crash, Some((Fault::Revision, expected.to_owned())));
    }

    #[test]
    fn a_pull_fails_by_the_words_of_the_registry() {
        let fault = |message| waiting("ErrImagePull", message).unwrap().0;
        for gone in [
            "rpc error: code = NotFound desc = failed to pull and unpack image \"web:9\": not found",
            "Error response from daemon: manifest for web:9 not found: manifest unknown",
        ] {
            assert_eq!(fault(gone), Fault::Revision, "{gone}");
        }
        for away in [
            "failed to do request: Head \"https://r.example.com\": dial tcp: i/o timeout",
            "unexpected status from HEAD request to https://r.example.com: 503 Service Unavailable",
            "lookup r.example.com: no such host",
        ] {
            assert_eq!(fault(away), Fault::Surroundings, "{away}");
        }
        assert_eq!(fault("pull access denied"), Fault::Unknown);
    }

    #[test]
    fn a_pod_without_a_node_is_the_surroundings_fault() {
        let status = json!({ "conditions": [{
            "type": "PodScheduled", "status": "False", "reason": "Unschedulable",
            "message": "0/3 nodes are available:\n 3 Insufficient cpu.",
        }] });
        let expected =
            "pod web-canary-1-a: Unschedulable: 0/3 nodes are available: 3 Insufficient cpu.";
        assert_eq!(
            told(&status),
            Some((Fault::Surroundings, expected.to_owned()))
        );
    }

    #[test]
    fn a_container_that_runs_without_being_ready_fails_its_probe() {
        let status = json!({ "containerStatuses": [
            { "name": "sidecar", "ready": true, "state": { "running": {} } },
            { "name": "app", "ready": false, "state": { "running": { "startedAt": "2026-01-01T00:00:00Z" } } },
        ] });
        let (fault, message) = told(&status).unwrap();
        assert_eq!(fault, Fault::Revision);
        assert!(
            message.contains("container app runs and is not ready"),
            "{message}"
        );
    }

    #[test]
    fn long_words_are_cut_at_a_character() {
        let cut = joined("Reason", &"ä".repeat(400));
        assert!(cut.len() < 320 && cut.ends_with('…'), "{cut}");
    }
}
