//! Leadership against an API server that answers from a script, under a clock that stands still
//! until it is told.
#![expect(clippy::unwrap_used, reason = "a test may panic")]

use serde_json::{Value, json};
use tokio::task::JoinHandle;

use super::*;
use crate::kubernetes::{fence::Fence, testing::Script};

const PATH: &str = "/apis/coordination.k8s.io/v1/namespaces/tidegate/leases/leader";
const DURATION: Duration = Duration::from_secs(15);

/// A process that stands for leadership.
struct Stand {
    fence: Fence,
    ending: CancellationToken,
    task: JoinHandle<()>,
}

fn stand_as(script: &Script, identity: &str) -> Stand {
    stand_where_attempts_bear(0, script, identity)
}

fn stand_where_attempts_bear(min_epoch: u64, script: &Script, identity: &str) -> Stand {
    let config = LeaseConfig {
        namespace: "tidegate".to_owned(),
        lease: "leader".to_owned(),
        identity: identity.to_owned(),
        duration: DURATION,
    };
    let (term, terms) = watch::channel(None);
    let ending = CancellationToken::new();
    let task = tokio::spawn(run_election(
        script.client(),
        config,
        move || min_epoch,
        term,
        ending.clone(),
    ));
    Stand {
        fence: Fence::new(terms),
        ending,
        task,
    }
}

fn lease(holder: &str, transitions: i32) -> Value {
    json!({
        "apiVersion": "coordination.k8s.io/v1",
        "kind": "Lease",
        "metadata": { "name": "leader", "namespace": "tidegate" },
        "spec": { "holderIdentity": holder, "leaseDurationSeconds": 15, "leaseTransitions": transitions },
    })
}

fn held(holder: &str, transitions: i32) -> Script {
    let script = Script::default();
    script.put(PATH, lease(holder, transitions));
    script
}

fn holder(script: &Script) -> Value {
    script.get(PATH).unwrap()["spec"]["holderIdentity"].clone()
}

// === impl Stand ===

impl Stand {
    /// Lets this much time pass; what is due meanwhile is done.
    async fn after(&self, time: Duration) -> Option<u64> {
        let end = tokio::time::Instant::now() + time;
        // A paused clock goes on to the next timer by itself once nobody has anything to do.
        tokio::time::sleep_until(end).await;
        self.fence.epoch().ok()
    }
}

#[tokio::test(start_paused = true)]
async fn a_free_lease_is_taken_at_once_with_a_greater_epoch() {
    let script = held("", 4);
    let stand = stand_as(&script, "one");
    assert_eq!(stand.after(Duration::from_millis(10)).await, Some(5));
    assert_eq!(holder(&script), "one");
}

#[tokio::test(start_paused = true)]
async fn a_lease_that_is_held_is_left_alone() {
    let script = held("other", 4);
    let stand = stand_as(&script, "one");
    for renewal in 0..10 {
        script.put(PATH, lease("other", 4));
        assert_eq!(
            stand.after(DURATION / 2).await,
            None,
            "after {renewal} renewals"
        );
    }
    assert!(script.writes().is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_lease_whose_holder_is_silent_is_taken_after_its_duration_and_not_before() {
    let script = held("other", 4);
    let stand = stand_as(&script, "one");
    assert_eq!(
        stand
            .after(DURATION.saturating_sub(Duration::from_secs(1)))
            .await,
        None
    );
    assert_eq!(stand.after(Duration::from_secs(5)).await, Some(5));
    assert_eq!(holder(&script), "one");
}

#[tokio::test(start_paused = true)]
async fn a_leader_that_cannot_renew_stops_before_the_lease_ends() {
    let script = held("", 0);
    let stand = stand_as(&script, "one");
    assert_eq!(stand.after(Duration::from_millis(10)).await, Some(1));
    script.refuse("PUT tidegate/leases/leader", 500);
    assert_eq!(stand.after(DURATION * 2 / 3).await, None);
    script.refuse_nothing();
    assert_eq!(
        stand.after(DURATION).await,
        Some(1),
        "its own lease is renewed, in the same epoch"
    );
}

#[tokio::test(start_paused = true)]
async fn a_container_that_is_restarted_takes_its_own_lease_back_in_a_greater_epoch() {
    let script = held("one", 4);
    let stand = stand_as(&script, "one");
    assert_eq!(stand.after(Duration::from_millis(10)).await, Some(5));
}

#[tokio::test(start_paused = true)]
async fn a_lease_that_somebody_annotates_stays_ours_in_the_same_epoch() {
    let script = held("", 4);
    let stand = stand_as(&script, "one");
    assert_eq!(stand.after(Duration::from_millis(10)).await, Some(5));
    let mut annotated = script.get(PATH).unwrap();
    annotated["metadata"]["annotations"] = json!({ "note": "mine" });
    script.put(PATH, annotated);
    assert_eq!(stand.after(DURATION).await, Some(5));
}

#[tokio::test(start_paused = true)]
async fn a_lease_that_is_held_costs_twenty_requests_a_minute() {
    let script = held("", 4);
    let stand = stand_as(&script, "one");
    stand.after(Duration::from_millis(10)).await;
    script.requests();
    stand.after(Duration::from_mins(1)).await;
    assert!(script.requests().len() <= 20);
}

#[tokio::test(start_paused = true)]
async fn who_loses_the_race_for_a_lease_does_not_lead() {
    let script = held("", 0);
    script.refuse("PUT tidegate/leases/leader", 409);
    let stand = stand_as(&script, "one");
    assert_eq!(stand.after(DURATION).await, None);
}

#[tokio::test(start_paused = true)]
async fn the_lease_is_given_back_at_the_end() {
    let script = held("", 0);
    let stand = stand_as(&script, "one");
    stand.after(Duration::from_millis(10)).await;
    stand.ending.cancel();
    stand.task.await.unwrap();
    assert_eq!(holder(&script), Value::Null);
    assert!(stand.fence.epoch().is_err());
    let next = stand_as(&script, "two");
    assert_eq!(next.after(Duration::from_millis(10)).await, Some(2));
}

#[tokio::test(start_paused = true)]
async fn a_lease_that_was_lost_counts_on_from_what_attempts_bear() {
    let fresh = Script::default();
    assert_eq!(
        stand_where_attempts_bear(7, &fresh, "one")
            .after(DURATION)
            .await,
        Some(8)
    );
    let given_back = held("", 2);
    assert_eq!(
        stand_where_attempts_bear(7, &given_back, "one")
            .after(DURATION)
            .await,
        Some(8)
    );
    let ours = held("one", 2);
    assert_eq!(
        stand_where_attempts_bear(7, &ours, "one")
            .after(DURATION)
            .await,
        Some(8)
    );
}

#[tokio::test(start_paused = true)]
async fn a_renewal_is_no_beginning_unless_the_term_had_run_out() {
    let (term, terms) = watch::channel(None);
    let mut became_leader = std::pin::pin!(became_leader(terms));
    let mut begins = async |epoch, seconds| {
        let until = clock::monotonic() + Duration::from_secs(seconds);
        term.send_replace(Some(Term { epoch, until }));
        tokio::time::timeout(Duration::from_millis(1), became_leader.next())
            .await
            .is_ok()
    };
    assert!(begins(1, 10).await);
    assert!(!begins(1, 10).await, "renewed in time");
    tokio::time::advance(Duration::from_secs(11)).await;
    assert!(begins(1, 10).await, "nothing was decided in between");
    assert!(begins(2, 10).await);
}
