//! Config that the workload's template names: it waits with the template, and the canary has copies.

use tidegate_api::names;

use super::*;

/// The shop, whose template names `settings`, with this content.
fn shop_reading(image: &str, color: &str) -> String {
    let env = "envFrom: [{configMapRef: {name: settings}}]";
    shop(image)
        .replace(
            &format!("image: {image}}}"),
            &format!("image: {image}, {env}}}"),
        )
        .replace("color: blue", &format!("color: {color}"))
}

fn color(bench: &Bench) -> Value {
    bench.api.get("configmaps/settings").unwrap()["data"]["color"].take()
}

/// The newest revision's name and its copies.
fn newest(bench: &Bench) -> (String, Vec<Value>) {
    let revisions = bench.api.list("controllerrevisions").into_iter();
    let newest = revisions
        .max_by_key(|one| one["revision"].as_i64())
        .unwrap();
    let annotations = &newest["metadata"]["annotations"];
    let copies = annotations[names::CONFIG_COPIES_ANNOTATION].as_str();
    let copies = copies.map_or_else(Vec::new, |copies| serde_json::from_str(copies).unwrap());
    (revision::of_kept(&newest["data"]).to_string(), copies)
}

/// The shop at rest, adopted as git has it, so that its pods bear no mark of config.
async fn adopted() -> Bench {
    let bench = Bench::new();
    bench.release(&shop_reading("web:1", "blue")).await;
    let (revision, copies) = newest(&bench);
    assert!(copies.is_empty(), "{copies:?}");
    bench.api.edit("rollouts/web", |rollout| {
        rollout["status"]["stable"] =
            json!({"revision": revision, "podTemplateHash": "1", "since": "2026-01-01T00:00:00Z"});
    });
    bench.reconcile().await;
    bench.requests();
    bench
}

#[tokio::test]
async fn config_alone_is_a_revision_and_waits_with_a_copy_for_the_canary() {
    let bench = adopted().await;
    let (stable, _) = newest(&bench);
    bench.release(&shop_reading("web:1", "green")).await;
    assert_eq!(color(&bench), "blue");
    let (candidate, copies) = newest(&bench);
    assert_ne!(candidate, stable);
    let [copy] = copies.as_slice() else {
        panic!("{copies:?}")
    };
    assert_eq!(copy["name"], "settings");
    let name = copy["copy"].as_str().unwrap();
    let made = bench.api.get(&format!("configmaps/{name}")).unwrap();
    assert_eq!(
        (&made["data"]["color"], &made["immutable"]),
        (&json!("green"), &json!(true))
    );
    let owner = &made["metadata"]["ownerReferences"][0];
    assert_eq!(owner["kind"], "ControllerRevision");
    // The copy is made with the account's rights, and before anybody can want it.
    let requests: Vec<String> = bench.requests();
    let created = position(&requests, "POST configmaps");
    assert!(requests[created].ends_with("deployer"), "{requests:?}");
    assert!(
        created < position(&requests, "PATCH controllerrevisions"),
        "{requests:?}"
    );
    // Its template has not changed, and bears no mark.
    let template = bench.applied("deployments/web").unwrap()["spec"]["template"].take();
    assert_eq!(template["metadata"].get("annotations"), None);
    assert!(bench.ready().starts_with("Applied"), "{}", bench.ready());
    // Nothing is asked for again while nothing changes.
    bench.reconcile().await;
    bench.requests();
    bench.pass(SignedDuration::from_secs(30));
    bench.reconcile().await;
    assert_eq!(bench.writes(), Vec::<String>::new());
}

#[tokio::test]
async fn config_that_goes_back_in_git_is_no_release() {
    let bench = adopted().await;
    let (stable, _) = newest(&bench);
    bench.release(&shop_reading("web:1", "green")).await;
    bench.release(&shop_reading("web:1", "blue")).await;
    assert_eq!(newest(&bench), (stable, Vec::new()));
    assert_eq!(color(&bench), "blue");
}

#[tokio::test]
async fn what_somebody_has_edited_at_rest_is_corrected_at_once() {
    let bench = adopted().await;
    bench.api.edit("configmaps/settings", |settings| {
        settings["data"]["color"] = json!("red");
    });
    bench.pass(SignedDuration::from_hours(2));
    bench.reconcile().await;
    assert_eq!(color(&bench), "blue");
    assert_eq!(newest(&bench).1, Vec::<Value>::new());
}

