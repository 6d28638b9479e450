//! Rollouts in words.
#![expect(clippy::unwrap_used, reason = "a test may panic")]

use serde_json::json;

use super::{surroundings::Brake, *};

fn rollout(change: &Value) -> Rollout {
    let mut rollout = json!({
        "apiVersion": "tidegate.io/v1alpha1", "kind": "Rollout",
        "metadata": { "name": "checkout", "namespace": "shop" },
        "spec": {
            "workload": { "kind": "Deployment", "name": "checkout" },
            "traffic": { "routes": [{ "kind": "HTTPRoute", "name": "checkout" }] },
            "steps": [
                { "weight": 1, "hold": "1m" },
                { "weight": 10, "hold": "5m" },
                { "approval": { "timeout": "24h" } },
                { "weight": 50, "hold": "10m" },
            ],
            "gates": [{
                "name": "errors",
                "threshold": { "query": "sum(rate(x_total{namespace=\"{{namespace}}\",pod=~\"{{pods}}\"}[{{window}}]))", "max": 0.01 },
                "requests": "sum(increase(x_total{pod=~\"{{pods}}\"}[{{window}}]))",
            }],
        },
    });
    json_patch::merge(&mut rollout, change);
    serde_json::from_value(rollout).unwrap()
}

fn told(change: &Value, surroundings: &Surroundings) -> String {
    text::text(&explain(&rollout(change), surroundings).unwrap())
}

