//! Building the records that go to git.

use sha2::{Digest as _, Sha256};
use tidegate_api::{
    gate::GateStatus,
    record::{
        GateRecord, InterventionRecord, OutcomeRecord, PreviousRevision, RecordHead, StartedRecord,
        VERSION,
    },
    status::{Attempt, Ending, Stable},
};

use crate::{context::DecisionContext, observed::Identity, released_config};

/// The id of an attempt: SHA-256 over cluster, Rollout uid, revision and attempt, each on its own
/// line, in lower-case hex. Writing an outcome twice is finding its file already there.
pub fn id(identity: &Identity, revision: &str, attempt: u32) -> String {
    let Identity { cluster, uid, .. } = identity;
    let digest = Sha256::digest(format!("{cluster}\n{uid}\n{revision}\n{attempt}\n"));
    digest
        .iter()
        .fold(String::new(), |hex, byte| hex + &format!("{byte:02x}"))
}

/// That an attempt has begun.
pub(crate) fn started(
    identity: &Identity,
    attempt: &Attempt,
    stable: Option<&Stable>,
) -> StartedRecord {
    StartedRecord {
        head: head(identity, attempt, stable),
        plan: attempt.plan.clone(),
    }
}

/// Returns the record of an attempt's end, with all evidence.
pub(crate) fn outcome(
    ctx: &DecisionContext<'_>,
    attempt: &Attempt,
    ending: &Ending,
) -> OutcomeRecord {
    let asked = ctx
        .status
        .interventions
        .iter()
        .filter(|taken| taken.attempt == attempt.number);
    OutcomeRecord {
        head: head(&ctx.observed.identity, attempt, ctx.status.stable.as_ref()),
        outcome: ending.outcome,
        reason: ending.reason,
        message: ending.message.clone(),
        decided_at: ending.at,
        ended_at: ctx.now,
        shortcut: attempt.shortcut,
        steps: attempt.steps.clone(),
        failovers: attempt.failovers.clone(),
        gates: attempt
            .plan
            .gates
            .iter()
            .map(|gate| GateRecord {
                gate: gate.clone(),
                status: gate_status(attempt, &gate.name),
            })
            .collect(),
        interventions: asked
            .map(|taken| InterventionRecord {
                action: taken.action,
                step: taken.step,
                by: taken.by.clone(),
                reason: taken.reason.clone(),
                at: taken.at,
            })
            .collect(),
        restore: None,
    }
}

fn gate_status(attempt: &Attempt, name: &str) -> GateStatus {
    let status = attempt.gates.iter().find(|status| status.name == name);
    status.cloned().unwrap_or_default()
}

fn head(identity: &Identity, attempt: &Attempt, stable: Option<&Stable>) -> RecordHead {
    RecordHead {
        version: VERSION,
        id: attempt.id.clone(),
        cluster: identity.cluster.clone(),
        namespace: identity.namespace.clone(),
        rollout: identity.name.clone(),
        rollout_uid: identity.uid.clone(),
        workload: attempt.plan.workload.clone(),
        attempt: attempt.number,
        revision: attempt.revision.clone(),
        source: attempt.source.clone(),
        images: attempt.images.clone(),
        config: released_config::objects(attempt),
        previous: stable.map(|stable| PreviousRevision {
            revision: stable.revision.clone(),
            source: stable.source.clone(),
        }),
        started_at: attempt.started_at,
    }
}