#[tokio::test]
async fn a_key_that_others_own_is_no_change() {
    let bench = adopted().await;
    bench.api.edit("configmaps/settings", |settings| {
        settings["data"]["injected"] = json!("by a controller");
    });
    bench.release(&shop_reading("web:2", "blue")).await;
    assert_eq!(newest(&bench).1, Vec::<Value>::new());
    let settings = bench.api.get("configmaps/settings").unwrap();
    assert_eq!(settings["data"]["injected"], "by a controller");
}

#[tokio::test]
async fn config_of_a_first_deploy_and_what_only_the_candidate_names_is_applied_at_once() {
    let bench = Bench::new();
    bench.release(&shop_reading("web:1", "blue")).await;
    bench.release(&shop_reading("web:1", "green")).await;
    assert_eq!(color(&bench), "green", "nothing is stable yet");

    // Stable's template does not name it.
    let bench = Bench::new();
    bench.release(&shop("web:1")).await;
    make_stable(&bench, "web:1");
    bench.release(&shop_reading("web:2", "green")).await;
    assert_eq!(color(&bench), "green");
    assert_eq!(newest(&bench).1, Vec::<Value>::new());
}

#[tokio::test]
async fn a_workload_that_runs_already_keeps_its_config_when_its_rollout_comes_with_another() {
    let bench = Bench::new();
    let mut live = deployment("web:1");
    live["spec"]["template"]["spec"]["containers"][0]["envFrom"] =
        json!([{"configMapRef": {"name": "settings"}}]);
    bench.api.put("deployments/web", live);
    let settings = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "settings"}, "data": {"color": "red"}});
    bench.api.put("configmaps/settings", settings);
    bench.release(&shop_reading("web:1", "blue")).await;
    assert_eq!(color(&bench), "red");
    assert_eq!(newest(&bench).1.len(), 1);
}

#[tokio::test]
async fn ignored_config_is_applied_at_once() {
    let bench = adopted().await;
    let ignored = |color: &str| {
        shop_reading("web:1", color).replace("gates: []", "gates: []\n  config: Ignore")
    };
    bench.release(&ignored("green")).await;
    assert_eq!(color(&bench), "green");
}

#[tokio::test]
async fn while_an_attempt_writes_config_and_template_sync_leaves_both() {
    let bench = adopted().await;
    bench.release(&shop_reading("web:1", "green")).await;
    let (candidate, copies) = newest(&bench);
    bench.api.edit("rollouts/web", |rollout| {
        begin_attempt(rollout, "web:1", true);
        let attempt = &mut rollout["status"]["attempt"];
        (attempt["revision"], attempt["stage"]) = (json!(candidate), json!("UpdatingStable"));
        attempt["config"] = json!({"digest": "abc", "copies": copies});
    });
    bench.requests();
    bench.reconcile().await;
    assert_eq!(color(&bench), "blue");
    let template = bench.applied("deployments/web").unwrap()["spec"]["template"].take();
    assert_eq!(template["metadata"].get("annotations"), None, "{template}");
    assert_eq!(
        newest(&bench),
        (candidate.clone(), copies),
        "the attempt reads these copies"
    );

    // The attempt has written both.
    bench.api.edit("configmaps/settings", |settings| {
        settings["data"]["color"] = json!("green");
    });
    bench.api.edit("rollouts/web", |rollout| {
        rollout["status"]["attempt"] = Value::Null;
        let stable = &mut rollout["status"]["stable"];
        (stable["revision"], stable["config"]) = (json!(candidate), json!("abc"));
    });
    bench.reconcile().await;
    let template = bench.applied("deployments/web").unwrap()["spec"]["template"].take();
    assert_eq!(
        template["metadata"]["annotations"][names::CONFIG_ANNOTATION],
        "abc"
    );
    assert_eq!(newest(&bench), (candidate, Vec::new()));
}

