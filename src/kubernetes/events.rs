//! Events: what people see in `kubectl describe` and `kubectl get events`.
//!
//! Each event keeps its own note. kube-runtime's recorder merges events of one reason and drops the
//! later notes, so that a release would show its first step and never its end; here only an event
//! that repeats word for word joins the one before it. They are written as core/v1: `kubectl
//! describe` sorts by `lastTimestamp`, which events.k8s.io/v1 does not let a client set.
//!
//! Publishing is in the background and never in the way of traffic. What cannot be published stands
//! in the log.

use std::{collections::HashMap, time::Duration};

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::{
    api::core::v1::{Event as CoreEvent, EventSource, ObjectReference},
    apimachinery::pkg::apis::meta::v1::{MicroTime, Time},
};
use kube::{
    Api, Client,
    api::{ObjectMeta, Patch, PatchParams, PostParams},
};
use serde_json::json;
use tidegate_api::names;
use tokio::sync::mpsc;

use crate::clock;

/// Name under which Tidegate reports.
const COMPONENT: &str = "tidegate";

/// Number of events that may wait. More than a reconcile ever emits.
const QUEUE: usize = 256;

/// Longest note in bytes. The API server's own limit is 1,024.
const LONGEST_NOTE: usize = 1_000;

/// Longest time between two events of a series. Also the time for which an object is remembered.
const SERIES_WINDOW: SignedDuration = SignedDuration::from_mins(10);

/// Number of events that an object may emit at once: a release of fifty steps, and then some.
const BURST: u32 = 64;

/// Interval at which an object may emit one more. Whatever flaps fills no etcd.
const REFILL: SignedDuration = SignedDuration::from_secs(5);

/// Number of attempts to publish one event, a second apart and then two.
const ATTEMPTS: u32 = 3;

/// Longest identity of a process in an event.
const LONGEST_INSTANCE: usize = 128;

/// Longest part of an object's name in the name of its event.
const LONGEST_NAME: usize = 220;

/// Publishes events in the background. A clone publishes through the same queue.
#[derive(Clone)]
pub(crate) struct EventRecorder {
    queue: mpsc::Sender<Occurrence>,
}

/// Event before it is published.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Event {
    pub(crate) severity: Severity,
    /// Reason, in one CamelCase word.
    pub(crate) reason: String,
    /// Action that was taken or has failed, in one CamelCase word.
    pub(crate) action: &'static str,
    /// Sentence for people; cut where it is too long.
    pub(crate) note: String,
    /// Second object that the event is about.
    pub(crate) related: Option<ObjectReference>,
}

/// Severity of an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Severity {
    /// Everything goes as it should.
    Normal,
    /// Somebody should look.
    Warning,
}

/// Event that has happened.
struct Occurrence {
    regarding: ObjectReference,
    event: Event,
    at: Timestamp,
}

/// Works the queue off.
struct Publisher {
    client: Client,
    instance: String,
    sources: HashMap<Source, Emitted>,
    /// Time in the name of the last event, in nanoseconds: no two events have the same.
    last_name: i128,
}

/// Object that events are about.
#[derive(Clone, PartialEq, Eq, Hash)]
struct Source {
    kind: String,
    namespace: String,
    name: String,
}

/// Events of one object so far.
struct Emitted {
    tokens: u32,
    refilled_at: Timestamp,
    series: Vec<Series>,
}

/// Event that may repeat.
struct Series {
    event: Event,
    name: String,
    count: i32,
    last: Timestamp,
}

/// Cuts a note that is too long, between two words.
fn shortened(note: &str) -> String {
    if note.len() <= LONGEST_NOTE {
        return note.to_owned();
    }
    let cut = &note[..note.floor_char_boundary(LONGEST_NOTE - '…'.len_utf8())];
    let words = match cut.rsplit_once(char::is_whitespace) {
        Some((words, _)) if words.len() > LONGEST_NOTE / 2 => words,
        _ => cut,
    };
    format!("{}…", words.trim_end_matches([' ', ',', ';', ':']))
}

// === impl EventRecorder ===

impl EventRecorder {
    /// Starts the background task. `instance` is the identity of this process.
    pub(crate) fn start(client: Client, instance: &str) -> Self {
        let (queue, mut waiting) = mpsc::channel(QUEUE);
        let mut publisher = Publisher::new(client, instance);
        tokio::spawn(async move {
            while let Some(occurrence) = waiting.recv().await {
                publisher.publish(&occurrence).await;
            }
        });
        Self { queue }
    }

    /// Publishes an event about an object. Never waits.
    pub(crate) fn publish(&self, regarding: ObjectReference, event: Event) {
        let event = Event {
            note: shortened(&event.note),
            ..event
        };
        let occurrence = Occurrence {
            regarding,
            event,
            at: clock::now(),
        };
        if let Err(error) = self.queue.try_send(occurrence) {
            let lost = error.into_inner();
            tracing::warn!(
                name = lost.regarding.name,
                namespace = lost.regarding.namespace,
                reason = lost.event.reason,
                note = lost.event.note,
                "event queue full, dropping event"
            );
        }
    }
}

// === impl Publisher ===

impl Publisher {
    fn new(client: Client, instance: &str) -> Self {
        let end = instance.floor_char_boundary(LONGEST_INSTANCE);
        Self {
            client,
            instance: instance[..end].to_owned(),
            sources: HashMap::new(),
            last_name: 0,
        }
    }

