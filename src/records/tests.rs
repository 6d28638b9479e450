//! Records into a real repository on disk; the objects that name them are on an API server that
//! answers from a script.
#![expect(
    clippy::unwrap_used,
    clippy::unwrap_in_result,
    reason = "a test may panic"
)]

use std::{path::Path, process::Command, time::Duration};

use serde_json::{Value, json};
use tokio::time::timeout;

use crate::testing::Bench;

use super::*;

mod recording;
mod restore;

/// Far longer than anything here takes.
const LIMIT: Duration = Duration::from_secs(30);

fn git(folder: &Path, args: &[&str]) -> String {
    let output = Command::new("git")
        .args(args)
        .current_dir(folder)
        .env("GIT_CONFIG_GLOBAL", "/dev/null")
        .env("GIT_CONFIG_NOSYSTEM", "1")
        .output()
        .unwrap();
    assert!(
        output.status.success(),
        "git {args:?}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8(output.stdout).unwrap()
}

fn create_repository(bench: &Bench) {
    let path = bench.repository();
    std::fs::create_dir(&path).unwrap();
    git(
        &path,
        &["init", "--quiet", "--bare", "--initial-branch", "main", "."],
    );
}

fn commits(bench: &Bench) -> usize {
    git(
        &bench.repository(),
        &["log", "--format=%H", "tidegate/records"],
    )
    .lines()
    .count()
}

fn pending(attempt: u32) -> PendingRecord {
    serde_json::from_value(pending_json(attempt)).unwrap()
}

fn pending_json(attempt: u32) -> Value {
    let workload = json!({ "kind": "Deployment", "name": "checkout" });
    json!({
        "configRepo": "shop",
        "record": {
            "kind": "Started", "version": 1, "id": format!("id-{attempt}"), "cluster": "test", "namespace": "shop",
            "rollout": "checkout", "rolloutUid": "r-1", "workload": workload, "attempt": attempt,
            "revision": "4f1c", "source": {}, "images": [], "startedAt": "2026-11-25T10:00:00Z",
            "plan": {
                "workload": workload, "traffic": { "routes": [{ "kind": "HTTPRoute", "name": "web" }] },
                "steps": [{ "weight": 10, "hold": "1m" }], "gates": [],
            },
        },
    })
}

/// The outcome of attempt 1, which a commit had asked for, with an order to restore.
fn rolled_back(commit: &str, order: &Value) -> Value {
    let mut pending = pending_json(1);
    let record = pending["record"].as_object_mut().unwrap();
    for (field, value) in [
        ("kind", json!("Outcome")),
        ("outcome", json!("RolledBack")),
        ("reason", json!("GateBreached")),
        ("message", json!("errors was 0.2")),
        ("decidedAt", json!("2026-11-25T10:01:00Z")),
        ("endedAt", json!("2026-11-25T10:01:00Z")),
        ("source", json!({ "commit": commit })),
        ("steps", json!([])),
        ("gates", json!([])),
        ("interventions", json!([])),
    ] {
        record.insert(field.to_owned(), value);
    }
    pending["restore"] = order.clone();
    pending
}

async fn woken(bench: &mut Bench) -> NamespacedName {
    timeout(LIMIT, bench.woken.recv()).await.unwrap().unwrap()
}

/// Waits until git could not be written to.
async fn until_failed(bench: &Bench) {
    let failures = || {
        bench
            .ctx
            .counters
            .exposition(true, 0)
            .contains("tidegate_git_write_failures_total 0\n")
    };
    timeout(LIMIT, async {
        while failures() {
            tokio::task::yield_now().await;
        }
    })
    .await
    .unwrap();
}

#[tokio::test]
async fn a_record_is_written_once_however_often_it_is_enqueued() {
    let mut bench = Bench::new().await;
    create_repository(&bench);
    let pending_records = [pending(1)];
    let records = bench.ctx.records.clone();
    records.write("shop", "checkout", &pending_records);
    records.write("shop", "checkout", &pending_records);
    assert_eq!(records.pending(), 1);
    assert!(records.written("shop", &pending_records).is_empty());

    assert_eq!(
        woken(&mut bench).await,
        NamespacedName::new("shop", "checkout")
    );
    assert_eq!(
        records.written("shop", &pending_records),
        [pending_records[0].record.path()]
    );
    assert_eq!((records.pending(), commits(&bench)), (0, 1));

    // The status is not written yet, so it is still pending; the next record shows that nothing else
    // came before it.
    records.write("shop", "checkout", &[pending(1), pending(2)]);
    woken(&mut bench).await;
    assert_eq!((records.pending(), commits(&bench)), (0, 2));
}

#[tokio::test]
async fn a_record_that_another_process_has_written_is_found_and_not_written_again() {
    let mut bench = Bench::new().await;
    create_repository(&bench);
    bench.ctx.records.write("shop", "checkout", &[pending(1)]);
    woken(&mut bench).await;
    let path = bench.repository();

    let mut other = Bench::new().await;
    Command::new("cp")
        .arg("-r")
        .arg(&path)
        .arg(other.repository())
        .status()
        .unwrap();
    other.ctx.records.write("shop", "checkout", &[pending(1)]);
    woken(&mut other).await;
    assert_eq!(commits(&other), 1);
}

#[tokio::test]
async fn a_record_is_written_when_git_is_back() {
    let mut bench = Bench::new().await;
    bench.ctx.records.write("shop", "checkout", &[pending(1)]);
    until_failed(&bench).await;
    assert_eq!(bench.ctx.records.pending(), 1);
    create_repository(&bench);
    woken(&mut bench).await;
    assert_eq!((bench.ctx.records.pending(), commits(&bench)), (0, 1));
}

#[tokio::test]
async fn records_of_a_deleted_rollout_are_removed_from_the_config_repo() {
    let bench = Bench::new().await;
    create_repository(&bench);
    set_pending(&bench, &json!([pending_json(1), pending_json(2)]));
    bench.ctx.records.write_left_behind(&[pending(1)]);
    until_pending(&bench, &[pending(2)]).await;
    assert_eq!(commits(&bench), 1);
}

#[tokio::test]
async fn a_record_that_is_transferred_while_it_is_queued_or_after_is_removed_as_well() {
    let mut bench = Bench::new().await;
    create_repository(&bench);
    set_pending(&bench, &json!([pending_json(1), pending_json(2)]));
    let records = bench.ctx.records.clone();
    records.write("shop", "checkout", &[pending(1), pending(2)]);
    records.write_left_behind(&[pending(1)]);
    woken(&mut bench).await;
    woken(&mut bench).await;
    until_pending(&bench, &[pending(2)]).await;

    records.write_left_behind(&[pending(2)]);
    until_pending(&bench, &[]).await;
    // A cache that is behind asks for it once more.
    records.write_left_behind(&[pending(2), pending(3)]);
    timeout(LIMIT, async {
        while records.pending() > 0 {
            tokio::task::yield_now().await;
        }
    })
    .await
    .unwrap();
    let files = git(
        &bench.repository(),
        &["log", "--format=", "--name-only", "tidegate/records"],
    );
    assert_eq!(files.split_whitespace().count(), 3, "{files}");
}

/// Puts records into the status of the `ConfigRepo`.
fn set_pending(bench: &Bench, pending: &Value) {
    bench.script.edit("configrepos/shop", |repo| {
        repo["status"] = json!({ "pendingRecords": pending });
    });
}

/// Waits until these records stand in the status of the `ConfigRepo`, and no others.
async fn until_pending(bench: &Bench, pending: &[PendingRecord]) {
    let queued = || {
        let mut repo = bench.script.get("configrepos/shop").unwrap();
        serde_json::from_value::<Vec<PendingRecord>>(repo["status"]["pendingRecords"].take())
            .unwrap()
    };
    timeout(LIMIT, async {
        while queued() != pending {
            tokio::task::yield_now().await;
        }
    })
    .await
    .unwrap();
}

#[tokio::test]
async fn a_restore_that_has_to_wait_keeps_no_other_record_waiting() {
    let mut bench = Bench::new().await;
    create_repository(&bench);
    let outcome = rolled_back(
        &"1".repeat(40),
        &json!({
            "path": "shop/app.yaml", "workload": { "kind": "Deployment", "name": "checkout" },
            "rejected": "4f1c", "goodCommit": "2".repeat(40),
        }),
    );
    // The branch that is to be restored does not exist.
    let waiting: PendingRecord = serde_json::from_value(outcome).unwrap();
    let records = bench.ctx.records.clone();
    records.write("shop", "checkout", &[waiting.clone(), pending(2)]);
    woken(&mut bench).await;
    assert_eq!(
        records.written("shop", &[waiting, pending(2)]),
        [pending(2).record.path()]
    );
    assert_eq!((records.pending(), commits(&bench)), (1, 1));
}