#[tokio::test]
async fn a_right_that_is_missing_for_a_copy_is_named_and_nothing_is_released() {
    let bench = adopted().await;
    let (stable, _) = newest(&bench);
    bench.api.fail(
        "POST configmaps",
        403,
        "configmaps is forbidden: cannot create",
    );
    bench.release(&shop_reading("web:1", "green")).await;
    assert!(bench.ready().contains("cannot create"), "{}", bench.ready());
    assert_eq!((newest(&bench).0, color(&bench)), (stable, json!("blue")));
}

#[tokio::test]
async fn the_commit_that_changed_the_config_has_asked_for_it() {
    let bench = adopted().await;
    let asked = bench.release(&shop_reading("web:1", "green")).await;
    bench
        .release(&shop_reading("web:1", "green").replace("replicas: 3", "replicas: 4"))
        .await;
    let revisions = bench.api.list("controllerrevisions").into_iter();
    let newest = revisions
        .max_by_key(|one| one["revision"].as_i64())
        .unwrap();
    let annotations = &newest["metadata"]["annotations"];
    assert_eq!(annotations[names::CONFIG_COMMIT_ANNOTATION], json!(asked));
}

#[tokio::test]
async fn config_that_is_never_to_change_holds_up_its_workload_alone() {
    let bench = adopted().await;
    let (stable, _) = newest(&bench);
    bench.api.edit("configmaps/settings", |settings| {
        settings["immutable"] = json!(true);
    });
    let said = "ConfigMap \"settings\" is invalid: data: Forbidden: field is immutable when `immutable` is set";
    bench.api.fail("PATCH configmaps/settings", 422, said);
    let changed = shop_reading("web:2", "green").replace(
        "ports: [{port: 80}]",
        "sessionAffinity: ClientIP, ports: [{port: 80}]",
    );
    bench.release(&changed).await;
    let ready = bench.ready();
    assert!(ready.contains("give the new content a new name"), "{ready}");
    assert_eq!(newest(&bench).0, stable);
    let service = bench.api.get("services/web").unwrap();
    assert_eq!(service["spec"]["sessionAffinity"], "ClientIP", "{ready}");
}

#[tokio::test]
async fn config_that_another_workload_reads_is_applied_at_once_and_said() {
    let bench = Bench::new();
    let worker = "
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: worker}
spec: {template: {spec: {containers: [{name: app, envFrom: [{configMapRef: {name: settings}}]}]}}}
";
    let shop = |color: &str| shop_reading("web:1", color) + worker;
    bench.release(&shop("blue")).await;
    make_stable(&bench, "web:1");
    bench.release(&shop("green")).await;
    assert_eq!(color(&bench), "green");
    let said = "ConfigMap/settings is read by Deployment/web, Deployment/worker: a change of it reaches them at once";
    assert!(bench.ready().contains(said), "{}", bench.ready());
}

#[tokio::test]
async fn more_config_than_a_status_can_name_is_refused_with_what_to_write() {
    let bench = Bench::new();
    let shop = |color: &str| {
        let env: Vec<_> = (0..60)
            .map(|n| format!("{{configMapRef: {{name: many-{n}}}}}"))
            .collect();
        let named = format!("image: web:1, envFrom: [{}]}}", env.join(", "));
        let maps = (0..60).map(|n| {
            format!("---\napiVersion: v1\nkind: ConfigMap\nmetadata: {{name: many-{n}}}\ndata: {{color: {color}}}\n")
        });
        shop("web:1").replace("image: web:1}", &named) + &maps.collect::<String>()
    };
    bench.release(&shop("blue")).await;
    let (revision, _) = newest(&bench);
    bench.api.edit("rollouts/web", |rollout| {
        rollout["status"]["stable"] =
            json!({"revision": revision, "podTemplateHash": "1", "since": "2026-01-01T00:00:00Z"});
    });
    bench.release(&shop("green")).await;
    let ready = bench.ready();
    assert!(
        ready.contains("names 60 ConfigMaps and Secrets that change, and 50 are released"),
        "{ready}"
    );
    assert_eq!(newest(&bench).0, revision);
}

#[tokio::test]
async fn what_the_account_may_not_read_is_read_in_tidegates_name() {
    let bench = adopted().await;
    let said = "configmaps \"settings\" is forbidden: User \"deployer\" cannot get resource \"configmaps\"";
    bench.api.fail("GET configmaps/settings", 403, said);
    bench.release(&shop_reading("web:1", "green")).await;
    assert_eq!(color(&bench), "blue");
    assert_eq!(newest(&bench).1.len(), 1, "{}", bench.ready());
}

