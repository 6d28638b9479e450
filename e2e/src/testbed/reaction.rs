//! Reaction time to a breach: from the moment at which Prometheus could first show it.

use std::fmt;

use anyhow::{Context as _, Result};
use jiff::{SignedDuration, Timestamp};
use serde_json::Value;
use tidegate_api::record::OutcomeRecord;

use super::{Testbed, evidence::CANARY};
use crate::http_client;

/// The times of a breach.
#[derive(Clone, Copy, Debug)]
pub struct Reaction {
    /// From when on Prometheus would have shown it, had it been asked.
    pub shown: Timestamp,
    /// Time at which the gate was read.
    pub read: Timestamp,
    /// Time at which the API server had the route without the canary's share.
    pub written: Timestamp,
}

/// Resolution at which the first moment is found.
const STEP: SignedDuration = SignedDuration::from_millis(10);

/// Prometheus answers with at most 11,000 values.
const MOST_STEPS: i128 = 10_000;

// === impl Testbed ===

impl Testbed {
    /// The times of the breach of the gate for errors that ended an attempt.
    pub async fn reaction(&self, record: &OutcomeRecord) -> Result<Reaction> {
        let gate = record.gates.first().context("the record has a gate")?;
        let read = gate.status.sampled_at.context("the gate was read")?;
        let shares = self.shares()?;
        let written = shares
            .taken_back_since(record.head.started_at)
            .context("the route lost the canary's share")?;
        let shown = self.first_shown(record.head.started_at, read).await?;
        Ok(Reaction {
            shown,
            read,
            written,
        })
    }

    /// The first moment at which more than the gate bears of the canary's answers are errors, by what
    /// Prometheus has stored. It is asked at the moment of the reading and in steps back from there: a
    /// reading can come so soon that steps from elsewhere have none between.
    async fn first_shown(&self, attempt_began: Timestamp, read: Timestamp) -> Result<Timestamp> {
        let of = |code: &str| {
            let labels = format!(
                r#"namespace="{}",pod=~"{CANARY}-.*"{code}"#,
                self.context.namespace
            );
            format!("sum(rate(http_requests_total{{{labels}}}[3s]))")
        };
        let query = format!("{} / {} > 0.05", of(r#",code=~"5..""#), of(""));
        let url = format!("{}/api/v1/query_range", self.prometheus_url);
        let steps =
            (read.duration_since(attempt_began).as_millis() / STEP.as_millis()).min(MOST_STEPS);
        let start = read - STEP * i32::try_from(steps)?;
        let range = [
            ("query", query),
            ("start", start.to_string()),
            ("end", read.to_string()),
            ("step", STEP.as_secs_f64().to_string()),
        ];
        let answer = http_client::plain().get(&url).query(&range).send().await?;
        let answer: Value = answer.error_for_status()?.json().await?;
        let first = answer["data"]["result"][0]["values"][0][0]
            .as_f64()
            .context("Prometheus never showed the breach")?;
        #[expect(clippy::cast_possible_truncation, reason = "milliseconds since 1970")]
        let milliseconds = (first * 1000.0) as i64;
        Ok(Timestamp::from_millisecond(milliseconds)?)
    }
}

// === impl Reaction ===

impl fmt::Display for Reaction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            shown,
            read,
            written,
        } = self;
        write!(
            f,
            "shown by Prometheus -> route written {:.2} s (of these, read -> route written {:.3} s)",
            written.duration_since(*shown).as_secs_f64(),
            written.duration_since(*read).as_secs_f64()
        )
    }
}
