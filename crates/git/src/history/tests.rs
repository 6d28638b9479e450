#![expect(clippy::unwrap_used, reason = "a test that cannot prepare has failed")]

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use super::ContentPlace;
use crate::testing::Server;

const FILE: &str = "prod/app.yaml";

fn says(word: &'static str) -> impl Fn(&[u8]) -> bool + Send {
    move |bytes| String::from_utf8_lossy(bytes).contains(word)
}

fn place(path: &str) -> ContentPlace {
    ContentPlace {
        folder: "prod".to_owned(),
        path: path.to_owned(),
    }
}

#[tokio::test]
async fn a_file_that_moves_is_no_new_request() {
    let server = Server::new();
    server.commit("main", &[("prod/old.yaml", "good")]);
    let request = server.commit("main", &[("prod/old.yaml", "bad")]);
    server.delete_file("main", "prod/old.yaml");
    let moved = [("prod/sub/new.yaml", "bad"), ("prod/other.yaml", "x")];
    let again = server.commit("main", &moved);
    let client = server.client();
    client.repository.fetch("main", None).await.unwrap();
    let found = client
        .repository
        .requested_by(again, place("prod/sub/new.yaml"), says("bad"), None)
        .await
        .unwrap();
    assert_ne!(request, again);
    assert_eq!(found.unwrap().id, again, "it was away in between");

    server.commit("main", &[("prod/third.yaml", "bad")]);
    server.delete_file("main", "prod/sub/new.yaml");
    let head = server.commit("main", &[("prod/third.yaml", "bad # moved")]);
    client.repository.fetch("main", None).await.unwrap();
    let found = client
        .repository
        .requested_by(head, place("prod/third.yaml"), says("bad"), None)
        .await
        .unwrap();
    assert_eq!(found.unwrap().id, again, "moved, and never away");
}

#[tokio::test]
async fn the_oldest_commit_of_the_unbroken_run_made_the_request() {
    let server = Server::new();
    server.commit("main", &[(FILE, "bad")]);
    server.commit("main", &[(FILE, "good")]);
    let request = server.commit("main", &[(FILE, "bad")]);
    server.commit("main", &[("README.md", "unrelated")]);
    let head = server.commit("main", &[(FILE, "bad # with a comment")]);
    let client = server.client();
    client.repository.fetch("main", None).await.unwrap();
    let ask = |word, until| {
        client
            .repository
            .requested_by(head, place(FILE), says(word), until)
    };

    let found = ask("bad", None).await.unwrap().unwrap();
    assert_eq!(found.id, request);
    assert_eq!(found.author.email, "ada@example.com");
    assert_eq!(ask("good", None).await.unwrap(), None);
    assert_eq!(ask("bad", Some(head)).await.unwrap().unwrap().id, head);
}

#[tokio::test]
async fn a_file_that_was_deleted_is_requested_again() {
    let server = Server::new();
    server.commit("main", &[(FILE, "bad"), ("x", "")]);
    server.delete_file("main", FILE);
    let request = server.commit("main", &[(FILE, "bad")]);
    let client = server.client();
    client.repository.fetch("main", None).await.unwrap();
    let found = client
        .repository
        .requested_by(request, place(FILE), says("bad"), None)
        .await
        .unwrap();
    assert_eq!(found.unwrap().id, request);
    let none = client
        .repository
        .requested_by(request, place("none"), says(""), None)
        .await
        .unwrap();
    assert_eq!(none, None);
}

#[tokio::test]
async fn each_content_is_compared_once() {
    let server = Server::new();
    let mut head = server.commit("main", &[(FILE, "same")]);
    for round in 0..20 {
        head = server.commit("main", &[("other", &round.to_string())]);
    }
    let client = server.client();
    client.repository.fetch("main", None).await.unwrap();
    let compared = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&compared);
    let same = move |_: &[u8]| counter.fetch_add(1, Ordering::Relaxed) < 1;
    client
        .repository
        .requested_by(head, place(FILE), same, None)
        .await
        .unwrap();
    assert_eq!(compared.load(Ordering::Relaxed), 1);
}

#[tokio::test]
async fn earlier_contents_end_before_a_commit_that_is_known() {
    let server = Server::new();
    for content in ["1", "2"] {
        server.commit("main", &[(FILE, content)]);
    }
    let known = server.commit("main", &[(FILE, "3")]);
    server.commit("main", &[(FILE, "4")]);
    let head = server.commit("main", &[(FILE, "5")]);
    let client = server.client();
    client.repository.fetch("main", None).await.unwrap();
    for (until, expected) in [(None, "4321"), (Some(known), "4"), (Some(head), "4321")] {
        let contents = client
            .repository
            .earlier_contents(head, FILE.to_owned(), until, 20)
            .await
            .unwrap();
        let seen: String = contents
            .iter()
            .map(|(_, bytes)| String::from_utf8_lossy(bytes).into_owned())
            .collect();
        assert_eq!(seen, expected);
    }
}
