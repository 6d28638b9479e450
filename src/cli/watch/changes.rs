//! Events of a watch of one Rollout: the Rollout at each change, and the loss of the connection.

use futures::{Stream, StreamExt as _, stream};
use jiff::Timestamp;
use kube::{
    Api,
    core::Status,
    runtime::{WatchStreamExt as _, watcher},
};
use tidegate_api::Rollout;

use crate::causes::innermost;

/// Event of the watch.
#[derive(Debug)]
pub(in crate::cli) enum Change {
    /// The Rollout, as it is now.
    Now(Box<Rollout>),
    /// The connection is lost, with the cause. It is retried.
    Lost(String),
}

/// Reason for which the watch ended.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(in crate::cli) enum Ended {
    #[error("the Rollout was deleted")]
    Gone,
    #[error(
        "watching this Rollout is forbidden: it needs the verbs `list` and `watch` for `rollouts.tidegate.io` in the \
         namespace `{namespace}` (the API server says: {says})"
    )]
    Forbidden { namespace: String, says: String },
    #[error(
        "authentication has failed: log in again; watching needs the verbs `list` and `watch` for \
         `rollouts.tidegate.io` in the namespace `{namespace}` (the API server says: {says})"
    )]
    Unauthorized { namespace: String, says: String },
}

/// Loss of the connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Lost {
    since: Timestamp,
    why: String,
}

/// Watches a Rollout. A watch that fails is reported, and restarted after a backoff.
///
/// It restarts from the beginning, so that the Rollout comes again even if it has not changed:
/// otherwise nobody could tell that the connection is restored.
pub(in crate::cli) fn changes(
    api: Api<Rollout>,
    namespace: &str,
    name: &str,
) -> impl Stream<Item = Result<Change, Ended>> {
    let (namespace, name) = (namespace.to_owned(), name.to_owned());
    let watched = stream::unfold(None, move |watch| {
        let (api, name) = (api.clone(), name.clone());
        async move {
            let mut watch = match watch {
                Some(watch) => watch,
                None => watcher::watch_object(api, &name).boxed(),
            };
            let change = watch.next().await?;
            let same_watch = if change.is_ok() { Some(watch) } else { None };
            Some((change, same_watch))
        }
    });
    watched
        .default_backoff()
        .filter_map(move |change| std::future::ready(heard(change, &namespace)))
}

/// Waits for the next change.
pub(in crate::cli) async fn next(
    changes: &mut (impl Stream<Item = Result<Change, Ended>> + Unpin),
) -> Result<Change, Ended> {
    changes.next().await.unwrap_or(Err(Ended::Gone))
}

// === impl Lost ===

impl Lost {
    /// The connection is lost, or still is.
    pub(super) fn on(before: Option<Self>, why: String, now: Timestamp) -> Self {
        Self {
            since: before.map_or(now, |lost| lost.since),
            why,
        }
    }
}

impl std::fmt::Display for Lost {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "connection lost since {}: {}",
            self.since.strftime("%H:%M:%S UTC"),
            self.why
        )
    }
}

/// Translates a watch's answer; `None` if its version has only become too old.
fn heard(
    change: watcher::Result<Option<Rollout>>,
    namespace: &str,
) -> Option<Result<Change, Ended>> {
    let error = match change {
        Ok(Some(rollout)) => return Some(Ok(Change::Now(Box::new(rollout)))),
        Ok(None) => return Some(Err(Ended::Gone)),
        Err(error) => error,
    };
    let Some(status) = status(&error) else {
        return Some(Ok(Change::Lost(innermost(&error))));
    };
    let (namespace, says) = (namespace.to_owned(), status.message.clone());
    match status.code {
        401 => Some(Err(Ended::Unauthorized { namespace, says })),
        403 => Some(Err(Ended::Forbidden { namespace, says })),
        410 => None,
        code if says.is_empty() => Some(Ok(Change::Lost(format!("the API server answers {code}")))),
        _ => Some(Ok(Change::Lost(says))),
    }
}

