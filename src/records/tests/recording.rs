//! Condition of a `ConfigRepo` while its records cannot be written.

use std::{io::Write as _, process::Stdio, sync::Arc};

use kube::core::DeserializeGuard;
use tidegate_api::{ConfigRepo, NamespacedName, Rollout};

use super::*;
use crate::sync;

const REPO: &str = "configrepos/shop";

/// Has every push refused, by a server that knows what it was sent.
fn protect(bench: &Bench) {
    let hook = bench.repository().join("hooks/pre-receive");
    // By another process: what this one has open for writing, it can't run while another thread forks.
    let mut shell = Command::new("/bin/sh")
        .args([
            "-c",
            "mkdir -p \"$(dirname \"$0\")\" && cat > \"$0\" && chmod 755 \"$0\"",
        ])
        .arg(&hook)
        .stdin(Stdio::piped())
        .spawn()
        .unwrap();
    shell
        .stdin
        .take()
        .unwrap()
        .write_all(b"#!/bin/sh\necho 'protected from hunter2' >&2\nexit 1\n")
        .unwrap();
    assert!(shell.wait().unwrap().success());
}

fn unprotect(bench: &Bench) {
    std::fs::remove_file(bench.repository().join("hooks/pre-receive")).unwrap();
}

/// Changes an object as somebody else would; answers it as a cache would have it.
fn edit<T: serde::de::DeserializeOwned>(
    bench: &Bench,
    path: &str,
    edit: impl FnOnce(&mut Value),
) -> T {
    serde_json::from_value(bench.script.edit(path, edit)).unwrap()
}

fn edit_repo(bench: &Bench, change: impl FnOnce(&mut Value)) {
    let repo = edit::<ConfigRepo>(bench, REPO, change);
    bench
        .ctx
        .caches
        .config_repos
        .keep_answer(DeserializeGuard(Ok(repo)));
}

/// The credentials that are in no message.
fn with_a_secret(bench: &Bench) {
    let password = "aHVudGVyMg==";
    let secret = json!({
        "apiVersion": "v1", "kind": "Secret",
        "metadata": { "name": "git", "namespace": "shop", "labels": { "tidegate.io/use": "git" } },
        "data": { "username": "Z2l0", "password": password },
    });
    bench.script.put("secrets/git", secret);
    edit_repo(bench, |repo| {
        repo["spec"]["secretRef"] = json!({ "name": "git" });
    });
}

/// Reconciles the `ConfigRepo`, as its watch has it done, and after looks at its repository.
async fn reconcile(bench: &Bench) {
    loop {
        let repo = bench.script.get(REPO).unwrap();
        let repo = serde_json::from_value(repo).unwrap();
        sync::reconcile(Arc::new(DeserializeGuard(Ok(repo))), bench.repos.clone())
            .await
            .unwrap();
        let name = NamespacedName::new("shop", "shop");
        if !bench.repos.look_ended(&name).await {
            return;
        }
    }
}

/// Reconciles it each time that something wakes it, until the condition begins like this.
async fn reconcile_until(bench: &mut Bench, says: &str) {
    while !condition(bench).is_some_and(|condition| condition.starts_with(says)) {
        timeout(LIMIT, bench.repos_woken.recv())
            .await
            .unwrap()
            .unwrap();
        reconcile(bench).await;
    }
}

/// `Status Reason: message` of the condition, or nothing.
fn condition(bench: &Bench) -> Option<String> {
    let repo = bench.script.get(REPO).unwrap();
    let conditions = repo["status"]["conditions"]
        .as_array()
        .cloned()
        .unwrap_or_default();
    let written = conditions
        .into_iter()
        .find(|condition| condition["type"] == "RecordsWritten")?;
    let text = |field: &str| written[field].as_str().unwrap().to_owned();
    Some(format!(
        "{} {}: {}",
        text("status"),
        text("reason"),
        text("message")
    ))
}

