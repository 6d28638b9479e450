//! Notifications over real connections, to a receiver that answers as it is told.
#![expect(clippy::unwrap_used, reason = "a test may panic")]

mod credentials;
mod delivery;
mod destinations;
mod queues;
mod receiver;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde_json::{Value, json};
use tidegate_api::notification::{NotificationType, Severity, VERSION};

use self::receiver::Receiver;
use super::*;
use crate::kubernetes::testing::Script;

/// Far longer than anything here takes on a busy machine.
const LIMIT: Duration = Duration::from_secs(30);

/// A notifier, an API server with Secrets, and one that takes the events.
struct Bench {
    notifier: Notifier,
    script: Script,
    told: Script,
    counters: Counters,
}

/// Times that a test can wait for.
fn quick() -> Pace {
    Pace {
        first_wait: Duration::from_millis(5),
        longest_wait: Duration::from_millis(20),
        longest_asked: Duration::from_secs(2),
        longest_age: LIMIT,
        idle: LIMIT,
    }
}

fn bench(hosts: &[&str]) -> Bench {
    bench_at(quick(), hosts, None)
}

fn bench_at(pace: Pace, hosts: &[&str], operators: Option<OperatorsDestination>) -> Bench {
    // Another test may have been first.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let (script, told) = (Script::default(), Script::default());
    let counters = Counters::new();
    let shared = Shared {
        operators,
        hosts: AllowedHosts::new(hosts.iter().map(ToString::to_string)),
        secrets: SecretAccess::Labeled,
        client: script.client(),
        counters: counters.clone(),
        events: EventRecorder::start(told.client(), "test"),
        pace,
        queues: Mutex::default(),
        tasks: TaskTracker::new(),
        pending: AtomicUsize::new(0),
    };
    Bench {
        notifier: Notifier(Arc::new(shared)),
        script,
        told,
        counters,
    }
}

impl Bench {
    /// Creates the Secret `chat`, or replaces it.
    fn secret(&self, values: &[(&str, &str)]) {
        let data: serde_json::Map<_, _> = values
            .iter()
            .map(|(key, value)| ((*key).to_owned(), json!(STANDARD.encode(value))))
            .collect();
        let labels = json!({ "tidegate.io/use": "notifications" });
        let metadata = json!({ "name": "chat", "namespace": "shop", "labels": labels });
        let secret = json!({ "metadata": metadata, "data": data });
        self.script.put("secrets/chat", secret);
    }

    /// Tells of something.
    fn tell(&self, notification: &Notification) {
        let rollout = rollout(NotificationFormat::Json);
        self.notifier
            .send(&rollout, std::slice::from_ref(notification));
    }

    /// Notes of the events so far.
    fn notes(&self) -> Vec<String> {
        let events = self.told.list("events");
        let note = |event: &Value| event["message"].as_str().unwrap().to_owned();
        events.iter().map(note).collect()
    }

    async fn until_noted(&self, what: &str) -> String {
        let found = || self.notes().into_iter().find(|note| note.contains(what));
        until(what, found).await
    }

    /// Waits until this many have had a result.
    async fn until_counted(&self, result: NotificationResult, number: u32) {
        let line = format!("tidegate_notifications_total{{result=\"{result:?}\"}} {number}\n");
        let counted = || {
            self.counters
                .exposition(true, 0)
                .contains(&line)
                .then_some(())
        };
        until(&line, counted).await;
    }
}

/// Waits until something is there.
async fn until<T>(what: &str, found: impl Fn() -> Option<T>) -> T {
    let polled = async {
        loop {
            if let Some(found) = found() {
                return found;
            }
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    };
    let Ok(found) = tokio::time::timeout(LIMIT, polled).await else {
        panic!("not within {LIMIT:?}: {what}");
    };
    found
}

fn rollout(format: NotificationFormat) -> Rollout {
    serde_json::from_value(json!({
        "metadata": { "name": "checkout", "namespace": "shop", "uid": "r-1" },
        "spec": {
            "workload": { "kind": "Deployment", "name": "checkout" },
            "traffic": { "replicas": {} },
            "steps": [{ "weight": 10, "hold": "1m" }],
            "gates": [],
            "notifications": [{ "secretRef": { "name": "chat" }, "format": format }],
        },
    }))
    .unwrap()
}

/// The notification that a release has been rolled back, with this id.
pub(super) fn rolled_back(id: &str) -> Notification {
    Notification {
        version: VERSION,
        id: id.to_owned(),
        type_: NotificationType::Ended,
        severity: Severity::Warning,
        time: "2026-11-30T08:00:00Z".parse().unwrap(),
        cluster: "production".to_owned(),
        namespace: "shop".to_owned(),
        rollout: "checkout".to_owned(),
        attempt: Some(7),
        revision: Some(tidegate_api::Revision::named("4f2c9a1be07d")),
        commit: None,
        author: Some("Ada <ada@example.com>".to_owned()),
        outcome: Some(tidegate_api::record::Outcome::RolledBack),
        reason: Some("GateBreached".to_owned()),
        message: "attempt 7 for revision 4f2c9a1be0 ended: RolledBack: gate \"errors\" breached: 0.2 (max 0.05)"
            .to_owned(),
    }
}
