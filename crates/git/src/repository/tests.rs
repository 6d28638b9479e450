#![expect(clippy::unwrap_used, reason = "a test that cannot prepare has failed")]

use super::{
    local_clone::{CHANGES_BEFORE_PACK, FetchState},
    *,
};
use crate::{
    limits::NODE_BYTES,
    testing::{Server, walk},
    transport::FetchExtent,
};

#[tokio::test]
async fn a_branch_is_fetched_with_its_history() {
    let server = Server::new();
    let first = server.commit("main", &[("a.yaml", "1")]);
    let second = server.commit("main", &[("a.yaml", "2")]);
    let client = server.client();

    let head = client.repository.fetch("main", None).await.unwrap();
    assert_eq!(head.id, second);
    assert_eq!(head.author.name, "Ada");
    assert_eq!(head.subject, head.message.trim());
    assert!(
        client
            .repository
            .file_at(first, "a.yaml")
            .await
            .unwrap()
            .is_some()
    );

    let third = server.commit("main", &[("a.yaml", "3")]);
    let head = client.repository.fetch("main", Some(second)).await.unwrap();
    assert_eq!(head.id, third);
    assert_eq!(
        client
            .repository
            .fetch("main", Some(third))
            .await
            .unwrap()
            .id,
        third
    );
}

#[tokio::test]
async fn a_clone_goes_with_its_last_handle() {
    let server = Server::new();
    server.commit("main", &[("a.yaml", "1")]);
    let client = server.client();
    let git = Arc::clone(&client.repository.git);
    let dir = client.repository.clone.dir.clone();
    client.repository.fetch("main", None).await.unwrap();
    git.remove_unused();
    assert!(dir.exists(), "it is in use");
    let another = git.repository(client.repository.remote().clone());
    drop(client.repository);
    git.remove_unused();
    assert!(dir.exists(), "by another");
    let remote = another.remote().clone();
    drop(another);
    git.remove_unused();
    assert!(!dir.exists());
    git.repository(remote).fetch("main", None).await.unwrap();
    assert!(dir.exists(), "and is made again");
}

#[tokio::test]
async fn a_deleted_branch_is_told_from_one_that_never_was() {
    let server = Server::new();
    let seen = server.commit("main", &[("a.yaml", "1")]);
    let client = server.client();
    client.repository.fetch("main", None).await.unwrap();

    server.delete_branch("main");
    let error = client
        .repository
        .fetch("main", Some(seen))
        .await
        .unwrap_err();
    assert!(error.to_string().contains("was deleted"), "{error}");
    let error = client.repository.fetch("other", None).await.unwrap_err();
    assert!(matches!(
        error,
        FetchError::BranchNotFound {
            last_known: None,
            ..
        }
    ));
}

#[tokio::test]
async fn a_rewritten_history_is_an_error_with_the_new_head() {
    let server = Server::new();
    let base = server.commit("main", &[("a.yaml", "1")]);
    let seen = server.commit("main", &[("a.yaml", "2")]);
    let client = server.client();
    client.repository.fetch("main", None).await.unwrap();

    server.set("main", base);
    let now = server.commit("main", &[("a.yaml", "3")]);
    for client in [client, server.client()] {
        let error = client
            .repository
            .fetch("main", Some(seen))
            .await
            .unwrap_err();
        assert!(
            matches!(&error, FetchError::HistoryRewritten { head, .. } if head.id == now),
            "{error}"
        );
    }
}

#[tokio::test]
async fn a_repository_that_is_gone_is_not_found() {
    let server = Server::new();
    let client = server.client();
    fs::remove_dir_all(server.path()).unwrap();
    let error = client.repository.fetch("main", None).await.unwrap_err();
    assert!(
        matches!(
            error,
            FetchError::Transport(TransportError::NotFound { .. })
        ),
        "{error}"
    );
}

#[tokio::test]
async fn a_broken_clone_is_cloned_again() {
    let server = Server::new();
    let head = server.commit("main", &[("a.yaml", "1")]);
    let client = server.client();
    client.repository.fetch("main", None).await.unwrap();

    for broken in ["objects", "HEAD"] {
        let path = client.clone_dir().join(broken);
        if path.is_dir() {
            fs::remove_dir_all(path).unwrap();
        } else {
            fs::remove_file(path).unwrap();
        }
        assert!(
            client.repository.file_at(head, "a.yaml").await.is_err(),
            "{broken}"
        );
        let again = client.repository.fetch("main", Some(head)).await.unwrap();
        assert_eq!(again.id, head);
        assert!(
            client
                .repository
                .file_at(head, "a.yaml")
                .await
                .unwrap()
                .is_some()
        );
    }
}

