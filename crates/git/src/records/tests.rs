#![expect(clippy::unwrap_used, reason = "a test that cannot prepare has failed")]

use super::*;
use crate::testing::{Client, Server, signature};

const BRANCH: &str = "tidegate/records";

fn record(id: &str, text: &str) -> RecordFile {
    RecordFile {
        path: format!("records/c1/shop/checkout/{id}.json"),
        bytes: text.as_bytes().to_vec(),
        trailers: Trailers {
            outcome: "Promoted".into(),
            rollout: "shop/checkout".into(),
            revision: "4f1c".into(),
            config_commit: Some("abc".into()),
            id: id.into(),
        },
    }
}

async fn write(client: &Client, records: Vec<RecordFile>) -> Result<RecordResults, RecordsError> {
    let by = signature("Tidegate", 1_800_000_000);
    client
        .repository
        .write_records(BRANCH, records, Ci::Skip, by)
        .await
}

fn ids(server: &Server) -> Vec<String> {
    let format = "--format=%(trailers:key=Tidegate-Id,valueonly)";
    let out = server.git(&["log", format, &format!("refs/heads/{BRANCH}")]);
    let mut ids: Vec<_> = out.split_whitespace().map(str::to_owned).collect();
    ids.sort();
    ids
}

#[tokio::test]
async fn a_batch_is_one_commit_on_a_branch_of_its_own() {
    let server = Server::new();
    server.commit("main", &[("a.yaml", "1")]);
    let client = server.client();
    let results = write(&client, vec![record("1", "one"), record("2", "two")])
        .await
        .unwrap();

    let tip = server.show(BRANCH);
    assert_eq!(
        results,
        [
            Ok(RecordWritten::Committed(tip.id)),
            Ok(RecordWritten::Committed(tip.id))
        ]
    );
    assert_eq!(tip.author.name, "Tidegate");
    assert_eq!(tip.subject, "Write 2 records");
    assert_eq!(ids(&server), ["1", "2"]);
    assert_eq!(
        server.file(BRANCH, "records/c1/shop/checkout/2.json"),
        "two"
    );
    assert_eq!(server.git(&["rev-list", "--count", BRANCH]).trim(), "1");

    let results = write(&client, vec![record("3", "three")]).await.unwrap();
    assert!(matches!(results[0], Ok(RecordWritten::Committed(_))));
    assert_eq!(server.show(BRANCH).subject, "Promoted shop/checkout");
    assert_eq!(
        server.file(BRANCH, "records/c1/shop/checkout/1.json"),
        "one"
    );
}

#[tokio::test]
async fn an_empty_server_accepts_records() {
    let server = Server::new();
    write(&server.client(), vec![record("1", "one")])
        .await
        .unwrap();
    assert_eq!(ids(&server), ["1"]);
}

#[tokio::test]
async fn records_written_before_a_crash_are_found() {
    let server = Server::new();
    write(&server.client(), vec![record("1", "one")])
        .await
        .unwrap();
    let tip = server.tip(BRANCH);
    // Another process, which does not know of the push.
    let results = write(&server.client(), vec![record("1", "one")])
        .await
        .unwrap();
    assert_eq!(results, [Ok(RecordWritten::AlreadyPresent)]);
    assert_eq!(server.tip(BRANCH), tip);
}

#[tokio::test]
async fn other_content_is_a_conflict_and_is_not_overwritten() {
    let server = Server::new();
    let client = server.client();
    write(&client, vec![record("1", "one")]).await.unwrap();
    let below = RecordFile {
        path: "records/c1/shop/checkout/1.json/x".into(),
        ..record("x", "")
    };
    let above = RecordFile {
        path: "records/c1/shop".into(),
        ..record("y", "")
    };
    let records = vec![
        record("1", "two"),
        record("2", "two"),
        below,
        above,
        record("2", "three"),
    ];
    let results = write(&client, records).await.unwrap();
    assert_eq!(results[0].clone().unwrap_err().path, record("1", "").path);
    assert!(results[1].is_ok());
    assert!(results[2..].iter().all(Result::is_err), "{results:?}");
    assert_eq!(server.file(BRANCH, &record("1", "").path), "one");
    assert_eq!(server.file(BRANCH, &record("2", "").path), "two");
}

#[tokio::test]
async fn concurrent_writers_all_succeed() {
    let server = Server::new();
    let clients: Vec<_> = (0..4).map(|_| server.client()).collect();
    let writes = clients
        .iter()
        .enumerate()
        .map(|(writer, client)| async move {
            for round in 0..3 {
                let results = write(client, vec![record(&format!("{writer}{round}"), "x")])
                    .await
                    .unwrap();
                assert!(matches!(results[0], Ok(RecordWritten::Committed(_))));
            }
        });
    futures::future::join_all(writes).await;
    assert_eq!(ids(&server).len(), 12);
    assert_eq!(server.git(&["rev-list", "--count", BRANCH]).trim(), "12");
}

#[tokio::test]
async fn a_protected_branch_rejects_the_push() {
    let server = Server::new();
    server.protect();
    let error = write(&server.client(), vec![record("1", "one")])
        .await
        .unwrap_err();
    assert!(matches!(error, RecordsError::PushRejected(_)), "{error:?}");
}

#[tokio::test]
async fn invalid_paths_are_rejected() {
    let server = Server::new();
    let client = server.client();
    for path in ["", "../x", "/x", "a//b", "a/.git/b", "./a"] {
        let odd = RecordFile {
            path: path.into(),
            ..record("1", "")
        };
        let error = write(&client, vec![odd]).await.unwrap_err();
        assert!(matches!(error, RecordsError::Path { .. }), "{path}");
    }
}

#[tokio::test]
async fn a_damaged_clone_is_repaired_by_the_next_try() {
    let server = Server::new();
    let client = server.client();
    write(&client, vec![record("1", "one")]).await.unwrap();
    client.repository.fetch(BRANCH, None).await.unwrap();
    let folder = server.git(&["rev-parse", &format!("{BRANCH}:records/c1")]);
    server.damage(&client, folder.trim().parse().unwrap());

    let error = write(&client, vec![record("2", "two")]).await.unwrap_err();
    assert!(
        matches!(
            error,
            RecordsError::Read(TreeError::Store(StoreError::Read { .. }))
        ),
        "{error:?}"
    );
    write(&client, vec![record("2", "two")]).await.unwrap();
    assert_eq!(ids(&server), ["1", "2"]);
}
