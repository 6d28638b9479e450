#![expect(clippy::unwrap_used, reason = "a test that cannot prepare has failed")]

use super::*;
use crate::git::testing::{Client, Server, signature};

const BRANCH: &str = "tidegate/records";

fn fact(id: &str, text: &str) -> Fact {
    Fact {
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

async fn write(client: &Client, facts: Vec<Fact>) -> Result<FactResults, FactsError> {
    let by = signature("Tidegate", 1_800_000_000);
    client.repository.write_facts(BRANCH, facts, by).await
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
    let results = write(&client, vec![fact("1", "one"), fact("2", "two")])
        .await
        .unwrap();

    let tip = server.show(BRANCH);
    assert_eq!(
        results,
        [
            Ok(Written::Committed(tip.id)),
            Ok(Written::Committed(tip.id))
        ]
    );
    assert_eq!(tip.author.name, "Tidegate");
    assert_eq!(tip.subject, "Record 2 facts");
    assert_eq!(ids(&server), ["1", "2"]);
    assert_eq!(
        server.file(BRANCH, "records/c1/shop/checkout/2.json"),
        "two"
    );
    assert_eq!(server.git(&["rev-list", "--count", BRANCH]).trim(), "1");

    let results = write(&client, vec![fact("3", "three")]).await.unwrap();
    assert!(matches!(results[0], Ok(Written::Committed(_))));
    assert_eq!(server.show(BRANCH).subject, "Promoted shop/checkout");
    assert_eq!(
        server.file(BRANCH, "records/c1/shop/checkout/1.json"),
        "one"
    );
}

#[tokio::test]
async fn an_empty_server_takes_facts_too() {
    let server = Server::new();
    write(&server.client(), vec![fact("1", "one")])
        .await
        .unwrap();
    assert_eq!(ids(&server), ["1"]);
}

#[tokio::test]
async fn writing_again_after_a_crash_finds_the_facts_there() {
    let server = Server::new();
    write(&server.client(), vec![fact("1", "one")])
        .await
        .unwrap();
    let tip = server.tip(BRANCH);
    // Another process, which knows nothing of the push.
    let results = write(&server.client(), vec![fact("1", "one")])
        .await
        .unwrap();
    assert_eq!(results, [Ok(Written::AlreadyThere)]);
    assert_eq!(server.tip(BRANCH), tip);
}

#[tokio::test]
async fn other_content_is_a_contradiction_and_is_not_overwritten() {
    let server = Server::new();
    let client = server.client();
    write(&client, vec![fact("1", "one")]).await.unwrap();
    let below = Fact {
        path: "records/c1/shop/checkout/1.json/x".into(),
        ..fact("x", "")
    };
    let above = Fact {
        path: "records/c1/shop".into(),
        ..fact("y", "")
    };
    let facts = vec![
        fact("1", "two"),
        fact("2", "two"),
        below,
        above,
        fact("2", "three"),
    ];
    let results = write(&client, facts).await.unwrap();
    assert_eq!(results[0].clone().unwrap_err().path, fact("1", "").path);
    assert!(results[1].is_ok());
    assert!(results[2..].iter().all(Result::is_err), "{results:?}");
    assert_eq!(server.file(BRANCH, &fact("1", "").path), "one");
    assert_eq!(server.file(BRANCH, &fact("2", "").path), "two");
}

#[tokio::test]
async fn writers_that_race_all_land() {
    let server = Server::new();
    let clients: Vec<_> = (0..4).map(|_| server.client()).collect();
    let writes = clients
        .iter()
        .enumerate()
        .map(|(writer, client)| async move {
            for round in 0..3 {
                let results = write(client, vec![fact(&format!("{writer}{round}"), "x")])
                    .await
                    .unwrap();
                assert!(matches!(results[0], Ok(Written::Committed(_))));
            }
        });
    futures::future::join_all(writes).await;
    assert_eq!(ids(&server).len(), 12);
    assert_eq!(server.git(&["rev-list", "--count", BRANCH]).trim(), "12");
}

#[tokio::test]
async fn a_protected_branch_refuses_by_name() {
    let server = Server::new();
    server.protect();
    let error = write(&server.client(), vec![fact("1", "one")])
        .await
        .unwrap_err();
    assert!(matches!(error, FactsError::PushRefused(_)), "{error:?}");
}

#[tokio::test]
async fn odd_paths_are_refused() {
    let server = Server::new();
    let client = server.client();
    for path in ["", "../x", "/x", "a//b", "a/.git/b", "./a"] {
        let odd = Fact {
            path: path.into(),
            ..fact("1", "")
        };
        let error = write(&client, vec![odd]).await.unwrap_err();
        assert!(matches!(error, FactsError::Path { .. }), "{path}");
    }
}

#[tokio::test]
async fn a_damaged_clone_heals_at_the_next_try() {
    let server = Server::new();
    let client = server.client();
    write(&client, vec![fact("1", "one")]).await.unwrap();
    client.repository.fetch(BRANCH, None).await.unwrap();
    let folder = server.git(&["rev-parse", &format!("{BRANCH}:records/c1")]);
    server.damage(&client, folder.trim().parse().unwrap());

    let error = write(&client, vec![fact("2", "two")]).await.unwrap_err();
    assert!(
        matches!(
            error,
            FactsError::Read(TreeError::Store(StoreError::Read { .. }))
        ),
        "{error:?}"
    );
    write(&client, vec![fact("2", "two")]).await.unwrap();
    assert_eq!(ids(&server), ["1", "2"]);
}