#[tokio::test]
async fn stables_own_config_that_somebody_loses_or_edits_is_restored_while_a_template_waits() {
    let bench = adopted().await;
    bench.release(&shop_reading("web:2", "blue")).await;
    bench.api.edit("configmaps/settings", |settings| {
        settings["data"]["color"] = json!("red");
    });
    bench.pass(SignedDuration::from_hours(1));
    bench.reconcile().await;
    assert_eq!(color(&bench), "blue", "{}", bench.ready());
    bench.api.delete("configmaps/settings");
    bench.pass(SignedDuration::from_hours(1));
    bench.reconcile().await;
    assert_eq!(color(&bench), "blue", "{}", bench.ready());
}

#[tokio::test]
async fn what_was_edited_by_hand_and_then_committed_is_a_release_all_the_same() {
    let bench = adopted().await;
    bench.api.edit("configmaps/settings", |settings| {
        settings["data"]["color"] = json!("green");
    });
    bench.release(&shop_reading("web:1", "green")).await;
    let revisions = bench.api.list("controllerrevisions").into_iter();
    let newest = revisions
        .max_by_key(|one| one["revision"].as_i64())
        .unwrap();
    let annotations = &newest["metadata"]["annotations"];
    assert_eq!(
        annotations[names::CONFIG_COPIES_ANNOTATION],
        "[]",
        "its pods have to be replaced"
    );
}

#[tokio::test]
async fn what_only_stables_template_names_waits_too() {
    let bench = adopted().await;
    let moved = shop_reading("web:2", "blue").replace("name: settings}}]", "name: settings-2}}]");
    let second = "---\napiVersion: v1\nkind: ConfigMap\nmetadata: {name: settings-2}\ndata: {color: green}\n";
    let moved = moved.replace("color: blue", "color: red") + second;
    bench.release(&moved).await;
    assert_eq!(color(&bench), "blue", "{}", bench.ready());
    let second = bench.api.get("configmaps/settings-2").unwrap();
    assert_eq!(second["data"]["color"], "green");

    let (promoted, _) = newest(&bench);
    bench.api.edit("rollouts/web", |rollout| {
        rollout["status"]["stable"]["revision"] = json!(promoted);
    });
    bench.reconcile().await;
    assert_eq!(color(&bench), "red", "nobody reads it any more");
}

#[tokio::test]
async fn what_an_attempt_writes_is_left_to_it_though_git_says_the_same() {
    let bench = adopted().await;
    let final_green = shop_reading("web:1", "green").replace(
        "data: {color: green}",
        "data: {color: green}\nimmutable: true",
    );
    bench.release(&final_green).await;
    let (candidate, copies) = newest(&bench);
    bench.api.edit("configmaps/settings", |settings| {
        settings["data"]["color"] = json!("green");
    });
    bench.api.edit("rollouts/web", |rollout| {
        begin_attempt(rollout, "web:1", true);
        let attempt = &mut rollout["status"]["attempt"];
        (attempt["revision"], attempt["stage"]) = (json!(candidate), json!("PinningToStable"));
        attempt["config"] = json!({"digest": "abc", "copies": copies});
    });
    bench.reconcile().await;
    let settings = bench.api.get("configmaps/settings").unwrap();
    assert_eq!(settings.get("immutable"), None, "nobody could put it back");
}

#[tokio::test]
async fn without_its_rollout_a_workload_keeps_the_mark_of_what_was_released() {
    let bench = Bench::new();
    let without_rollout = shop("web:1").replace(&format!("---{ROLLOUT}---"), "---");
    bench.release(&without_rollout).await;
    bench.api.edit("deployments/web", |web| {
        web["spec"]["template"]["metadata"]["annotations"] =
            json!({names::CONFIG_ANNOTATION: "abc"});
    });
    bench
        .release(&without_rollout.replace("replicas: 3", "replicas: 4"))
        .await;
    let template = bench.applied("deployments/web").unwrap()["spec"]["template"].take();
    assert_eq!(
        template["metadata"]["annotations"][names::CONFIG_ANNOTATION],
        "abc"
    );
}
