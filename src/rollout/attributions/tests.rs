#![expect(clippy::unwrap_used, reason = "a test may panic")]

use kube::core::DeserializeGuard;
use serde_json::{Value, json};

use super::*;
use crate::{
    kubernetes::testing::{Answer, Asked as Request},
    testing::Bench,
};

/// Words around a policy's denial.
const DENIED: &str = "interventions.tidegate.io \"checkout-\" is forbidden: ValidatingAdmissionPolicy 'names' with \
                      binding 'names' denied request: spec.by must be your own name";

fn approval() -> Value {
    json!({
        "apiVersion": "tidegate.io/v1alpha1",
        "kind": "Intervention",
        "metadata": {
            "name": "approve", "namespace": "shop", "uid": "i-1", "resourceVersion": "1",
            "labels": { "team": "web" },
        },
        "spec": {
            "rollout": "checkout", "attempt": 2, "step": 1, "action": "Approve",
            "revision": "0123456789", "reason": "it looks well", "by": "ada",
        },
    })
}

/// A leader whose API server knows it by name.
async fn bench() -> Bench {
    let bench = Bench::new().await;
    let review =
        json!({ "metadata": {}, "spec": {}, "status": { "userInfo": { "username": "tidegate" } } });
    bench.script.always(
        "POST /apis/authentication.k8s.io/v1/selfsubjectreviews",
        Answer::Json(review),
    );
    bench
}

/// The attribution of an approval, once there is one.
async fn attribution_of_approval(bench: &mut Bench) -> Attribution {
    let approval: Intervention = serde_json::from_value(approval()).unwrap();
    let open = [observed::Intervention {
        name: "approve".to_owned(),
        uid: "i-1".to_owned(),
        spec: approval.spec.clone(),
        attribution: Attribution::Unknown,
    }];
    let (caches, attributions) = (&bench.ctx.caches, &bench.ctx.memory.attributions);
    caches
        .interventions
        .keep_answer(DeserializeGuard(Ok(approval)));
    for _ in 0..2 {
        // It is asked once, however often its Rollout is decided on.
        attributions.ask(&bench.script.client(), caches, bench.subject().id, &open);
    }
    bench.woken.recv().await.unwrap();
    let answer = attributions.answers(bench.subject().id)["i-1"].clone();
    attributions.ask(&bench.script.client(), caches, bench.subject().id, &[]);
    assert!(attributions.answers(bench.subject().id).is_empty());
    answer
}

fn names(writes: &[Request]) -> Vec<&str> {
    let made = writes
        .iter()
        .filter(|write| write.short() == "POST interventions");
    made.map(|write| write.body["spec"]["by"].as_str().unwrap())
        .collect()
}

#[tokio::test]
async fn a_name_is_believed_where_nobodys_is_denied_and_our_own_is_not() {
    for (code, message) in [
        (422, DENIED),
        (401, DENIED),
        (
            409,
            "admission webhook \"names.example.com\" denied the request: not your name",
        ),
    ] {
        let mut bench = bench().await;
        bench.script.fail("POST interventions", code, message);
        assert_eq!(
            attribution_of_approval(&mut bench).await,
            Attribution::Enforced
        );
        let writes = bench.script.writes();
        assert_eq!(names(&writes), [NOBODY, "tidegate"]);
        for asked in writes
            .iter()
            .filter(|one| one.short() == "POST interventions")
        {
            assert!(asked.query.contains("dryRun=All"));
            assert_eq!(asked.body["metadata"]["labels"]["team"], "web");
            assert_eq!(asked.body["spec"]["step"], 1);
        }
    }
}

#[tokio::test]
async fn a_policy_that_denies_for_another_cause_is_no_check_of_names() {
    let mut bench = bench().await;
    let denial = Answer::Refused(403, DENIED.to_owned());
    bench.script.always("POST interventions", denial);
    let said = Some(DENIED.to_owned());
    assert_eq!(
        attribution_of_approval(&mut bench).await,
        Attribution::Missing { said }
    );
}

#[tokio::test]
async fn without_a_policy_no_name_is_believed() {
    let mut bench = bench().await;
    assert_eq!(
        attribution_of_approval(&mut bench).await,
        Attribution::Missing { said: None }
    );
    assert_eq!(names(&bench.script.writes()), [NOBODY]);
}

#[tokio::test]
async fn a_missing_right_and_a_full_quota_are_no_denials() {
    for message in [
        "interventions.tidegate.io is forbidden: User \"tidegate\" cannot create resource",
        "interventions.tidegate.io \"checkout-\" is forbidden: exceeded quota: few",
    ] {
        let mut bench = bench().await;
        bench.script.fail("POST interventions", 403, message);
        let said = Some(message.to_owned());
        assert_eq!(
            attribution_of_approval(&mut bench).await,
            Attribution::Missing { said }
        );
    }
}

#[tokio::test(start_paused = true)]
async fn who_asked_is_told_where_the_api_server_does_not_answer() {
    let mut bench = bench().await;
    bench.script.refuse("POST interventions", 500);
    let Attribution::Missing { said: Some(said) } = attribution_of_approval(&mut bench).await
    else {
        panic!("it was believed");
    };
    assert!(said.contains("the script says so"), "{said}");
    assert_eq!(
        names(&bench.script.writes()).len(),
        PAUSES.len() + 1,
        "it was tried again"
    );
}
