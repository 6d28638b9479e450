//! Effects on a workload that is held.

use serde_json::Value;
use tidegate_engine::revision::Digest;

use super::*;
use crate::kubernetes::pod_template::PodTemplate;

/// Digest of the template that the Deployment has.
fn live(bench: &Bench) -> Digest {
    let deployment = bench.script.get("deployments/checkout").unwrap();
    PodTemplate::of(deployment["spec"]["template"].clone()).digest
}

fn kept(bench: &Bench, revision: &Revision) -> Option<Value> {
    let name = revision.object_name("checkout");
    bench.script.get(&format!("controllerrevisions/{name}"))
}

#[tokio::test]
async fn what_somebody_has_applied_becomes_the_newest_revision() {
    let bench = Bench::new().await;
    let revision = Revision::named(live(&bench).to_string());
    run_one(&bench, Action::KeepCandidate(revision.clone()))
        .await
        .unwrap();
    let kept = kept(&bench, &revision).unwrap();
    assert_eq!(kept["revision"], 3, "the newest before has 2");
    assert_eq!(
        kept["data"]["template"]["spec"]["containers"][0]["image"],
        "checkout:1"
    );
    let annotations = kept["metadata"]["annotations"].as_object().unwrap();
    assert!(
        annotations.keys().all(|key| !key.contains("config-repo")),
        "nobody's commit asks for it: {annotations:?}"
    );
}

#[tokio::test]
async fn what_has_changed_since_is_not_kept_under_another_name() {
    let bench = Bench::new().await;
    let other = Revision::named("0".repeat(64));
    let error = run_one(&bench, Action::KeepCandidate(other.clone()))
        .await
        .unwrap_err();
    assert!(matches!(error, ExecuteError::Changed(_)), "{error}");
    assert_eq!(kept(&bench, &other), None);
}

#[tokio::test]
async fn what_is_the_newest_already_is_not_written_again() {
    let bench = Bench::new().await;
    run_one(&bench, Action::KeepCandidate(revision()))
        .await
        .unwrap();
    assert!(bench.script.short_writes().is_empty());
}

#[tokio::test]
async fn a_hold_bears_the_template_that_it_began_with_and_leaves_no_mark() {
    let bench = Bench::new().await;
    let digest = live(&bench);
    let hold = |paused, hold| Action::SetWorkload {
        paused,
        hold,
        epoch: None,
    };
    run_one(&bench, hold(true, Hold::At(digest))).await.unwrap();
    let held = bench.script.get("deployments/checkout").unwrap();
    assert_eq!(held["spec"]["paused"], true);
    let mark = &held["metadata"]["annotations"]["tidegate.io/held"];
    assert_eq!(*mark, digest.to_string());
    run_one(&bench, hold(false, Hold::Off)).await.unwrap();
    let free = bench.script.get("deployments/checkout").unwrap();
    assert_eq!(free["spec"].get("paused"), None);
    let marks = free["metadata"]["annotations"].as_object();
    assert!(marks.is_none_or(|marks| !marks.contains_key("tidegate.io/held")));
}
