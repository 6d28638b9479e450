//! Requests of one user to the API server, by its audit log.

use std::{collections::BTreeMap, fmt, fs, path::Path};

use anyhow::{Context as _, Result};
use jiff::Timestamp;
use serde_json::Value;

/// A request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    /// Time at which the API server had it.
    pub at: Timestamp,
    /// Verb, as RBAC knows it, and the resource with its subresource.
    pub kind: String,
    /// Namespace of the object.
    pub namespace: String,
    /// Name of the object.
    pub name: String,
    /// Status of the answer.
    pub code: u64,
    /// Body, where the audit policy keeps it.
    pub body: Value,
}

/// Requests, in the order of their time.
#[derive(Clone, Debug, Default)]
pub struct Requests(Vec<Request>);

// === impl Requests ===

impl Requests {
    /// Reads the requests of a user, also those in the name of another, but for watches and for the
    /// Lease: these come by the clock, whatever is released.
    pub fn read(log: &Path, user: &str) -> Result<Self> {
        let log = fs::read_to_string(log).context("the audit log cannot be read")?;
        // Reading JSON takes its time.
        let lines = log.lines().filter(|line| line.contains(user));
        let events = lines.filter_map(|line| serde_json::from_str::<Value>(line).ok());
        let mut requests: Vec<_> = events
            .filter(|event| event["user"]["username"] == user)
            .filter_map(|event| Request::of(&event))
            .filter(|request| {
                !request.kind.starts_with("watch ") && !request.kind.ends_with(" leases")
            })
            .collect();
        requests.sort_by_key(|request| request.at);
        Ok(Self(requests))
    }

    /// The requests from one time to another, both included.
    #[must_use]
    pub fn between(&self, from: Timestamp, to: Timestamp) -> Self {
        let all = self.0.iter();
        Self(
            all.filter(|one| from <= one.at && one.at <= to)
                .cloned()
                .collect(),
        )
    }

    /// All of them.
    pub fn all(&self) -> &[Request] {
        &self.0
    }

    /// Time of the last.
    pub fn last_at(&self) -> Option<Timestamp> {
        self.0.last().map(|request| request.at)
    }

    /// Number of requests by verb and resource, and of those among them that were refused.
    fn counts(&self) -> BTreeMap<&str, (usize, usize)> {
        let mut counts = BTreeMap::<_, (usize, usize)>::new();
        for request in &self.0 {
            let (all, refused) = counts.entry(request.kind.as_str()).or_default();
            *all += 1;
            if request.code >= 400 {
                *refused += 1;
            }
        }
        counts
    }
}

/// A table in Markdown, the most frequent first.
impl fmt::Display for Requests {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut counts: Vec<_> = self.counts().into_iter().collect();
        counts.sort_by_key(|(_, (all, _))| std::cmp::Reverse(*all));
        writeln!(f, "| verb and resource | requests | of these refused |")?;
        writeln!(f, "|---|---|---|")?;
        for (kind, (all, refused)) in counts {
            let refused = if refused == 0 {
                String::new()
            } else {
                refused.to_string()
            };
            writeln!(f, "| {kind} | {all} | {refused} |")?;
        }
        write!(f, "| together | {} | |", self.0.len())
    }
}

// === impl Request ===

impl Request {
    fn of(event: &Value) -> Option<Self> {
        if event["stage"] != "ResponseComplete" {
            return None;
        }
        let text = |pointer: &str| {
            let text = event.pointer(pointer).and_then(Value::as_str);
            text.unwrap_or_default().to_owned()
        };
        let mut kind = format!("{} {}", text("/verb"), text("/objectRef/resource"));
        let subresource = text("/objectRef/subresource");
        if !subresource.is_empty() {
            kind = format!("{kind}/{subresource}");
        }
        if text("/requestURI").contains("dryRun=") {
            kind += " (dry run)";
        }
        Some(Self {
            at: text("/requestReceivedTimestamp").parse().ok()?,
            kind,
            namespace: text("/objectRef/namespace"),
            name: text("/objectRef/name"),
            code: event["responseStatus"]["code"].as_u64().unwrap_or_default(),
            body: event["requestObject"].clone(),
        })
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn event(verb: &str, second: u32, code: u32) -> String {
        json!({
            "stage": "ResponseComplete", "verb": verb, "requestURI": "/x?dryRun=All",
            "user": { "username": "tidegate" }, "responseStatus": { "code": code },
            "requestReceivedTimestamp": format!("2026-01-01T00:00:0{second}.000000Z"),
            "objectRef": { "resource": "rollouts", "subresource": "status", "namespace": "shop", "name": "shop" },
        })
        .to_string()
    }

    #[test]
    fn a_users_requests_are_counted_by_verb_and_resource() {
        let dir = tempfile::tempdir().expect("a folder");
        let log = dir.path().join("audit.log");
        let other = event("patch", 2, 200).replace("\"tidegate\"", "\"tidegate-too\"");
        let lines = [
            event("patch", 3, 409),
            event("patch", 1, 200),
            event("watch", 1, 200),
            other,
        ];
        fs::write(&log, lines.join("\n")).expect("a file");
        let requests = Requests::read(&log, "tidegate").expect("a log");
        let table = requests.to_string();
        assert!(
            table.contains("| patch rollouts/status (dry run) | 2 | 1 |"),
            "{table}"
        );
        assert!(table.ends_with("| together | 2 | |"), "{table}");
        let first: Timestamp = "2026-01-01T00:00:01Z".parse().expect("a time");
        assert_eq!(requests.between(first, first).all().len(), 1);
    }
}
