//! Requests and processes, counted at a server with TLS and a password.

use std::time::Duration;

use futures::future::join_all;
use jiff::SignedDuration;
use tempfile::TempDir;

use super::*;
use crate::{
    remote::Credentials,
    secret::Secret,
    testing::{https::HttpsServer, write_script},
    transport::TransportSettings,
};

const INTERVAL: SignedDuration = SignedDuration::from_secs(30);

/// A client whose git programs are counted.
struct Counted {
    folder: TempDir,
    git: Arc<Git>,
    remote: Remote,
}

impl Counted {
    fn new(server: &HttpsServer, ca: &[u8]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let program = folder.path().join("git");
        let log = folder.path().join("runs").display().to_string();
        write_script(
            &program,
            &format!("#!/bin/sh\necho \"$1\" >> '{log}'\nexec git \"$@\"\n"),
        );
        let credentials = Credentials::Basic {
            username: "git".into(),
            password: Secret::new("hunter2"),
        };
        let remote = Remote::new(&server.url, credentials).unwrap();
        Self {
            git: process(&folder),
            remote: remote.with_ca(ca.to_vec()),
            folder,
        }
    }

    fn repository(&self) -> Repository {
        self.git.repository(self.remote.clone())
    }

    /// Runs of git since the last call.
    fn runs(&self) -> Vec<String> {
        let log = self.folder.path().join("runs");
        let runs = fs::read_to_string(&log).unwrap_or_default();
        let _ = fs::remove_file(log);
        runs.lines().map(str::to_owned).collect()
    }
}

/// All clones, as a process has them that has just started.
fn process(folder: &TempDir) -> Arc<Git> {
    let settings = TransportSettings {
        program: folder.path().join("git"),
        ..TransportSettings::default()
    };
    let transport = Transport::new(settings).unwrap();
    let cache = folder.path().join("cache");
    Arc::new(Git::new(transport, cache, Limits::default()))
}

fn at(second: i64) -> Freshness {
    Freshness {
        now: Timestamp::from_second(second).unwrap(),
        max_age: INTERVAL,
    }
}

/// Looks of many at the same time.
async fn look_all(readers: &[Repository], second: i64) -> Vec<Look> {
    let looks = readers
        .iter()
        .map(|reader| reader.look("main", None, at(second)));
    join_all(looks).await
}

#[tokio::test]
async fn a_hundred_readers_of_a_branch_are_one_request_each_interval_and_no_process() {
    let origin = Server::new();
    let first = origin.commit("main", &[("a.yaml", "1")]);
    let server = HttpsServer::start(origin.path()).await;
    let counted = Counted::new(&server, &server.ca);
    let readers: Vec<_> = (0..100).map(|_| counted.repository()).collect();
    for looked in look_all(&readers, 0).await {
        assert_eq!(looked.head.unwrap().id, first);
    }
    assert_eq!(counted.runs(), ["init", "fetch"]);
    let asked = server.requests();
    assert_eq!(asked[0], "200 POST /a.git/git-upload-pack", "{asked:?}");

    for interval in 1..=3 {
        for looked in look_all(&readers, interval * 30).await {
            assert_eq!(looked.head.unwrap().id, first);
        }
        assert_eq!(counted.runs(), [] as [&str; 0]);
        assert_eq!(server.requests(), ["200 POST /a.git/git-upload-pack"]);
    }

    let second = origin.commit("main", &[("a.yaml", "2")]);
    for looked in look_all(&readers, 120).await {
        assert_eq!(looked.head.unwrap().id, second);
    }
    assert_eq!(counted.runs(), ["fetch"]);
}

#[tokio::test]
async fn a_process_that_was_restarted_fetches_nothing_that_is_there() {
    let origin = Server::new();
    let head = origin.commit("main", &[("a.yaml", "1")]);
    let server = HttpsServer::start(origin.path()).await;
    let mut counted = Counted::new(&server, &server.ca);
    let looked = counted.repository().look("main", None, at(0)).await;
    assert_eq!(looked.head.unwrap().id, head);
    counted.git = process(&counted.folder);
    counted.runs();
    server.requests();
    let looked = counted.repository().look("main", Some(head), at(0)).await;
    assert_eq!(looked.head.unwrap().id, head);
    assert_eq!(counted.runs(), [] as [&str; 0]);
    assert_eq!(server.requests().len(), 1);
}

#[tokio::test]
async fn a_server_that_is_away_is_no_process_each_time() {
    let origin = Server::new();
    origin.commit("main", &[("a.yaml", "1")]);
    let server = HttpsServer::start(origin.path()).await;
    let counted = Counted::new(&server, &server.ca);
    server.stop();
    let away = tokio::time::timeout(Duration::from_secs(30), async {
        let address = server.url.trim_start_matches("https://");
        let address = address.trim_end_matches("/a.git").to_owned();
        while tokio::net::TcpStream::connect(&address).await.is_ok() {
            tokio::task::yield_now().await;
        }
    });
    away.await.unwrap();
    let reader = counted.repository();
    let mut runs = Vec::new();
    for interval in 0..8 {
        let looked = reader.look("main", None, at(interval * 60)).await;
        let error = looked.head.unwrap_err();
        assert!(
            matches!(
                error,
                FetchError::Transport(TransportError::Unreachable { .. })
            ),
            "{error}"
        );
        runs.push(counted.runs().len());
    }
    assert_eq!(runs, [2, 0, 0, 0, 0, 2, 0, 0], "init and fetch");
}

#[tokio::test]
async fn a_server_of_another_ca_is_not_trusted_and_gets_no_password() {
    let origin = Server::new();
    origin.commit("main", &[("a.yaml", "1")]);
    let server = HttpsServer::start(origin.path()).await;
    let other = HttpsServer::start(origin.path()).await;
    let counted = Counted::new(&server, &other.ca);
    let looked = counted.repository().look("main", None, at(0)).await;
    let error = looked.head.unwrap_err();
    assert!(
        matches!(error, FetchError::Transport(TransportError::Tls { .. })),
        "{error}"
    );
    assert!(!error.to_string().contains("hunter2"), "{error}");
    assert_eq!(server.requests(), [] as [&str; 0]);
}
