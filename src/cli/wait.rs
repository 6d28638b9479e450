//! `tidegate wait`: ends when a commit, or what git asks for now, is released or was rejected.
//!
//! For pipelines: its exit code is the answer, and what is in the way goes to stderr meanwhile.

use std::{pin::pin, process::ExitCode, time};

use clap::Args;
use kube::{Api, Client, api::ListParams};
use tidegate_api::{
    CommitId, Condition, ConfigRepo, Duration, NamespacedName, Rollout,
    reason::{ConditionType, ReadyReason, ReasonCode as _, StallReason},
    status::RolloutStatus,
};
use tidegate_engine::observed::Held;
use tokio::time::{Instant, interval, sleep_until, timeout};

use super::{
    connection::{Target, answered},
    watch::changes::{self, Change},
};
use crate::workload;

/// Exit code where the time is over.
const TIMED_OUT: u8 = 3;

/// Interval at which ConfigRepos are looked at: a commit that changes nothing of the app changes
/// nothing of its Rollout either.
const LOOK: time::Duration = time::Duration::from_secs(2);

/// Fewest characters of a commit that can be told from another.
const SHORTEST_COMMIT: usize = 7;

/// Arguments of `tidegate wait`.
#[derive(Args, Debug)]
pub struct WaitArgs {
    /// Name of the Rollout
    name: String,
    /// Commit to wait for, at least 7 characters of it (default: whatever git asks for)
    #[arg(long, value_parser = commit)]
    commit: Option<String>,
    /// Maximum wait
    #[arg(long, default_value = "1h")]
    timeout: Duration,
    #[command(flatten)]
    target: Target,
}

/// Answer of a status to the question for a commit.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Answer {
    /// It is stable, and callers are served.
    Stable,
    /// It was not promoted, and nobody will try again: this is why.
    Rejected(String),
    /// Neither yet: this is what is waited for.
    Waiting(String),
}

/// Waits; exits with 0 if the commit is stable, 1 if it was rejected, 3 if the time is over.
pub(super) async fn run(args: &WaitArgs) -> anyhow::Result<ExitCode> {
    let (client, namespace) = args.target.connect().await?;
    let rollouts: Api<Rollout> = Api::namespaced(client.clone(), &namespace);
    let mut rollout = answered(rollouts.get(&args.name)).await?;
    let mut changes = pin!(changes::changes(rollouts, &namespace, &args.name));
    let end = Instant::now() + args.timeout.as_std();
    let mut looks = interval(LOOK);
    let mut applied = Vec::new();
    let mut told = String::new();
    let mut is_unseen = false;
    loop {
        tokio::select! {
            () = sleep_until(end) => {
                eprintln!("not within {}: {told}", args.timeout);
                return Ok(ExitCode::from(TIMED_OUT));
            }
            change = changes::next(&mut changes) => match change? {
                Change::Now(now) => rollout = *now,
                Change::Lost(why) => eprintln!("connection lost: {why}"),
            },
            // What was applied changes the workload alone.
            _ = looks.tick(), if is_unseen || args.commit.is_some() => if args.commit.is_some() {
                applied = applied_commits(&client, &namespace, &rollout).await?;
            },
        }
        let held = match args.commit {
            None => hold(&client, &namespace, &rollout).await,
            Some(_) => None,
        };
        is_unseen = held.is_some_and(|held| is_not_answered(&rollout, held));
        if is_unseen {
            told = tell(told, "waiting for Tidegate to see what was applied");
            continue;
        }
        match answer(&rollout, args.commit.as_deref(), &applied) {
            Answer::Stable => {
                println!("{}", message(&rollout));
                return Ok(ExitCode::SUCCESS);
            }
            Answer::Rejected(why) => {
                eprintln!("{why}");
                return Ok(ExitCode::FAILURE);
            }
            Answer::Waiting(on) => told = tell(told, &on),
        }
    }
}

/// Says what is waited for, unless that was said last.
fn tell(told: String, on: &str) -> String {
    if on == told {
        return told;
    }
    eprintln!("{on}");
    on.to_owned()
}