#[tokio::test]
async fn a_clone_that_lost_an_object_is_cloned_again_after_a_read() {
    let server = Server::new();
    let head = server.commit("main", &[("a.yaml", "1")]);
    let client = server.client();
    client.repository.fetch("main", None).await.unwrap();
    let file = client
        .repository
        .file_at(head, "a.yaml")
        .await
        .unwrap()
        .unwrap();
    server.damage(&client, file.blob);

    assert!(client.repository.file_at(head, "a.yaml").await.is_err());
    client.repository.fetch("main", Some(head)).await.unwrap();
    assert_eq!(
        client.repository.file_at(head, "a.yaml").await.unwrap(),
        Some(file)
    );
}

#[tokio::test]
async fn invalid_branch_names_are_rejected() {
    let server = Server::new();
    let client = server.client();
    for branch in ["", "a:b", "a..b", "a b", "+x^", "a.lock"] {
        let error = client.repository.fetch(branch, None).await.unwrap_err();
        assert!(
            matches!(error, FetchError::InvalidBranchName { .. }),
            "{branch}"
        );
    }
}

#[tokio::test]
async fn handles_of_one_url_share_the_clone() {
    let server = Server::new();
    server.commit("main", &[("a.yaml", "1")]);
    server.commit("other", &[("b.yaml", "1")]);
    let client = server.client();
    let again = client
        .repository
        .git
        .repository(client.repository.remote().clone());
    let (a, b) = tokio::join!(
        client.repository.fetch("main", None),
        again.fetch("other", None)
    );
    a.unwrap();
    b.unwrap();
    client.clone_dir();
}

#[tokio::test]
async fn unfinished_clones_of_a_killed_process_are_removed() {
    let server = Server::new();
    server.commit("main", &[("a.yaml", "1")]);
    let client = server.client();
    client.repository.fetch("main", None).await.unwrap();
    let clone = client.clone_dir();
    let unfinished = client.cache.path().join("fresh-x1");
    fs::create_dir_all(unfinished.join("objects")).unwrap();

    let settings = crate::testing::file_settings();
    Git::new(
        Transport::new(settings).unwrap(),
        client.cache.path(),
        Limits::default(),
    );
    assert!(!unfinished.exists());
    assert!(clone.exists());
}

fn packs(folder: &Path) -> usize {
    walk(folder)
        .iter()
        .filter(|file| file.extension().is_some_and(|ending| ending == "pack"))
        .count()
}

#[tokio::test]
async fn a_clone_is_packed_after_many_fetches_that_changed_a_tip() {
    let server = Server::new();
    server.commit("main", &[("a.yaml", "1")]);
    let client = server.client();
    client.repository.fetch("main", None).await.unwrap();
    let folder = client.clone_dir().join("objects/pack");
    client.repository.clone.state().changes = CHANGES_BEFORE_PACK - 1;
    client.repository.fetch("main", None).await.unwrap();
    assert_eq!(
        client.repository.clone.state().changes,
        CHANGES_BEFORE_PACK - 1,
        "nothing was new"
    );

    let head = server.commit("main", &[("a.yaml", "2")]);
    assert_eq!(packs(&folder), 1);
    client.repository.fetch("main", None).await.unwrap();
    assert!(packs(&folder) <= 2);
    let waited = async {
        while packs(&folder) != 1 {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(std::time::Duration::from_secs(30), waited)
        .await
        .unwrap();
    assert!(
        client
            .repository
            .file_at(head, "a.yaml")
            .await
            .unwrap()
            .is_some()
    );
}

#[test]
fn a_branch_that_was_never_fetched_has_the_deadline_of_a_clone() {
    let tip = ObjectId::null(gix::hash::Kind::Sha1);
    let mut state = FetchState::default();
    state.record("tidegate/records", tip);
    assert_eq!(state.extent("main"), FetchExtent::Full);
    state.record("main", tip);
    assert_eq!(state.extent("main"), FetchExtent::Incremental);
}

mod https;
mod limits;
mod sharing;
