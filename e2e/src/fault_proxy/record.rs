//! The log of every request that went through the proxy, and which of them are writes.

use std::{
    collections::BTreeMap,
    fmt,
    sync::{Arc, Mutex, MutexGuard},
    time::Duration,
};

use bytes::Bytes;
use http::{HeaderMap, Method, StatusCode, header, request};
use jiff::Timestamp;
use tokio::sync::watch;

use super::WriteInHand;

/// More requests than this are not kept (the oldest are): a day of a busy controller.
const REQUESTS: usize = 1_000_000;

/// Bodies of writes are kept up to this size, to see what a write said.
const BODY_BYTES: usize = 256 * 1024;

/// Kind of a request, for tests that count writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum RequestKind {
    /// GET, HEAD, OPTIONS.
    Read,
    /// A write of anything else than the following.
    Write,
    /// A write of a Lease.
    Lease,
    /// A write of an Event.
    Event,
    /// A write that says that it is none: `dryRun=All`.
    DryRun,
    /// A question in the clothes of a POST: `SubjectAccessReview`, `TokenReview` and their like.
    Review,
}

/// Requests that count as writes besides [`RequestKind::Write`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct WriteKinds {
    /// Count writes of Leases.
    pub leases: bool,
    /// Count writes of Events.
    pub events: bool,
}

/// Disturbance of a request by the proxy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Disturbance {
    /// It never reached the API server, and had no answer.
    NotForwarded,
    /// It never reached the API server; the proxy answered.
    Refused,
    /// It was done, and its answer withheld.
    AnswerSwallowed,
    /// The API server did not answer.
    NoAnswer,
}

/// One request.
#[derive(Clone, Debug)]
pub struct RequestRecord {
    /// Its place among all requests, from 1.
    pub seq: u64,
    /// Its place among the counted writes, from 1.
    pub write: Option<u64>,
    /// Kind of the request.
    pub kind: RequestKind,
    /// Time at which the request had come in whole.
    pub at: Timestamp,
    /// The HTTP method.
    pub method: Method,
    /// The path, without the query.
    pub path: String,
    /// The query, or nothing.
    pub query: String,
    /// Length of the request's body.
    pub body_bytes: usize,
    /// The body of a write; empty for reads and where it was too long.
    pub body: RequestBody,
    /// The client's name for itself.
    pub user_agent: String,
    /// The `fieldManager` that the query names.
    pub field_manager: Option<String>,
    /// Impersonated user, if any.
    pub impersonated: Option<String>,
    /// The status of its answer, by the API server or by the proxy.
    pub status: Option<u16>,
    /// Time until the head of the answer was there.
    pub took: Option<Duration>,
    /// Disturbance of the request, if any.
    pub disturbance: Option<Disturbance>,
}

/// A body, which `Debug` does not tell: it may hold a Secret.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct RequestBody(pub Bytes);

/// The log; copies share it.
#[derive(Clone, Debug)]
pub struct RequestLog {
    writes: WriteKinds,
    entries: Arc<Mutex<Entries>>,
    count: Arc<watch::Sender<u64>>,
}

#[derive(Debug, Default)]
struct Entries {
    requests: u64,
    writes: u64,
    records: BTreeMap<u64, RequestRecord>,
}

// === impl RequestLog ===

impl RequestLog {
    pub(super) fn new(writes: WriteKinds) -> Self {
        Self {
            writes,
            entries: Arc::default(),
            count: Arc::new(watch::channel(0).0),
        }
    }

    /// Every request so far, in the order in which they came.
    pub fn requests(&self) -> Vec<RequestRecord> {
        self.entries().records.values().cloned().collect()
    }

    /// The requests so far of which this holds.
    pub fn matching(&self, holds: impl Fn(&RequestRecord) -> bool) -> Vec<RequestRecord> {
        let entries = self.entries();
        entries
            .records
            .values()
            .filter(|r| holds(r))
            .cloned()
            .collect()
    }

    /// The counted writes so far.
    pub fn writes(&self) -> Vec<RequestRecord> {
        self.matching(|request| request.write.is_some())
    }

    /// Number of counted writes.
    pub fn write_count(&self) -> u64 {
        self.entries().writes
    }

    /// Number of requests by kind.
    pub fn kinds(&self) -> BTreeMap<RequestKind, usize> {
        let mut kinds = BTreeMap::new();
        for record in self.entries().records.values() {
            *kinds.entry(record.kind).or_default() += 1;
        }
        kinds
    }

    /// Waits until a request of which this holds has come in and been answered or disturbed.
    pub async fn wait_for(&self, holds: impl Fn(&RequestRecord) -> bool) -> RequestRecord {
        let mut count = self.count.subscribe();
        loop {
            count.borrow_and_update();
            let found = self.matching(|r| r.is_over() && holds(r));
            if let Some(record) = found.into_iter().next() {
                return record;
            }
            count.changed().await.expect("we hold the sender");
        }
    }