/// Reads the hold of the workload: what somebody has applied is there before Tidegate has seen it. Without an answer, or
/// the right to it, there is the status alone.
async fn hold(client: &Client, namespace: &str, rollout: &Rollout) -> Option<Held> {
    let workload = &rollout.spec.workload;
    let target = workload::Target {
        client,
        namespace,
        workload,
    };
    let read = timeout(LOOK, workload::read_hold(target)).await;
    read.ok()?.ok()?
}

/// Returns true if a held workload has a template that the status does not answer for yet.
fn is_not_answered(rollout: &Rollout, held: Held) -> bool {
    let live = held.live.to_string();
    let status = rollout.status.as_ref();
    let wanted = status.and_then(|status| status.wanted.as_ref());
    let stable = status.and_then(|status| status.stable.as_ref());
    let is_wanted = wanted.is_some_and(|wanted| wanted.revision.as_str() == live);
    let is_stables = stable.is_some_and(|stable| stable.revision.as_str() == live);
    !held.is_known || !is_wanted && !is_stables
}

/// Returns the commits that are applied: by the ConfigRepos of the namespace, and by the one of another namespace that
/// brings the Rollout.
async fn applied_commits(
    client: &Client,
    namespace: &str,
    rollout: &Rollout,
) -> anyhow::Result<Vec<CommitId>> {
    let repos: Api<ConfigRepo> = Api::namespaced(client.clone(), namespace);
    let mut repos = answered(repos.list(&ListParams::default())).await?.items;
    if let Some(NamespacedName { namespace, name }) = repo_elsewhere(rollout) {
        let there: Api<ConfigRepo> = Api::namespaced(client.clone(), &namespace);
        // Not everybody may read it; the Rollout's own status is enough for all but unrelated commits.
        repos.extend(there.get_opt(&name).await.ok().flatten());
    }
    let applied = repos.into_iter();
    Ok(applied
        .filter_map(|repo| Some(repo.status?.applied?.commit))
        .collect())
}

/// Returns the ConfigRepo of another namespace that brings a Rollout.
fn repo_elsewhere(rollout: &Rollout) -> Option<NamespacedName> {
    let stable = rollout.status.as_ref()?.stable.as_ref()?;
    let namespace = rollout.metadata.namespace.as_deref()?;
    let reference = stable.source.config_repo.as_deref()?;
    let repo = NamespacedName::of_reference(reference, namespace);
    (repo.namespace != namespace).then_some(repo)
}

/// Answers from what is known of a Rollout, and the commits that are applied.
fn answer(rollout: &Rollout, commit: Option<&str>, applied: &[CommitId]) -> Answer {
    let status = rollout.status.clone().unwrap_or_default();
    let Some(sought) = commit else {
        return answer_for_head(rollout, &status);
    };
    let is_sought = |commit: Option<&CommitId>| {
        commit.is_some_and(|commit| commit.as_str().starts_with(sought))
    };
    let stable = status.stable.as_ref();
    if stable.is_some_and(|stable| is_sought(stable.source.commit.as_ref())) {
        return available(&status);
    }
    let mut rejected = status.rejected.iter();
    if let Some(rejected) = rejected.find(|rejected| is_sought(rejected.commit.as_ref())) {
        return Answer::Rejected(format!(
            "attempt {} for commit {sought} was not promoted: {}",
            rejected.attempt, rejected.message
        ));
    }
    let wanted = status.wanted.as_ref();
    if wanted.is_some_and(|wanted| is_sought(wanted.commit.as_ref())) {
        return match answer_for_head(rollout, &status) {
            Answer::Stable => Answer::Waiting(message(rollout)),
            other => other,
        };
    }
    let last = status.last_outcome.as_ref();
    if let Some(last) = last.filter(|last| is_sought(last.commit.as_ref())) {
        return Answer::Rejected(format!(
            "attempt {} for commit {sought} ended: {}: {}",
            last.attempt, last.ending.outcome, last.ending.message
        ));
    }
    if applied.iter().any(|commit| is_sought(Some(commit))) {
        // It asks for no other revision than the commit before it.
        return answer_for_head(rollout, &status);
    }
    Answer::Waiting(format!("waiting for commit {sought} to be applied"))
}