/// Returns the API server's answer, if there is one.
fn status(error: &watcher::Error) -> Option<&Status> {
    match error {
        watcher::Error::WatchError(status)
        | watcher::Error::InitialListFailed(kube::Error::Api(status))
        | watcher::Error::WatchStartFailed(kube::Error::Api(status))
        | watcher::Error::WatchFailed(kube::Error::Api(status)) => Some(status),
        watcher::Error::InitialListFailed(_)
        | watcher::Error::WatchStartFailed(_)
        | watcher::Error::WatchFailed(_)
        | watcher::Error::NoResourceVersion => None,
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a test may panic")]
    use std::pin::pin;

    use serde_json::json;

    use super::*;
    use crate::{
        cli::story::tests::at_step_two,
        kubernetes::testing::{Answer, Script},
    };

    fn refused(code: u16, message: &str) -> Answer {
        Answer::Refused(code, message.to_owned())
    }

    fn listed() -> Answer {
        let rollout = serde_json::to_value(at_step_two()).unwrap();
        let list = json!({
            "apiVersion": "tidegate.io/v1alpha1", "kind": "RolloutList",
            "metadata": {"resourceVersion": "7"}, "items": [rollout],
        });
        Answer::Json(list)
    }

    /// A watch that begins, and is ended by the API server.
    fn ended_with(code: u16, message: &str) -> Answer {
        let status = json!({"kind": "Status", "status": "Failure", "code": code, "message": message, "reason": "R"});
        Answer::Json(json!({"type": "ERROR", "object": status}))
    }

    /// Watches a Rollout at an API server that answers like this, and then no more.
    fn watching(answers: Vec<Answer>) -> impl Stream<Item = Result<Change, Ended>> {
        let script = Script::default();
        for answer in answers {
            script.once("GET rollouts", answer);
        }
        script.always("GET rollouts", Answer::Never);
        changes(Api::namespaced(script.client(), "shop"), "shop", "checkout")
    }

    async fn told(answers: Vec<Answer>, count: usize) -> Vec<String> {
        let mut changes = pin!(watching(answers));
        let mut told = Vec::new();
        for _ in 0..count {
            told.push(match next(&mut changes).await {
                Ok(Change::Now(rollout)) => rollout.metadata.name.unwrap(),
                Ok(Change::Lost(why)) => format!("lost: {why}"),
                Err(ended) => format!("ended: {ended}"),
            });
        }
        told
    }

    const DENIED: &str = r#"rollouts.tidegate.io is forbidden: User "ada" cannot list it"#;

    #[tokio::test(start_paused = true)]
    async fn who_may_not_list_is_told_which_right_is_missing() {
        let told = told(vec![refused(403, DENIED)], 1).await;
        let right =
            "the verbs `list` and `watch` for `rollouts.tidegate.io` in the namespace `shop`";
        assert!(
            told[0].starts_with("ended: ") && told[0].contains(right) && told[0].contains(DENIED),
            "{told:?}"
        );
    }

    #[tokio::test(start_paused = true)]
    async fn who_may_not_watch_is_told_so_after_the_first_look() {
        let told = told(vec![listed(), refused(403, DENIED)], 2).await;
        assert_eq!(told[0], "checkout");
        assert!(told[1].contains("the verbs `list` and `watch`"), "{told:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn credentials_that_expire_end_the_watch() {
        let told = told(vec![listed(), ended_with(401, "Unauthorized")], 2).await;
        assert_eq!(told[0], "checkout");
        assert!(
            told[1].starts_with("ended: authentication has failed: log in again"),
            "{told:?}"
        );
    }

    #[tokio::test(start_paused = true)]
    async fn a_lost_connection_is_told_and_that_it_is_back_too() {
        let answers = vec![
            listed(),
            Answer::BreaksOff,
            refused(503, "etcd has no leader"),
            listed(),
        ];
        insta::assert_snapshot!(told(answers, 4).await.join("\n"), @r"
        checkout
        lost: connection refused
        lost: etcd has no leader
        checkout
        ");
    }

    #[tokio::test(start_paused = true)]
    async fn a_watch_that_has_become_too_old_is_no_loss() {
        let answers = vec![listed(), ended_with(410, "too old"), listed()];
        assert_eq!(told(answers, 2).await, ["checkout", "checkout"]);
    }

    fn at(time: &str) -> Timestamp {
        time.parse().unwrap()
    }

    #[test]
    fn a_loss_keeps_its_beginning_and_tells_the_last_error() {
        let first = Lost::on(None, "refused".to_owned(), at("2026-11-25T10:03:05Z"));
        let second = Lost::on(
            Some(first),
            "no route".to_owned(),
            at("2026-11-25T10:04:00Z"),
        );
        assert_eq!(
            second.to_string(),
            "connection lost since 10:03:05 UTC: no route"
        );
    }
}
