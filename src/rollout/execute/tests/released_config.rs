//! Effects on config that is released with a revision.

use tidegate_api::{
    config::{ConfigCopy, ConfigKind, ReleasedConfig},
    names,
};

use super::*;

fn put(bench: &Bench, kind: &str, name: &str, data: &Value, changed: &[&str]) {
    let keys = json!(changed).to_string();
    let object = json!({
        "apiVersion": "v1", "kind": kind, "data": data,
        "metadata": { "name": name, "annotations": { names::CONFIG_KEYS_ANNOTATION: keys } },
    });
    let path = format!("{}s/{name}", kind.to_lowercase());
    bench.script.put(&path, object);
}

fn data(bench: &Bench, path: &str) -> Option<Value> {
    Some(bench.script.get(path)?["data"].take())
}

/// An attempt whose template names the ConfigMap `web` and the Secret `db`, of which the canary reads copies.
async fn promoting() -> Bench {
    let mut bench = Bench::new().await;
    let copy = |kind, name: &str| ConfigCopy {
        kind,
        name: name.to_owned(),
        copy: format!("{name}-canary"),
    };
    let config = ReleasedConfig {
        digest: "abc".to_owned(),
        copies: vec![
            copy(ConfigKind::ConfigMap, "web"),
            copy(ConfigKind::Secret, "db"),
        ],
    };
    let since = "2026-01-01T00:00:00Z";
    let status = json!({
        "stable": { "revision": "stable", "podTemplateHash": "abc", "since": since },
        "attempt": {
            "number": 1, "id": "id", "revision": revision().as_str(), "sequence": 2, "startedAt": since,
            "plan": bench.rollout.spec, "stage": "UpdatingStable", "stageSince": since,
            "stableTemplateUpdated": true, "config": config,
        },
    });
    bench.rollout.status = Some(serde_json::from_value(status).unwrap());
    let before = json!({ "color": "blue", "old": "x", "of-others": "1" });
    put(&bench, "ConfigMap", "web", &before, &[]);
    let after = json!({ "color": "green", "of-others": "1" });
    put(&bench, "ConfigMap", "web-canary", &after, &["color", "old"]);
    put(
        &bench,
        "Secret",
        "db-canary",
        &json!({ "token": "Zm9v" }),
        &["token"],
    );
    bench
}

fn write(bench: &Bench, of_attempt: bool) -> Action {
    let status = bench.rollout.status.as_ref().unwrap();
    Action::WriteConfig(if of_attempt {
        status.attempt.as_ref().unwrap().revision.clone()
    } else {
        status.stable.as_ref().unwrap().revision.clone()
    })
}

/// Paths of the copies of what was there before.
fn former(bench: &Bench) -> Vec<String> {
    let mut paths = Vec::new();
    for plural in ["configmaps", "secrets"] {
        for object in bench.script.list(plural) {
            let name = object["metadata"]["name"].as_str().unwrap();
            if name.contains("-stable-") {
                paths.push(format!("{plural}/{name}"));
            }
        }
    }
    paths
}

#[tokio::test]
async fn what_stable_reads_is_kept_then_written_and_put_back_whole() {
    let bench = promoting().await;
    run_one(&bench, write(&bench, true)).await.unwrap();
    assert_eq!(
        data(&bench, "configmaps/web"),
        Some(json!({ "color": "green", "of-others": "1" }))
    );
    assert_eq!(data(&bench, "secrets/db"), Some(json!({ "token": "Zm9v" })));
    let [web, _] = former(&bench).try_into().unwrap();
    assert_eq!(
        data(&bench, &web),
        Some(json!({ "color": "blue", "of-others": "1", "old": "x" }))
    );
    let owner = bench.script.get(&web).unwrap()["metadata"]["labels"].take();
    assert_eq!(owner[names::ROLLOUT_LABEL], "checkout");

    // Once more, as after a crash: what was kept is there already and stays, and nothing else is to be written.
    bench.script.writes();
    run_one(&bench, write(&bench, true)).await.unwrap();
    assert_eq!(
        bench.script.short_writes(),
        ["POST configmaps", "POST secrets"]
    );

    run_one(&bench, write(&bench, false)).await.unwrap();
    assert_eq!(
        data(&bench, "configmaps/web"),
        Some(json!({ "color": "blue", "of-others": "1", "old": "x" }))
    );
    assert_eq!(data(&bench, "secrets/db"), None, "it was not there before");
}