/// Answers for what git asks for now.
fn answer_for_head(rollout: &Rollout, status: &RolloutStatus) -> Answer {
    if status.observed_generation != rollout.metadata.generation {
        return Answer::Waiting("waiting for Tidegate to see the Rollout's spec".to_owned());
    }
    let stalled = Condition::find(&status.conditions, ConditionType::Stalled);
    let is_rejected = stalled.is_some_and(|stalled| {
        let ends = [StallReason::Rejected, StallReason::InitialFailed];
        stalled.is_true() && ends.iter().any(|end| stalled.reason == end.as_str())
    });
    let ready = Condition::find(&status.conditions, ConditionType::Ready);
    // Suspended, nothing that was rejected is a stall.
    let is_held = ready.is_some_and(|ready| ready.reason == ReadyReason::Rejected.as_str());
    if is_rejected || is_held {
        return Answer::Rejected(status.message.clone());
    }
    if ready.is_some_and(Condition::is_true) {
        return Answer::Stable;
    }
    Answer::Waiting(message(rollout))
}

/// A commit that is stable is released once callers are served.
fn available(status: &RolloutStatus) -> Answer {
    let available = Condition::find(&status.conditions, ConditionType::Available);
    match available {
        Some(available) if !available.is_true() => Answer::Waiting(available.message.clone()),
        Some(_) | None => Answer::Stable,
    }
}

fn message(rollout: &Rollout) -> String {
    let status = rollout.status.as_ref();
    let message = status.map(|status| status.message.clone());
    message
        .filter(|message| !message.is_empty())
        .unwrap_or_else(|| "waiting for Tidegate".to_owned())
}

