#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use super::*;

fn shell(dir: &Path, script: &str) -> ChildProcess {
    ProcessSpec::new("shell", "/bin/sh", dir.join("shell.log"))
        .args(["-c", script])
        .spawn()
        .unwrap()
}

async fn until_log_says(process: &mut ChildProcess, text: &str) {
    let log = process.log().to_owned();
    process
        .wait_ready(Duration::from_secs(10), || {
            let said = fs::read_to_string(&log).unwrap().contains(text);
            async move { said }
        })
        .await
        .unwrap();
}

#[tokio::test]
async fn output_goes_to_the_log() {
    let dir = tempfile::tempdir().unwrap();
    let mut process = shell(dir.path(), "echo out; echo err >&2");
    assert!(process.wait().await.unwrap().success());
    assert_eq!(process.log_tail(), "out\nerr\n");
}

#[tokio::test]
async fn stopping_asks_first() {
    let dir = tempfile::tempdir().unwrap();
    let mut process = shell(
        dir.path(),
        "trap 'exit 7' TERM; echo up; while :; do sleep 0.02; done",
    );
    until_log_says(&mut process, "up").await;
    let status = process.stop(Duration::from_secs(10)).await.unwrap();
    assert_eq!(status.code(), Some(7));
}

#[tokio::test]
async fn stopping_kills_what_does_not_listen() {
    let dir = tempfile::tempdir().unwrap();
    let mut process = shell(
        dir.path(),
        "trap '' TERM; echo up; while :; do sleep 0.02; done",
    );
    until_log_says(&mut process, "up").await;
    let status = process.stop(Duration::from_millis(50)).await.unwrap();
    assert!(ended_by(status, Signal::SIGKILL));
}

#[tokio::test]
async fn an_early_end_is_told_with_the_end_of_the_log() {
    let dir = tempfile::tempdir().unwrap();
    let mut process = shell(dir.path(), "echo no such option; exit 3");
    let error = process
        .wait_ready(Duration::from_secs(10), || async { false })
        .await
        .unwrap_err();
    assert!(matches!(error, ProcessError::EndedEarly { .. }), "{error}");
    assert!(error.to_string().contains("no such option"), "{error}");
}

#[tokio::test]
async fn a_probe_that_hangs_does_not_outlive_the_limit() {
    let dir = tempfile::tempdir().unwrap();
    let mut process = shell(dir.path(), "exec sleep 60");
    let error = process
        .wait_ready(Duration::from_millis(50), std::future::pending)
        .await
        .unwrap_err();
    assert!(matches!(error, ProcessError::NotReady { .. }), "{error}");
}

#[tokio::test]
async fn a_frozen_process_runs_on_once_thawed() {
    let dir = tempfile::tempdir().unwrap();
    // Not a shell: one that waits for a child that is frozen before its exec is never `T`.
    let mut process = ProcessSpec::new("cat", "/bin/cat", dir.path().join("cat.log"))
        .leash()
        .spawn()
        .unwrap();
    process.freeze().unwrap();
    until_state(process.pid(), 'T').await;
    assert!(process.exit_status().unwrap().is_none());
    process.group().thaw().unwrap();
    until_state(process.pid(), 'S').await;
}

#[tokio::test]
async fn a_leashed_process_sees_its_end_of_input_only_when_let_go() {
    let dir = tempfile::tempdir().unwrap();
    let mut process = ProcessSpec::new("cat", "/bin/cat", dir.path().join("cat.log"))
        .leash()
        .spawn()
        .unwrap();
    let still_there = tokio::time::timeout(Duration::from_millis(50), process.wait()).await;
    assert!(still_there.is_err());
    drop(process.child.stdin.take());
    assert!(process.wait().await.unwrap().success());
}

#[tokio::test]
async fn dropping_it_ends_the_whole_group() {
    let dir = tempfile::tempdir().unwrap();
    let mut process = shell(dir.path(), "sleep 600 & echo child $!.; wait");
    until_log_says(&mut process, ".").await;
    let said = process.log_tail();
    let grandchild = said
        .split_whitespace()
        .nth(1)
        .and_then(|word| word.trim_end_matches('.').parse().ok())
        .unwrap();
    drop(process);
    until_state(grandchild, 'Z').await;
}

/// Waits until the process is in this state; `Z` also means gone.
async fn until_state(pid: i32, state: char) {
    let stat = format!("/proc/{pid}/stat");
    let reached = async {
        loop {
            match fs::read_to_string(&stat) {
                Err(_) if state == 'Z' => return,
                Ok(text) if text.contains(&format!(") {state} ")) => return,
                _ => tokio::time::sleep(PROBE_INTERVAL).await,
            }
        }
    };
    tokio::time::timeout(Duration::from_secs(10), reached)
        .await
        .unwrap();
}