    pub(super) fn begin(&self, head: &request::Parts, body: &Bytes) -> u64 {
        let mut record = RequestRecord::new(head, body);
        let mut entries = self.entries();
        entries.requests += 1;
        record.seq = entries.requests;
        if self.writes.count(record.kind) {
            entries.writes += 1;
            record.write = Some(entries.writes);
        }
        let seq = record.seq;
        entries.records.insert(seq, record);
        if entries.records.len() > REQUESTS {
            entries.records.pop_first();
        }
        seq
    }

    /// The request, as hooks see it.
    pub(super) fn in_hand(&self, seq: u64) -> Option<WriteInHand> {
        self.entries().records.get(&seq).cloned()
    }

    pub(super) fn answered(&self, seq: u64, status: StatusCode) {
        self.change(seq, |record| {
            record.status = Some(status.as_u16());
            record.took = Timestamp::now().duration_since(record.at).try_into().ok();
        });
    }

    pub(super) fn disturbed(&self, seq: u64, disturbance: Disturbance) {
        self.change(seq, |record| record.disturbance = Some(disturbance));
    }

    fn change(&self, seq: u64, change: impl FnOnce(&mut RequestRecord)) {
        if let Some(record) = self.entries().records.get_mut(&seq) {
            change(record);
        }
        self.count.send_modify(|changes| *changes += 1);
    }

    fn entries(&self) -> MutexGuard<'_, Entries> {
        self.entries.lock().expect("no holder panics")
    }
}

// === impl WriteKinds ===

impl WriteKinds {
    fn count(self, kind: RequestKind) -> bool {
        match kind {
            RequestKind::Write => true,
            RequestKind::Lease => self.leases,
            RequestKind::Event => self.events,
            RequestKind::Read | RequestKind::DryRun | RequestKind::Review => false,
        }
    }
}

// === impl RequestRecord ===

impl RequestRecord {
    fn new(head: &request::Parts, body: &Bytes) -> Self {
        let path = head.uri.path().to_owned();
        let query = head.uri.query().unwrap_or_default().to_owned();
        let kind = RequestKind::of(&head.method, &path, &query);
        let keep_body = kind != RequestKind::Read && body.len() <= BODY_BYTES;
        Self {
            seq: 0,
            write: None,
            kind,
            at: Timestamp::now(),
            method: head.method.clone(),
            field_manager: parameter(&query, "fieldManager").map(str::to_owned),
            path,
            query,
            body_bytes: body.len(),
            body: RequestBody(if keep_body {
                body.clone()
            } else {
                Bytes::new()
            }),
            user_agent: text(&head.headers, &header::USER_AGENT).unwrap_or_default(),
            impersonated: text(
                &head.headers,
                &header::HeaderName::from_static("impersonate-user"),
            ),
            status: None,
            took: None,
            disturbance: None,
        }
    }

    /// Returns true for a watch.
    pub fn is_watch(&self) -> bool {
        matches!(parameter(&self.query, "watch"), Some("true" | "1"))
    }

    /// The body as JSON, where it is.
    pub fn json(&self) -> Option<serde_json::Value> {
        serde_json::from_slice(&self.body.0).ok()
    }

    fn is_over(&self) -> bool {
        self.status.is_some() || self.disturbance.is_some()
    }
}

// === impl RequestBody ===

impl fmt::Debug for RequestBody {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} bytes", self.0.len())
    }
}

// === impl RequestKind ===

impl RequestKind {
    fn of(method: &Method, path: &str, query: &str) -> Self {
        if matches!(*method, Method::GET | Method::HEAD | Method::OPTIONS) {
            return Self::Read;
        }
        if parameter(query, "dryRun").is_some() {
            return Self::DryRun;
        }
        let mut group_and_rest = path.trim_start_matches("/apis/").splitn(2, '/');
        match group_and_rest.next() {
            Some("coordination.k8s.io") => Self::Lease,
            Some("events.k8s.io") => Self::Event,
            Some("authorization.k8s.io" | "authentication.k8s.io") => Self::Review,
            _ if is_core_event(path) => Self::Event,
            _ => Self::Write,
        }
    }
}

fn is_core_event(path: &str) -> bool {
    let mut parts = path.trim_start_matches("/api/v1/").split('/');
    parts.next() == Some("namespaces") && parts.nth(1) == Some("events")
}

fn parameter<'a>(query: &'a str, name: &str) -> Option<&'a str> {
    query
        .split('&')
        .filter_map(|pair| pair.split_once('='))
        .find(|(key, _)| *key == name)
        .map(|(_, value)| value)
}

fn text(headers: &HeaderMap, name: &header::HeaderName) -> Option<String> {
    headers
        .get(name)
        .and_then(|value| value.to_str().ok())
        .map(str::to_owned)
}
