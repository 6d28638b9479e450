//! Answers of a server that several handles share.

use jiff::SignedDuration;

use super::*;

fn at(second: i64, max_age: SignedDuration) -> Freshness {
    Freshness {
        now: Timestamp::from_second(second).unwrap(),
        max_age,
    }
}

const INTERVAL: SignedDuration = SignedDuration::from_secs(30);

#[tokio::test]
async fn handles_with_the_same_credentials_share_an_answer_until_it_is_too_old() {
    let server = Server::new();
    let first = server.commit("main", &[("a.yaml", "1")]);
    let client = server.client();
    let one = &client.repository;
    let another = one.git.repository(one.remote().clone());
    let look = one.look("main", None, at(100, INTERVAL)).await;
    assert_eq!(look.head.unwrap().id, first);

    let second = server.commit("main", &[("a.yaml", "2")]);
    let look = another.look("main", None, at(129, INTERVAL)).await;
    assert_eq!(look.head.unwrap().id, first);
    assert_eq!(look.at, Timestamp::from_second(100).unwrap());
    let look = another.look("main", None, at(130, INTERVAL)).await;
    assert_eq!(look.head.unwrap().id, second);
    let look = one.look("main", None, at(131, INTERVAL)).await;
    assert_eq!(look.head.unwrap().id, second);
    assert_eq!(look.at, Timestamp::from_second(130).unwrap());
}

#[tokio::test]
async fn nobody_gets_an_answer_to_other_credentials() {
    let server = Server::new();
    server.commit("main", &[("a.yaml", "1")]);
    let client = server.client();
    client
        .repository
        .look("main", None, at(100, INTERVAL))
        .await
        .head
        .unwrap();
    let token = crate::remote::Credentials::Bearer(crate::secret::Secret::new("hunter2"));
    let other = Remote::new(&server.url(), token).unwrap();
    let other = client.repository.git.repository(other);
    let second = server.commit("main", &[("a.yaml", "2")]);
    let look = other.look("main", None, at(101, INTERVAL)).await;
    assert_eq!(look.head.unwrap().id, second);
}

#[tokio::test]
async fn an_error_is_shared_and_a_rewritten_history_told_to_each() {
    let server = Server::new();
    let base = server.commit("main", &[("a.yaml", "1")]);
    let seen = server.commit("main", &[("a.yaml", "2")]);
    let client = server.client();
    let one = &client.repository;
    let another = one.git.repository(one.remote().clone());
    one.look("main", None, at(100, INTERVAL))
        .await
        .head
        .unwrap();
    server.set("main", base);
    for handle in [one, &another] {
        let look = handle.look("main", Some(seen), at(130, INTERVAL)).await;
        assert!(matches!(
            look.head,
            Err(FetchError::HistoryRewritten { .. })
        ));
    }
    server.delete_branch("main");
    for handle in [one, &another] {
        let look = handle.look("main", Some(seen), at(160, INTERVAL)).await;
        assert!(matches!(look.head, Err(FetchError::BranchNotFound { .. })));
    }
}
