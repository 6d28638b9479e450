#![expect(clippy::unwrap_used, reason = "a test that cannot prepare has failed")]

use std::{fs, net::TcpListener, os::unix::fs::PermissionsExt as _};

use landlock::{
    ABI, Access as _, AccessFs, AccessNet, CompatLevel, Compatible as _, Ruleset, RulesetAttr as _,
};
use tempfile::TempDir;

use super::*;

const LIMITS: Limits = Limits {
    deadline: Duration::from_mins(1),
    memory_bytes: 256 * 1024 * 1024,
    output_bytes: 64 * 1024,
};

/// Runs a script in a folder of its own; returns the folder, too.
async fn run_within(script: &str, limits: Limits) -> (TempDir, Result<Output, RunError>) {
    let folder = tempfile::tempdir().unwrap();
    fs::create_dir(folder.path().join("home")).unwrap();
    let script_file = folder.path().join("script");
    fs::write(&script_file, script).unwrap();
    let call = Call {
        // Not the script itself: a file that has just been written cannot be run while another thread forks.
        program: Path::new("/bin/sh"),
        args: vec![script_file.into()],
        folder: folder.path(),
        within: folder.path().join("home"),
        has_home: true,
        limits,
    };
    let output = call.run().await;
    (folder, output)
}

async fn run(script: &str) -> Output {
    run_within(script, LIMITS).await.1.unwrap()
}

fn printed(output: &Output) -> String {
    assert!(output.status.success(), "{}", output.stderr);
    String::from_utf8_lossy(&output.stdout).into_owned()
}

#[tokio::test]
async fn nothing_of_the_environment_reaches_a_program() {
    let output = run("/usr/bin/env").await;
    // A shell adds the last ones by itself.
    let ours = [
        "HOME=",
        "TMPDIR=",
        "PATH=/nonexistent",
        "LC_ALL=",
        "TZ=",
        "GOMEMLIMIT=",
        "GOMAXPROCS=",
        "HTTP",
        "http",
        "PWD=",
        "OLDPWD=",
        "SHLVL=",
        "_=",
    ];
    for line in printed(&output).lines() {
        assert!(ours.iter().any(|name| line.starts_with(name)), "{line}");
    }
}

#[tokio::test]
async fn a_program_gives_way_to_others_and_has_limits() {
    // It may look before it is restricted.
    let script = "until [ $(ulimit -d) = 262144 ] && [ $(/usr/bin/nice) -ge 10 ]; do :; done; echo restricted";
    assert_eq!(printed(&run(script).await), "restricted\n");
}

#[tokio::test]
async fn files_of_the_machine_are_not_seen_where_the_kernel_can_see_to_it() {
    let outside = tempfile::tempdir().unwrap();
    let secret = outside.path().join("token");
    fs::write(&secret, "hunter2").unwrap();
    fs::set_permissions(&secret, fs::Permissions::from_mode(0o644)).unwrap();
    let script = format!(
        "read line < {}; echo \"$line\"; echo x > {}",
        secret.display(),
        outside.path().join("new").display()
    );
    let output = run(&script).await;
    if strict().handle_access(AccessFs::from_all(ABI::V1)).is_ok() {
        assert!(!String::from_utf8_lossy(&output.stdout).contains("hunter2"));
        assert!(!outside.path().join("new").exists());
    }
}

#[tokio::test]
async fn no_server_is_reached_where_the_kernel_can_see_to_it() {
    let server = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = server.local_addr().unwrap().port();
    let output = run(&format!(
        "exec /bin/bash -c 'exec 3<>/dev/tcp/127.0.0.1/{port}'"
    ))
    .await;
    if strict().handle_access(AccessNet::from_all(ABI::V4)).is_ok() {
        assert!(
            output.stderr.contains("Permission denied"),
            "{}",
            output.stderr
        );
    }
}

/// A set of rules that fails where the kernel cannot enforce it.
fn strict() -> Ruleset {
    Ruleset::default().set_compatibility(CompatLevel::HardRequirement)
}

#[tokio::test]
async fn a_folder_of_its_own_is_read_and_written() {
    let output = run("echo y > file; read line < file; echo $line < /dev/null").await;
    assert_eq!(printed(&output), "y\n");
}

#[tokio::test]
async fn the_process_group_is_killed_at_the_deadline() {
    let limits = Limits {
        deadline: Duration::from_secs(1),
        ..LIMITS
    };
    let script = "/bin/sleep 600 & echo $! > pid.new; /bin/mv pid.new pid; wait";
    let (folder, output) = run_within(script, limits).await;
    assert!(matches!(output, Err(RunError::TooSlow)));
    let pid = fs::read_to_string(folder.path().join("home/pid")).unwrap();
    let stat = format!("/proc/{}/stat", pid.trim());
    let asked = tokio::time::Instant::now();
    // Gone, or dead and not yet waited for by its new parent.
    while fs::read_to_string(&stat).is_ok_and(|stat| !stat.contains(") Z ")) {
        assert!(
            asked.elapsed() < Duration::from_mins(1),
            "the child lives on"
        );
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn too_much_output_ends_a_run_and_words_are_cut() {
    let endless = "while :; do echo 0123456789012345678901234567890123456789; done";
    let (_, output) = run_within(endless, LIMITS).await;
    assert!(matches!(output, Err(RunError::TooMuch)));
    let words = "i=0; while [ $i -lt 3000 ]; do echo 0123456789 >&2; i=$((i+1)); done; exit 3";
    let output = run(words).await;
    assert_eq!(output.status.code(), Some(3));
    assert_eq!(output.stderr.len(), STDERR_BYTES);
}

#[tokio::test]
async fn a_program_that_cannot_be_started_is_an_error_of_its_own() {
    let folder = tempfile::tempdir().unwrap();
    let call = Call {
        program: Path::new("/nonexistent/kustomize"),
        args: Vec::new(),
        folder: folder.path(),
        within: folder.path().to_owned(),
        has_home: false,
        limits: LIMITS,
    };
    assert!(matches!(call.run().await, Err(RunError::Io(_))));
}
