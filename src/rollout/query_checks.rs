//! Checks of the gates' queries, run against stable before traffic moves: one task per Rollout,
//! beside its reconciles, which requeues it with the answer.

use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
};

use futures::future::join_all;
use jiff::{SignedDuration, Timestamp};
use kube::ResourceExt;
use tidegate_api::{NamespacedName, Rollout, rollout::Metrics};
use tidegate_engine::{
    gate::reading::{GateQuery, Sample},
    observed::QueryCheck,
    plan::Plan,
};
use tidegate_metrics::{
    preflight::{InvalidQuery, check_gate},
    prometheus::InstantQuery,
    template::Variables,
};
use tokio::sync::watch;
use tokio_util::task::AbortOnDropHandle;
use tracing::Instrument as _;

use super::variables;
use crate::{clock, requeue::RequeueSender};

/// The checks of the Rollouts at rest, by name.
pub(crate) struct QueryChecks {
    requeue_tx: RequeueSender,
    checks: Mutex<HashMap<NamespacedName, Check>>,
}

/// The last check of a Rollout.
struct Check {
    asked: Asked,
    answer: watch::Receiver<QueryCheck>,
    task: AbortOnDropHandle<()>,
}

/// Question of a check: the answer to another one says nothing.
#[derive(Clone, PartialEq)]
struct Asked {
    metrics: Option<Metrics>,
    ingest_delay: SignedDuration,
    gates: Vec<GateQueries>,
    stable: Variables,
}

/// Queries of an enforced gate.
#[derive(Clone, PartialEq)]
struct GateQueries {
    gate: String,
    queries: Vec<GateQuery>,
    window: SignedDuration,
    /// False where the gate passes without a request: then there may be no series.
    needs_requests: bool,
}

/// Result of one query for stable, the worst last.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
enum Finding {
    Usable,
    ScrapedOnce(String),
    Unreadable(String),
    SelectsNothing(String),
    Invalid(String),
}

// === impl QueryChecks ===

impl QueryChecks {
    pub(crate) fn new(requeue_tx: RequeueSender) -> Self {
        Self {
            requeue_tx,
            checks: Mutex::default(),
        }
    }

    /// Returns the last answer. Each attempt asks anew, so nothing is kept while one runs.
    pub(crate) fn answer(&self, rollout: &Rollout) -> QueryCheck {
        let Some(asked) = Asked::of(rollout) else {
            self.forget(&NamespacedName::of(rollout));
            return QueryCheck::Unknown;
        };
        let checks = self.checks.lock().unwrap_or_else(PoisonError::into_inner);
        let check = checks
            .get(&NamespacedName::of(rollout))
            .filter(|check| check.asked == asked);
        check.map_or(QueryCheck::Unknown, |check| check.answer.borrow().clone())
    }

    /// Asks `source`, unless it is being asked. The last answer stands until there is another.
    pub(crate) fn ask(&self, rollout: &Rollout, source: impl InstantQuery + 'static) {
        let Some(asked) = Asked::of(rollout) else {
            return;
        };
        let mut checks = self.checks.lock().unwrap_or_else(PoisonError::into_inner);
        let last = checks
            .get(&NamespacedName::of(rollout))
            .filter(|check| check.asked == asked);
        if last.is_some_and(|check| !check.task.is_finished()) {
            return;
        }
        let known = last.map_or(QueryCheck::Unknown, |check| check.answer.borrow().clone());
        let (told, answer) = watch::channel(known);
        let (requeue_tx, question) = (self.requeue_tx.clone(), asked.clone());
        let id = NamespacedName::of(rollout);
        let span = tracing::info_span!("query_check", id.namespace, id.name);
        let check = async move {
            told.send_replace(question.put_to(&source).await);
            requeue_tx.requeue(id);
        };
        let task = tokio::spawn(check.instrument(span));
        checks.insert(
            NamespacedName::of(rollout),
            Check {
                asked,
                answer,
                task: AbortOnDropHandle::new(task),
            },
        );
    }

    /// Forgets what is known of a Rollout.
    pub(crate) fn forget(&self, rollout: &NamespacedName) {
        let mut checks = self.checks.lock().unwrap_or_else(PoisonError::into_inner);
        checks.remove(rollout);
    }
}

// === impl Asked ===

impl Asked {
    /// `None` where nothing is to be asked: an attempt runs, or nothing is stable yet.
    fn of(rollout: &Rollout) -> Option<Self> {
        let status = rollout
            .status
            .as_ref()
            .filter(|status| status.attempt.is_none())?;
        variables::compared_with(status)?;
        let plan = Plan::parse(&rollout.name_any(), &rollout.spec).ok()?;
        let gates = plan.gates.iter().filter(|gate| gate.enforced);
        let gates = gates.map(|gate| GateQueries {
            gate: gate.name.clone(),
            queries: gate.queries(),
            window: gate.window,
            needs_requests: !gate.needs_no_requests(),
        });
        Some(Self {
            metrics: plan.metrics.clone(),
            ingest_delay: plan.ingest_delay(),
            gates: gates.collect(),
            stable: variables::of_stable(
                &rollout.namespace().unwrap_or_default(),
                &plan,
                Some(status),
            ),
        })
    }

    async fn put_to(&self, source: &impl InstantQuery) -> QueryCheck {
        let as_of = clock::before(self.ingest_delay);
        let found = join_all(
            self.gates
                .iter()
                .map(|gate| gate.put_to(source, &self.stable, as_of)),
        )
        .await;
        let at = clock::now();
        let worst = found.into_iter().flatten().max().unwrap_or(Finding::Usable);
        match worst {
            Finding::Usable => QueryCheck::Usable { at },
            Finding::ScrapedOnce(why) => QueryCheck::ScrapedOnce { why, at },
            Finding::Unreadable(why) => QueryCheck::Unreadable { why, at },
            Finding::SelectsNothing(why) => QueryCheck::SelectsNothing { why, at },
            Finding::Invalid(why) => QueryCheck::Invalid { why, at },
        }
    }
}

// === impl GateQueries ===

impl GateQueries {
    async fn put_to(
        &self,
        source: &impl InstantQuery,
        stable: &Variables,
        as_of: Timestamp,
    ) -> Vec<Finding> {
        let checked = check_gate(source, &self.queries, stable, self.window, as_of).await;
        let findings = checked.into_iter().map(|checked| self.finding(checked));
        findings.collect()
    }

    fn finding(&self, checked: Result<Sample, InvalidQuery>) -> Finding {
        let gate = &self.gate;
        match checked {
            Err(error @ InvalidQuery::ScrapedOnce) => {
                Finding::ScrapedOnce(format!("gate {gate:?}: {error}"))
            }
            Err(InvalidQuery::SelectsNothing(_)) if !self.needs_requests => Finding::Usable,
            Err(error @ InvalidQuery::SelectsNothing(_)) => {
                Finding::SelectsNothing(format!("gate {gate:?}: {error}"))
            }
            Err(error) => Finding::Invalid(format!("gate {gate:?}: {error}")),
            Ok(Sample::Error { message, .. }) => Finding::Unreadable(format!(
                "waiting for usable metrics of gate {gate:?}: {message}"
            )),
            Ok(Sample::Value { .. } | Sample::ZeroNumerator { .. } | Sample::NoData(_)) => {
                Finding::Usable
            }
        }
    }
}

#[cfg(test)]
mod tests;