fn commit(text: &str) -> Result<String, String> {
    let is_hex = text.chars().all(|c| c.is_ascii_hexdigit());
    if !is_hex || text.len() < SHORTEST_COMMIT {
        return Err(format!(
            "{text:?} is not a commit: write its id, at least {SHORTEST_COMMIT} characters of it"
        ));
    }
    Ok(text.to_ascii_lowercase())
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a test may panic")]
    use serde_json::{Value, json};
    use tidegate_engine::revision::Digest;

    use super::*;

    const OLD: &str = "aaaaaaaaaa";
    const NEW: &str = "bbbbbbbbbb";
    const AT: &str = "2026-01-01T00:00:00Z";

    fn rollout(more: &Value) -> Rollout {
        let mut status = json!({
            "observedGeneration": 1,
            "stable": { "revision": "a", "podTemplateHash": "1", "since": AT, "source": { "commit": OLD } },
            "message": "holding step 1 of 2",
            "conditions": [],
        });
        json_patch::merge(&mut status, more);
        serde_json::from_value(json!({
            "apiVersion": "tidegate.io/v1alpha1", "kind": "Rollout",
            "metadata": { "name": "checkout", "generation": 1 },
            "spec": {
                "workload": { "kind": "Deployment", "name": "checkout" },
                "traffic": { "routes": [{ "kind": "HTTPRoute", "name": "checkout" }] },
                "steps": [], "gates": [],
            },
            "status": status,
        }))
        .unwrap()
    }

    fn condition(type_: &str, status: &str, reason: &str) -> Value {
        json!([{ "type": type_, "status": status, "reason": reason, "message": "", "lastTransitionTime": AT }])
    }

    fn of(rollout: &Rollout, commit: &str, applied: &[&str]) -> Answer {
        let applied: Vec<_> = applied.iter().copied().map(CommitId::named).collect();
        answer(rollout, Some(commit), &applied)
    }

    #[test]
    fn a_commit_is_released_once_its_revision_is_stable() {
        let before = rollout(&json!({}));
        assert!(
            matches!(of(&before, NEW, &[OLD]), Answer::Waiting(on) if on.contains("to be applied"))
        );
        let running =
            rollout(&json!({ "wanted": { "revision": "b", "since": AT, "commit": NEW } }));
        assert_eq!(
            of(&running, NEW, &[NEW]),
            Answer::Waiting("holding step 1 of 2".to_owned())
        );
        let done = rollout(&json!({ "stable": { "source": { "commit": NEW } } }));
        assert_eq!(of(&done, &NEW[..7], &[NEW]), Answer::Stable);
    }

    #[test]
    fn a_rejected_commit_is_rejected_though_git_asks_for_another_since() {
        let restored = rollout(&json!({ "rejected": [
            { "revision": "b", "commit": NEW, "attempt": 2, "message": "gate \"errors\" breached", "at": AT },
        ] }));
        assert!(
            matches!(of(&restored, NEW, &["cccccccccc"]), Answer::Rejected(why) if why.contains("errors"))
        );
    }

    #[test]
    fn a_superseded_commit_is_not_waited_for() {
        let superseded = rollout(&json!({
            "wanted": { "revision": "c", "since": AT, "commit": "cccccccccc" },
            "lastOutcome": {
                "attempt": 2, "revision": "b", "commit": NEW, "outcome": "Superseded",
                "reason": "NewerRevision", "message": "revision c is newer", "at": AT,
            },
        }));
        assert!(
            matches!(of(&superseded, NEW, &[]), Answer::Rejected(why) if why.contains("newer"))
        );
    }

    #[test]
    fn a_commit_that_leaves_the_app_as_it_is_is_done_when_it_is_applied() {
        let ready = rollout(&json!({ "conditions": condition("Ready", "True", "RevisionStable") }));
        assert!(matches!(of(&ready, NEW, &[OLD]), Answer::Waiting(_)));
        assert_eq!(of(&ready, NEW, &[NEW]), Answer::Stable);
    }

    #[test]
    fn without_a_commit_the_conditions_answer() {
        let stalled = condition("Stalled", "True", "Rejected");
        let rejected = rollout(&json!({ "conditions": stalled }));
        assert!(matches!(answer(&rejected, None, &[]), Answer::Rejected(_)));
        let held = rollout(&json!({ "conditions": condition("Ready", "False", "Rejected") }));
        assert!(matches!(answer(&held, None, &[]), Answer::Rejected(_)));
        let suspended = rollout(&json!({ "conditions": condition("Ready", "False", "Suspended") }));
        assert!(matches!(answer(&suspended, None, &[]), Answer::Waiting(_)));
        let pending =
            rollout(&json!({ "conditions": condition("Ready", "False", "RevisionPending") }));
        assert!(matches!(answer(&pending, None, &[]), Answer::Waiting(_)));
        let unseen = rollout(&json!({
            "observedGeneration": 0, "conditions": condition("Ready", "True", "RevisionStable"),
        }));
        assert!(matches!(answer(&unseen, None, &[]), Answer::Waiting(_)));
    }

    #[test]
    fn what_was_applied_a_moment_ago_is_waited_for_until_it_is_seen() {
        let live = Digest::of(&json!("c"));
        let held = |is_known| Held { live, is_known };
        let before = rollout(&json!({ "wanted": { "revision": "b", "since": AT } }));
        assert!(is_not_answered(&before, held(true)));
        let revision = live.to_string();
        let wanted = rollout(&json!({ "wanted": { "revision": revision, "since": AT } }));
        assert!(!is_not_answered(&wanted, held(true)));
        let reverted = rollout(&json!({ "stable": { "revision": revision } }));
        assert!(!is_not_answered(&reverted, held(true)));
        assert!(
            is_not_answered(&reverted, held(false)),
            "a revert of this moment"
        );
    }

    #[test]
    fn what_is_no_commit_is_refused_with_what_to_write() {
        assert!(
            commit("main")
                .unwrap_err()
                .contains("at least 7 characters")
        );
        assert_eq!(commit("ABCDEF0").as_deref(), Ok("abcdef0"));
    }
}
