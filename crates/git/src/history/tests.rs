#![expect(clippy::unwrap_used, reason = "a test that cannot prepare has failed")]

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use crate::testing::Server;

const FILE: &str = "prod/app.yaml";

fn says(word: &'static str) -> impl Fn(&[u8]) -> bool + Send {
    move |bytes| String::from_utf8_lossy(bytes).contains(word)
}

#[tokio::test]
async fn the_oldest_commit_of_the_unbroken_run_asked() {
    let server = Server::new();
    server.commit("main", &[(FILE, "bad")]);
    server.commit("main", &[(FILE, "good")]);
    let asked = server.commit("main", &[(FILE, "bad")]);
    server.commit("main", &[("README.md", "unrelated")]);
    let head = server.commit("main", &[(FILE, "bad # with a comment")]);
    let client = server.client();
    client.repository.fetch("main", None).await.unwrap();
    let ask = |word, until| client.repository.asked_by(head, FILE, says(word), until);

    let found = ask("bad", None).await.unwrap().unwrap();
    assert_eq!(found.id, asked);
    assert_eq!(found.author.email, "ada@example.com");
    assert_eq!(ask("good", None).await.unwrap(), None);
    assert_eq!(ask("bad", Some(head)).await.unwrap().unwrap().id, head);
}

#[tokio::test]
async fn a_file_that_was_gone_is_asked_for_again() {
    let server = Server::new();
    server.commit("main", &[(FILE, "bad"), ("x", "")]);
    server.delete_file("main", FILE);
    let asked = server.commit("main", &[(FILE, "bad")]);
    let client = server.client();
    client.repository.fetch("main", None).await.unwrap();
    let found = client
        .repository
        .asked_by(asked, FILE, says("bad"), None)
        .await
        .unwrap();
    assert_eq!(found.unwrap().id, asked);
    let none = client
        .repository
        .asked_by(asked, "none", says(""), None)
        .await
        .unwrap();
    assert_eq!(none, None);
}

#[tokio::test]
async fn each_content_is_judged_once() {
    let server = Server::new();
    let mut head = server.commit("main", &[(FILE, "same")]);
    for round in 0..20 {
        head = server.commit("main", &[("other", &round.to_string())]);
    }
    let client = server.client();
    client.repository.fetch("main", None).await.unwrap();
    let asked = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&asked);
    let same = move |_: &[u8]| counter.fetch_add(1, Ordering::Relaxed) < 1;
    client
        .repository
        .asked_by(head, FILE, same, None)
        .await
        .unwrap();
    assert_eq!(asked.load(Ordering::Relaxed), 1);
}