#[test]
fn a_rollout_in_a_file_is_explained_by_what_is_written() {
    insta::assert_snapshot!(told(&json!({}), &Surroundings::of_file(None)), @r#"
    Rollout shop/checkout
      It releases the Deployment checkout, which callers reach by the Service checkout; traffic is split in HTTPRoute checkout.

    When it is adopted
      The Deployment is taken for stable as it runs; nothing restarts.
      A new template does not roll out by itself: where a ConfigRepo applies the Deployment it leaves the template out, and where anybody else does, Tidegate keeps the Deployment paused.
      A Deployment that does not exist yet is deployed without steps, and is stable once it is ready.
      ConfigMaps and Secrets that the template names are released with it, or alone, where a ConfigRepo applies them all; where anybody else does they are live at once.

    A release goes through these steps
       1      1%  1% of stable's replicas, at least 1   at least 1m
       2     10%  10% of stable's replicas, at least 1  at least 5m
       3     10%  10% of stable's replicas, at least 1  until an approval: kubectl tidegate approve checkout -n shop --reason WHY; after 24h without one the attempt ends Aborted
       4     50%  50% of stable's replicas, at least 1  at least 10m
       5    100%  as many replicas as stable            at least 10m; added, as the steps do not end with 100%
      A step begins when the canary's pods are ready, their endpoints have been the same for 2s, and every gateway has accepted the weight.
      It goes on when the hold is over and each enforced gate passes with readings of this step: errors.

    Then it is promoted
      The verified template is written into the Deployment checkout, which rolls out while the canary has all traffic; gates are still read.
      Traffic goes back to the rolled-out pods, and the canary, the pins and the pause of the attempt are removed.
      At least 26m from the first step until then: the holds. Approvals, the start of pods and gates that do not pass yet come on top.

    Gates
      errors: max 0.01
        It is read every 15s.
        It passes with at least 20 requests; with fewer it waits, and after 1h the attempt ends Aborted and is retried later.
        Without data it waits, and after 10m the attempt ends Aborted and is retried later.
        While queries fail it waits, and after 10m the attempt ends Aborted and is retried later.
        value: sum(rate(x_total{namespace="shop",pod=~"(checkout-canary-HASH-[a-z0-9]{5})"}[300s]))
        requests: sum(increase(x_total{pod=~"(checkout-canary-HASH-[a-z0-9]{5})"}[300s]))

    What else may happen
      A breach of an enforced gate: all traffic goes to stable at once, the attempt ends RolledBack, and the revision is not tried again until git has changed away from it and back, or somebody asks: kubectl tidegate retry checkout -n shop --reason WHY.
      A canary whose pods do not become ready by their own fault within 10m (without progress): RolledBack. What is not its fault, such as a quota, is waited for 1h, and the attempt ends Aborted and is retried later.
      A newer revision: the attempt ends Superseded, and the newer one is tried.
      While stable has no ready pod, all traffic goes to the canary, if its step has a weight and its approvals.
      A revision that was promoted before, as by a git revert, skips holds and gates; approvals stay.

    In git
      Where a ConfigRepo applies the workload, the outcome is recorded on its branch for records, with the evidence.
      A rollback changes the applied branch as onRollback of the ConfigRepo says: not at all by default.
    "#);
}

#[test]
fn a_rollout_in_a_cluster_is_explained_by_what_is_there() {
    let change = json!({
        "spec": {
            "traffic": { "routes": null, "replicas": {} },
            "steps": [{ "weight": 0 }, { "approval": {} }, { "weight": 25, "hold": "10m" }, { "weight": 100, "hold": "0s" }],
            "onRollback": { "git": "Restore" }, "onNewRevision": "Wait", "failover": "Never", "knownGood": "Steps",
            "canary": { "keepFailed": "30m" }, "metrics": { "ingestDelay": "30s" },
            "gates": [{
                "name": "slow", "mode": "Observe", "warmup": "1m", "onNoData": "Rollback",
                "breachWindow": { "query": "max(t{pod=~\"{{pods}}\",revision=\"{{revision}}\"})", "max": 0.8, "maxBreaches": 3, "within": "5m" },
            }],
        },
        "status": { "attempt": {
            "number": 4, "id": "ab", "revision": "0123456789abcdef", "sequence": 7, "startedAt": "2026-11-25T10:00:00Z",
            "plan": rollout(&json!({})).spec, "stage": "Stepping", "stageSince": "2026-11-25T10:00:10Z",
            "canaryPodTemplateHash": "5d4f8c7b9",
        } },
    });
    let surroundings = Surroundings {
        replicas: Some(6),
        brake: Brake::Pause,
    };
    insta::assert_snapshot!(told(&change, &surroundings), @r#"
    Rollout shop/checkout
      It releases the Deployment checkout, which callers reach by the Service checkout; traffic is shared by replicas.

    When it is adopted
      The Deployment is taken for stable as it runs; nothing restarts.
      A new template is applied and does not roll: Tidegate keeps the Deployment paused.
      A Deployment that does not exist yet is deployed without steps, and is stable once it is ready.
      ConfigMaps and Secrets are live as soon as they are applied; those whose names change with their content are released with the template.

    A release goes through these steps
       1      0%  1 replica   no minimum
       2      0%  1 replica   until an approval: kubectl tidegate approve checkout -n shop --reason WHY
       3     25%  2 replicas  at least 10m
       4    100%  6 replicas  no minimum
      A step begins when the canary's pods are ready, their endpoints have been the same for 2s, and the Services select them.
      No gate has to pass.

    Then it is promoted
      The verified template is written into the Deployment checkout, which rolls out while the canary has all traffic; gates are still read.
      Traffic goes back to the rolled-out pods, and the canary, the pins and the pause of the attempt are removed.
      At least 10m from the first step until then: the holds. Approvals, the start of pods and gates that do not pass yet come on top.

    Gates
      slow: max 0.8, 3 bad readings allowed in 5m (observed)
        It is read every 15s.
        The first reading is 1m after a weight was accepted.
        Readings are as of 30s ago.
        It is only observed: it holds nothing up and rolls nothing back.
        value: max(t{pod=~"(checkout-canary-5d4f8c7b9-[a-z0-9]{5})",revision="0123456789"})

    What else may happen
      A breach of an enforced gate: all traffic goes to stable at once, the attempt ends RolledBack, and the revision is not tried again until git has changed away from it and back, or somebody asks: kubectl tidegate retry checkout -n shop --reason WHY.
      A canary whose pods do not become ready by their own fault within 10m (without progress): RolledBack. What is not its fault, such as a quota, is waited for 1h, and the attempt ends Aborted and is retried later.
      A newer revision waits until the attempt has ended.
      While stable has no ready pod, traffic stays where it is.
      A revision that was promoted before goes through all steps, too.
      One pod of a canary that failed is retained for 30m, without traffic.

    In git
      Where a ConfigRepo applies the workload, the outcome is recorded on its branch for records, with the evidence.
      A rollback puts the last good template of the Deployment checkout back on the applied branch, if the rejected one is still there.
    "#);
}

#[test]
fn the_least_time_counts_what_no_hold_can_shorten() {
    let least = |change: &Value| {
        let explained = explain(&rollout(change), &Surroundings::default()).unwrap();
        explained.least_time.to_string()
    };
    assert_eq!(least(&json!({})), "26m");
    let gate = &serde_json::to_value(rollout(&json!({})).spec.gates).unwrap()[0];
    let mut gate = gate.clone();
    gate["warmup"] = json!("2m");
    assert_eq!(least(&json!({ "spec": { "gates": [gate] } })), "27m");
}

#[test]
fn a_rollout_that_cannot_be_released_says_why() {
    let error = explain(
        &rollout(&json!({ "spec": { "steps": [] } })),
        &Surroundings::default(),
    );
    let error = format!("{:#}", error.unwrap_err());
    assert!(
        error.contains("checkout cannot be released as it is written: spec.steps is empty"),
        "{error}"
    );
}

#[test]
fn rollouts_are_read_from_files_without_their_status() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("all.yaml");
    let rollout = |name: &str| {
        let mut rollout = serde_json::to_value(rollout(&json!({}))).unwrap();
        rollout["metadata"]["name"] = json!(name);
        rollout["spec"]["service"] = Value::Null;
        rollout["status"] = json!({ "phase": "No such phase" });
        rollout.to_string()
    };
    std::fs::write(
        &path,
        format!(
            "{}\n---\nkind: ConfigMap\n---\n{}\n",
            rollout("a"),
            rollout("b")
        ),
    )
    .unwrap();
    let read = read(&path).unwrap();
    let names: Vec<_> = read.iter().map(kube::ResourceExt::name_any).collect();
    assert_eq!(names, ["a", "b"]);
    assert!(is_path(&path.display().to_string()) && !is_path("checkout"));
}

#[test]
fn a_comparison_of_counts_is_explained_with_its_counters() {
    let counters = json!({ "spec": { "gates": [{ "name": "errors", "regression": {
        "bad": "x_total{pod=~\"{{pods}}\",code=~\"5..\"}", "total": "x_total{pod=~\"{{pods}}\"}",
    } }] } });
    let told = told(&counters, &Surroundings::of_file(None));
    for part in [
        "at most 1.25 times as many bad requests as stable, breached at evidence of 100 : 1",
        "It passes with at least 500 requests;",
        "Stable's counters are read at the same moment.",
        "bad requests: x_total{pod=~\"(checkout-canary-HASH-[a-z0-9]{5})\",code=~\"5..\"}",
        "all requests: x_total{",
    ] {
        assert!(told.contains(part), "{part:?} is not in {told}");
    }
}

#[test]
fn a_comparison_of_slow_requests_is_explained_with_its_buckets() {
    let slow = json!({ "spec": { "gates": [{ "name": "slow", "regression": {
        "histogram": "x_seconds{pod=~\"{{pods}}\"}", "slowerThan": "250ms",
    } }] } });
    let told = told(&slow, &Surroundings::of_file(None));
    for part in [
        "at most 1.25 times as many requests slower than 250ms as stable, breached at evidence of 100 : 1",
        "Stable's counters are read at the same moment.",
        "fast requests: x_seconds_bucket{le=~\"0[.]250*\",pod=~\"(checkout-canary-HASH-[a-z0-9]{5})\"}",
        "all requests: x_seconds_bucket{le=\"+Inf\",pod=~",
    ] {
        assert!(told.contains(part), "{part:?} is not in {told}");
    }
}

#[test]
fn a_workload_that_nobody_calls_is_explained_by_its_pods() {
    let change = json!({ "spec": {
        "traffic": { "routes": null, "replicas": { "service": "None" } },
        "steps": [{ "weight": 0 }, { "weight": 20, "hold": "1m" }, { "weight": 50, "hold": "5m" }],
    } });
    let text = told(&change, &Surroundings::of_file(Some(4)));
    for said in [
        "the Deployment checkout, which nobody calls: it takes its work by itself",
        "0 replicas",
        "1 replica ",
        "4 replicas",
        "work as soon as they run; its hold begins when all of them are ready",
        "rolls out by its own strategy beside the canary",
        "the canary's pods are taken away at once",
        "the canary keeps its share and gets no more",
    ] {
        assert!(text.contains(said), "{said:?} is not in\n{text}");
    }
    assert!(
        !text.contains("100%") && !text.contains("Service checkout"),
        "{text}"
    );
}
