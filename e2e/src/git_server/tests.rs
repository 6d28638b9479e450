#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::net::Ipv4Addr;

use base64::{Engine as _, prelude::BASE64_STANDARD};
use tempfile::TempDir;

use super::{git::Git, *};

const LOCALHOST: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

/// A server in a folder of its own, or nothing, with a sentence, where it cannot be had.
async fn a_server() -> Option<(TempDir, GitServer)> {
    if let Err(missing) = GitServer::check_programs().await {
        println!("skipped: {missing}");
        return None;
    }
    let root = tempfile::tempdir().unwrap();
    let server = GitServer::launch(root.path(), LOCALHOST).await.unwrap();
    Some((root, server))
}

/// `git -c … ARGS` of a client that shows this `Authorization`.
async fn client(
    server: &GitServer,
    dir: &Path,
    authorization: &str,
    args: &[&str],
) -> Result<String, RepoError> {
    let ca = dir.join("ca.pem");
    fs::write(&ca, server.ca_pem()).unwrap();
    let trust = format!("http.sslCAInfo={}", ca.display());
    let header = format!("http.extraHeader=Authorization: {authorization}");
    let mut all = vec!["-c", &trust, "-c", &header];
    all.extend(args);
    Git::new(dir, all).text().await
}

fn basic(server: &GitServer) -> String {
    let Credentials {
        username, password, ..
    } = server.credentials();
    format!(
        "Basic {}",
        BASE64_STANDARD.encode(format!("{username}:{password}"))
    )
}

fn bearer(server: &GitServer) -> String {
    format!("Bearer {}", server.credentials().bearer_token)
}

#[tokio::test]
async fn a_clone_and_a_push_need_a_login() {
    let Some((_root, server)) = a_server().await else {
        return;
    };
    let repo = server.repo("shop/config").await.unwrap();
    let first = repo
        .commit([Change::write("a.yaml", "a: 1\n")], "Begin")
        .await
        .unwrap();
    let url = server.url("shop/config");
    let dir = tempfile::tempdir().unwrap();
    for login in [basic(&server), bearer(&server)] {
        let seen = client(&server, dir.path(), &login, &["ls-remote", &url, "main"]).await;
        assert!(seen.unwrap().starts_with(&first));
    }
    for wrong in ["Bearer Bearer-Sesame-2", "Basic b3Blbg==", ""] {
        let refused = client(&server, dir.path(), wrong, &["ls-remote", &url]).await;
        refused.unwrap_err();
    }

    let login = bearer(&server);
    client(&server, dir.path(), &login, &["clone", "-q", &url, "work"])
        .await
        .unwrap();
    let work = dir.path().join("work");
    let push = ["push", "-q", "origin", "main:tidegate/records"];
    client(&server, &work, &login, &push).await.unwrap();
    assert_eq!(repo.tip("tidegate/records").await.unwrap(), Some(first));
    repo.allow_push(false).await.unwrap();
    let push = ["push", "-q", "origin", "main:another"];
    client(&server, &work, &login, &push).await.unwrap_err();
}

#[tokio::test]
async fn a_server_that_is_down_refuses_and_comes_back_as_it_was() {
    let Some((_root, mut server)) = a_server().await else {
        return;
    };
    let repo = server.repo("shop").await.unwrap();
    let url = server.url("shop");
    let dir = tempfile::tempdir().unwrap();
    let login = basic(&server);
    server.stop().await.unwrap();
    let error = client(&server, dir.path(), &login, &["ls-remote", &url])
        .await
        .unwrap_err();
    assert!(error.to_string().contains("onnect"), "{error}");
    let commit = repo
        .commit([Change::write("a", "1")], "While down")
        .await
        .unwrap();
    server.start().await.unwrap();
    let seen = client(&server, dir.path(), &login, &["ls-remote", &url])
        .await
        .unwrap();
    assert!(seen.starts_with(&commit), "{seen}");
}

#[tokio::test]
async fn a_server_that_is_frozen_answers_when_it_goes_on() {
    let Some((_root, mut server)) = a_server().await else {
        return;
    };
    let url = server.url("shop");
    let commit = server
        .repo("shop")
        .await
        .unwrap()
        .commit([Change::write("a", "1")], "Begin")
        .await
        .unwrap();
    let dir = tempfile::tempdir().unwrap();
    let login = basic(&server);
    let command = ["ls-remote", &url];
    server.freeze().unwrap();
    let asked = client(&server, dir.path(), &login, &command);
    let asked = tokio::time::timeout(std::time::Duration::from_millis(300), asked).await;
    asked.expect_err("a frozen server answers nothing");
    server.thaw().unwrap();
    let seen = client(&server, dir.path(), &login, &command).await.unwrap();
    assert!(seen.starts_with(&commit), "{seen}");
}

#[tokio::test]
async fn a_repository_is_read_and_written_without_a_server() {
    let dir = tempfile::tempdir().unwrap();
    let repo = Repo::open_or_init(&dir.path().join("a.git")).await.unwrap();
    assert_eq!(repo.head().await.unwrap(), None);
    assert_eq!(repo.log("main").await.unwrap(), []);
    assert_eq!(repo.file_at("main", "x").await.unwrap(), None);

    let files = [
        Change::write("prod/ü.yaml", "one\n"),
        Change::write("b", "two"),
    ];
    let first = repo.commit(files, "Begin\n\nTrailer: yes").await.unwrap();
    let second = repo
        .commit([Change::delete("b"), Change::write("c", "three")], "Go on")
        .await
        .unwrap();
    assert_eq!(repo.head().await.unwrap(), Some(second.clone()));
    assert_eq!(repo.files("main").await.unwrap(), ["c", "prod/ü.yaml"]);
    assert_eq!(
        repo.file_at("main", "prod/ü.yaml").await.unwrap().unwrap(),
        "one\n"
    );
    assert_eq!(repo.file_at(&first, "b").await.unwrap().unwrap(), "two");

    let log = repo.log("main").await.unwrap();
    assert_eq!(log.len(), 2);
    assert_eq!((&log[0].id, log[0].message.as_str()), (&second, "Go on"));
    assert_eq!(
        (&log[1].id, log[1].message.as_str()),
        (&first, "Begin\n\nTrailer: yes")
    );
    assert_eq!(log[1].author, "Dev Eloper <dev@example.com>");

    repo.force("main", &first).await.unwrap();
    assert_eq!(repo.head().await.unwrap(), Some(first));
    repo.delete_branch("main").await.unwrap();
    assert_eq!(repo.head().await.unwrap(), None);
}

#[test]
fn credentials_do_not_tell_their_secrets() {
    let told = format!("{:?}", Credentials::default());
    assert!(!told.contains("sesame"), "{told}");
}
