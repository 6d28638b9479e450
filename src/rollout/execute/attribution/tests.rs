#![expect(clippy::unwrap_used, reason = "a test may panic")]

use kube::core::DeserializeGuard;
use serde_json::json;

use super::*;
use crate::{kubernetes::testing::Asked, testing::Bench};

/// A leader that is asked for an approval.
async fn asked_to_approve() -> Bench {
    let bench = Bench::new().await;
    let approval = json!({
        "apiVersion": "tidegate.io/v1alpha1",
        "kind": "Intervention",
        "metadata": { "name": "approve", "namespace": "shop", "uid": "i-1", "resourceVersion": "1" },
        "spec": {
            "rollout": "checkout", "attempt": 2, "step": 1, "action": "Approve",
            "revision": "0123456789", "reason": "it looks well", "by": "ada",
        },
    });
    let approval = serde_json::from_value(approval).unwrap();
    let cache = &bench.ctx.caches.interventions;
    cache.keep_answer(DeserializeGuard(Ok(approval)));
    bench
}

async fn attribution(bench: &Bench) -> Result<(String, Attribution), ExecuteError> {
    let subject = bench.subject();
    let effects = Effects::new(&bench.ctx, &subject);
    effects.check_attribution("approve").await
}

#[tokio::test]
async fn the_same_is_asked_for_in_the_name_of_nobody_and_nothing_is_created() {
    let bench = asked_to_approve().await;
    let (uid, attribution) = attribution(&bench).await.unwrap();
    assert_eq!(uid, "i-1");
    assert_eq!(attribution, Attribution::Missing { said: None });
    let writes = bench.script.writes();
    let places: Vec<_> = writes.iter().map(Asked::short).collect();
    assert_eq!(places, ["POST interventions"]);
    assert!(writes[0].query.contains("dryRun=All"));
    let spec = &writes[0].body["spec"];
    assert_eq!(spec["by"], NOBODY);
    assert_eq!(
        (&spec["action"], &spec["step"]),
        (&json!("Approve"), &json!(1))
    );
}

#[tokio::test]
async fn only_a_policys_denial_is_taken_for_one() {
    let denials = [
        (
            422,
            "interventions.tidegate.io \"checkout-\" is forbidden: ValidatingAdmissionPolicy 'names' with \
             binding 'names' denied request: spec.by must be your own name",
        ),
        (
            400,
            "admission webhook \"names.example.com\" denied the request: not your name",
        ),
    ];
    for (code, message) in denials {
        let bench = asked_to_approve().await;
        bench.script.fail("POST interventions", code, message);
        assert_eq!(attribution(&bench).await.unwrap().1, Attribution::Enforced);
    }
    for message in [
        "interventions.tidegate.io is forbidden: User \"tidegate\" cannot create resource",
        "interventions.tidegate.io \"checkout-\" is forbidden: exceeded quota: few",
    ] {
        let bench = asked_to_approve().await;
        bench.script.fail("POST interventions", 403, message);
        let said = Some(message.to_owned());
        assert_eq!(
            attribution(&bench).await.unwrap().1,
            Attribution::Missing { said }
        );
    }
}

#[tokio::test]
async fn an_api_server_that_does_not_answer_is_asked_again() {
    let bench = asked_to_approve().await;
    bench
        .script
        .fail("POST interventions", 500, "failed calling webhook");
    let error = attribution(&bench).await.unwrap_err();
    assert!(error.to_string().contains("in another's name"), "{error}");
}