#[tokio::test]
async fn a_crash_between_two_objects_is_put_back_as_far_as_it_came() {
    let bench = promoting().await;
    bench.script.refuse("POST secrets", 500);
    run_one(&bench, write(&bench, true)).await.unwrap_err();
    assert_eq!(
        data(&bench, "configmaps/web"),
        Some(json!({ "color": "green", "of-others": "1" }))
    );
    bench.script.refuse_nothing();
    run_one(&bench, write(&bench, false)).await.unwrap();
    assert_eq!(
        data(&bench, "configmaps/web"),
        Some(json!({ "color": "blue", "of-others": "1", "old": "x" }))
    );
}

#[tokio::test]
async fn where_nothing_was_written_nothing_is_put_back() {
    let bench = promoting().await;
    run_one(&bench, write(&bench, false)).await.unwrap();
    assert_eq!(bench.script.short_writes(), Vec::<String>::new());
}

#[tokio::test]
async fn config_is_released_with_the_accounts_right_and_put_back_with_tidegates() {
    let bench = promoting().await;
    run_one(&bench, write(&bench, true)).await.unwrap();
    let asked: Vec<Asked> = bench.script.writes();
    assert!(
        asked
            .iter()
            .all(|asked| !asked.header("impersonate-user").is_empty())
    );
    run_one(&bench, write(&bench, false)).await.unwrap();
    let asked: Vec<Asked> = bench.script.writes();
    assert!(!asked.is_empty());
    assert!(
        asked
            .iter()
            .all(|asked| asked.header("impersonate-user").is_empty())
    );
}

#[tokio::test]
async fn a_copy_that_is_lost_is_said_with_what_to_do() {
    let bench = promoting().await;
    bench.script.delete("configmaps/web-canary");
    let error = run_one(&bench, write(&bench, true)).await.unwrap_err();
    insta::assert_snapshot!(error.refusal().unwrap(), @"the ConfigMap web-canary is lost, and with it the content of ConfigMap web that the canary was verified with; abort the attempt, and have the revision tried again");
    assert_eq!(
        data(&bench, "configmaps/web"),
        Some(json!({ "color": "blue", "of-others": "1", "old": "x" }))
    );
}

#[tokio::test]
async fn keys_that_somebody_else_writes_meanwhile_stay_theirs() {
    let bench = promoting().await;
    let rotate = |to: &str| {
        bench
            .script
            .edit("configmaps/web", |web| web["data"]["of-others"] = json!(to));
    };
    rotate("2");
    run_one(&bench, write(&bench, true)).await.unwrap();
    let released = json!({ "color": "green", "of-others": "2" });
    assert_eq!(data(&bench, "configmaps/web"), Some(released));
    rotate("3");
    run_one(&bench, write(&bench, false)).await.unwrap();
    let back = json!({ "color": "blue", "of-others": "3", "old": "x" });
    assert_eq!(data(&bench, "configmaps/web"), Some(back));
}

#[tokio::test]
async fn what_was_there_before_and_is_lost_is_not_taken_for_put_back() {
    let bench = promoting().await;
    run_one(&bench, write(&bench, true)).await.unwrap();
    for path in former(&bench) {
        bench.script.delete(&path);
    }
    let error = run_one(&bench, write(&bench, false)).await.unwrap_err();
    let refusal = error.refusal().unwrap();
    assert!(
        refusal.contains("is lost, and with it what ConfigMap web had before"),
        "{refusal}"
    );
}

#[tokio::test]
async fn what_is_said_of_a_secret_stays_untold() {
    let bench = promoting().await;
    bench
        .script
        .fail("POST secrets", 422, "data.token: Invalid value: sesame");
    let error = run_one(&bench, write(&bench, true)).await.unwrap_err();
    let refusal = error.refusal().unwrap();
    assert!(refusal.contains("withheld") && !format!("{refusal} {error:?}").contains("sesame"));
}

#[tokio::test]
async fn copies_go_with_a_promotion_but_for_those_that_the_next_revision_names() {
    let mut bench = promoting().await;
    let status = bench.rollout.status.as_mut().unwrap();
    let attempt = status.attempt.as_mut().unwrap();
    attempt.promoted_pod_template_hash = Some(VersionId::new("def"));
    run_one(&bench, write(&bench, true)).await.unwrap();
    run_one(&bench, Action::DeleteCanary).await.unwrap();
    assert_eq!(former(&bench), Vec::<String>::new());
    assert_eq!(data(&bench, "configmaps/web-canary"), None);
}