    async fn publish(&mut self, occurrence: &Occurrence) {
        let Occurrence {
            regarding,
            event,
            at,
        } = occurrence;
        self.sources.retain(|_, emitted| !emitted.is_forgotten(*at));
        let source = Source::of(regarding);
        let emitted = self
            .sources
            .entry(source.clone())
            .or_insert_with(|| Emitted::new(*at));
        if !emitted.take_token(*at) {
            tracing::warn!(
                kind = source.kind,
                namespace = source.namespace,
                name = source.name,
                reason = event.reason,
                note = event.note,
                "event rate exceeded, dropping event"
            );
            return;
        }
        for attempt in 1..=ATTEMPTS {
            match self.write(&source, occurrence).await {
                Ok(()) => return,
                Err(error) if attempt == ATTEMPTS || !is_transient(&error) => {
                    tracing::warn!(
                        kind = source.kind,
                        namespace = source.namespace,
                        name = source.name,
                        reason = event.reason,
                        note = event.note,
                        %error,
                        "cannot publish event"
                    );
                    return;
                }
                Err(_) => tokio::time::sleep(Duration::from_secs(attempt.into())).await,
            }
        }
    }

    /// Writes an event, or counts one more of its series.
    async fn write(&mut self, source: &Source, occurrence: &Occurrence) -> Result<(), kube::Error> {
        let Occurrence { event, at, .. } = occurrence;
        let api: Api<CoreEvent> = Api::namespaced(self.client.clone(), &source.namespace);
        let emitted = self.sources.get_mut(source);
        let series = emitted.and_then(|emitted| emitted.series_of(event, *at));
        if let Some(series) = series {
            let count = series.count + 1;
            let patch = json!({
                "count": count,
                "lastTimestamp": Time(*at),
                "series": { "count": count, "lastObservedTime": MicroTime(*at) },
            });
            let params = PatchParams::apply(names::FIELD_MANAGER);
            match api.patch(&series.name, &params, &Patch::Merge(patch)).await {
                Ok(_) => {
                    (series.count, series.last) = (count, *at);
                    return Ok(());
                }
                // The API server keeps events for an hour.
                Err(kube::Error::Api(status)) if status.code == 404 => {}
                Err(error) => return Err(error),
            }
        }
        let name = self.unique_name(source, *at);
        let created = self.event(name.clone(), source, occurrence);
        api.create(&PostParams::default(), &created).await?;
        if let Some(emitted) = self.sources.get_mut(source) {
            emitted.series.retain(|series| series.event != *event);
            emitted.series.push(Series {
                event: event.clone(),
                name,
                count: 1,
                last: *at,
            });
        }
        Ok(())
    }

    fn event(&self, name: String, source: &Source, occurrence: &Occurrence) -> CoreEvent {
        let Occurrence {
            regarding,
            event,
            at,
        } = occurrence;
        let kind = match event.severity {
            Severity::Normal => "Normal",
            Severity::Warning => "Warning",
        };
        CoreEvent {
            metadata: ObjectMeta {
                name: Some(name),
                namespace: Some(source.namespace.clone()),
                ..ObjectMeta::default()
            },
            type_: Some(kind.to_owned()),
            reason: Some(event.reason.clone()),
            message: Some(event.note.clone()),
            action: Some(event.action.to_owned()),
            involved_object: regarding.clone(),
            related: event.related.clone(),
            event_time: Some(MicroTime(*at)),
            first_timestamp: Some(Time(*at)),
            last_timestamp: Some(Time(*at)),
            count: Some(1),
            source: Some(EventSource {
                component: Some(COMPONENT.to_owned()),
                host: None,
            }),
            reporting_component: Some(COMPONENT.to_owned()),
            reporting_instance: Some(self.instance.clone()),
            series: None,
        }
    }

    /// Name that no other event has. Names of one object sort by time, as the API server lists them.
    fn unique_name(&mut self, source: &Source, at: Timestamp) -> String {
        self.last_name = at.as_nanosecond().max(self.last_name + 1);
        let end = source.name.floor_char_boundary(LONGEST_NAME);
        format!("{}.{:x}", &source.name[..end], self.last_name)
    }
}

/// Returns true if the same request may succeed in a moment.
fn is_transient(error: &kube::Error) -> bool {
    match error {
        kube::Error::Api(status) => status.code == 429 || status.code >= 500,
        _ => true,
    }
}

// === impl Source ===

impl Source {
    fn of(regarding: &ObjectReference) -> Self {
        Self {
            kind: regarding.kind.clone().unwrap_or_default(),
            namespace: regarding.namespace.clone().unwrap_or_default(),
            name: regarding.name.clone().unwrap_or_default(),
        }
    }
}

// === impl Emitted ===

impl Emitted {
    fn new(now: Timestamp) -> Self {
        Self {
            tokens: BURST,
            refilled_at: now,
            series: Vec::new(),
        }
    }

    /// Takes a token out of the bucket, and returns false if there is none.
    fn take_token(&mut self, now: Timestamp) -> bool {
        while self.tokens < BURST && now.duration_since(self.refilled_at) >= REFILL {
            self.tokens += 1;
            self.refilled_at += REFILL;
        }
        if self.tokens == BURST {
            self.refilled_at = now;
        }
        if self.tokens == 0 {
            return false;
        }
        self.tokens -= 1;
        true
    }

    /// The series that an event continues.
    fn series_of(&mut self, event: &Event, now: Timestamp) -> Option<&mut Series> {
        self.series
            .retain(|series| now.duration_since(series.last) <= SERIES_WINDOW);
        self.series.iter_mut().find(|series| series.event == *event)
    }

    /// Returns true once the bucket is full again and every series has ended.
    fn is_forgotten(&self, now: Timestamp) -> bool {
        now.duration_since(self.refilled_at) > SERIES_WINDOW
            && self
                .series
                .iter()
                .all(|series| now.duration_since(series.last) > SERIES_WINDOW)
    }
}

#[cfg(test)]
mod tests;