/// The events about records since the last call, `Type Reason: note`.
async fn events(bench: &Bench) -> Vec<String> {
    crate::testing::settle().await;
    let all = bench.told.writes().into_iter().map(|asked| asked.body);
    let about_records = all.filter(|event| event["action"].as_str().unwrap().starts_with("Record"));
    let text = |event: &Value, field: &str| event[field].as_str().unwrap().to_owned();
    about_records
        .map(|event| {
            format!(
                "{} {}: {}",
                text(&event, "type"),
                text(&event, "reason"),
                text(&event, "message")
            )
        })
        .collect()
}

#[tokio::test]
async fn a_branch_that_rejects_records_is_reported_once_until_it_accepts_them() {
    let mut bench = Bench::new().await;
    create_repository(&bench);
    with_a_secret(&bench);
    protect(&bench);
    bench.ctx.records.write("shop", "checkout", &[pending(1)]);
    reconcile_until(&mut bench, "False PushRejected").await;
    let says = condition(&bench).unwrap();
    assert!(
        says.starts_with("False PushRejected: records wait to be written to git (let the cred"),
        "{says}"
    );
    assert!(
        says.contains("protected from ***") && !says.contains("hunter2"),
        "{says}"
    );
    let told = events(&bench).await;
    assert!(
        told.len() == 1
            && told[0].starts_with("Warning PushRejected: ")
            && !told[0].contains("hunter2"),
        "{told:?}"
    );

    reconcile(&bench).await;
    assert_eq!(events(&bench).await, [] as [String; 0]);

    unprotect(&bench);
    reconcile_until(&mut bench, "True Written").await;
    assert_eq!(
        condition(&bench).unwrap(),
        "True Written: all records are written"
    );
    assert_eq!(
        events(&bench).await,
        ["Normal Written: all records are written"]
    );
    assert_eq!(bench.ctx.records.pending(), 0);
}

#[tokio::test]
async fn nothing_is_reported_of_records_that_were_never_late() {
    let mut bench = Bench::new().await;
    create_repository(&bench);
    bench.ctx.records.write("shop", "checkout", &[pending(1)]);
    timeout(LIMIT, bench.repos_woken.recv())
        .await
        .unwrap()
        .unwrap();
    reconcile(&bench).await;
    assert_eq!(
        (condition(&bench), events(&bench).await),
        (None, Vec::new())
    );
}

#[tokio::test]
async fn a_process_that_has_just_started_trusts_the_status_while_records_are_pending() {
    let bench = Bench::new().await;
    edit_repo(&bench, |repo| {
        repo["status"]["conditions"] = json!([{
            "type": "RecordsWritten", "status": "False", "reason": "PushRejected", "message": "said before",
            "lastTransitionTime": "2026-11-25T10:00:00Z",
        }]);
    });
    let owe = |pending: Value| {
        let rollout = edit::<Rollout>(&bench, "rollouts/checkout", |rollout| {
            rollout["status"] = json!({ "pendingRecords": pending });
        });
        bench
            .ctx
            .caches
            .rollouts
            .keep_answer(DeserializeGuard(Ok(rollout)));
    };
    owe(json!([pending_json(1)]));
    reconcile(&bench).await;
    assert_eq!(
        condition(&bench).unwrap(),
        "False PushRejected: said before"
    );
    owe(json!([]));
    reconcile(&bench).await;
    assert_eq!(
        condition(&bench).unwrap(),
        "True Written: all records are written"
    );
}

#[tokio::test]
async fn a_record_that_conflicts_with_git_is_left_unchanged_and_reported() {
    let mut bench = Bench::new().await;
    create_repository(&bench);
    bench.ctx.records.write("shop", "checkout", &[pending(1)]);
    woken(&mut bench).await;

    let mut other = Bench::new().await;
    Command::new("cp")
        .arg("-r")
        .arg(bench.repository())
        .arg(other.repository())
        .status()
        .unwrap();
    let mut another = pending_json(1);
    another["record"]["revision"] = json!("5e2d");
    other.ctx.records.write(
        "shop",
        "checkout",
        &[serde_json::from_value(another).unwrap()],
    );
    woken(&mut other).await;
    let told = events(&other).await;
    let says = "Warning RecordConflict: `records/test/shop/checkout/id-1.started.json` is already on the branch";
    assert!(told.len() == 1 && told[0].starts_with(says), "{told:?}");
    assert_eq!(commits(&other), 1);
}
