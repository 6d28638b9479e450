#![expect(clippy::unwrap_used, reason = "a test that cannot prepare has failed")]

use std::{io::Write as _, net::TcpListener, process, thread};

use super::{process::OUTPUT_CAP_BYTES, *};
use crate::testing::write_script;

/// A program in place of git that writes down its input.
struct Fake {
    folder: TempDir,
    transport: Transport,
}

impl Fake {
    fn new(script: &str, deadline: Duration) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let program = folder.path().join("git");
        let out = folder.path().display();
        write_script(&program, &format!("#!/bin/sh\nout='{out}'\n{script}\n"));
        let settings = TransportSettings {
            program,
            deadline,
            proxy: Some(Secret::new("http://proxy:proxypass@proxy.example.com")),
            ..TransportSettings::default()
        };
        Self {
            folder,
            transport: Transport::new(settings).unwrap(),
        }
    }

    async fn fetch(&self, credentials: Credentials) -> Result<(), TransportError> {
        let remote = Remote::new("https://git.example.com/a.git", credentials)
            .unwrap()
            .with_ca(b"PEM".to_vec());
        self.transport
            .fetch(
                Path::new("/nowhere"),
                &remote,
                "refs/heads/main",
                FetchExtent::Incremental,
                ROOM,
            )
            .await
    }

    fn read(&self, file: &str) -> String {
        fs::read_to_string(self.folder.path().join(file)).unwrap()
    }
}

fn basic() -> Credentials {
    Credentials::Basic {
        username: "bob".into(),
        password: Secret::new("hunter2"),
    }
}

const ROOM: u64 = 1024 * 1024;

const MINUTE: Duration = Duration::from_mins(1);

#[tokio::test]
async fn git_inherits_nothing_of_the_environment() {
    let fake = Fake::new(
        r#"env > "$out/env"; cat "$GIT_CONFIG_VALUE_13" > "$out/ca"; ls -A "$GIT_CONFIG_VALUE_14" > "$out/ca-path""#,
        MINUTE,
    );
    fake.fetch(basic()).await.unwrap();

    let env = fake.read("env");
    // A shell adds these by itself.
    let ours = [
        "GIT_",
        "TIDEGATE_GIT_",
        "PATH=",
        "HOME=",
        "TMPDIR=",
        "LC_ALL=C",
        "https_proxy=",
        "PWD=",
        "OLDPWD=",
        "SHLVL=",
        "_=",
    ];
    for line in env.lines() {
        assert!(ours.iter().any(|name| line.starts_with(name)), "{line}");
    }
    let home = std::env::var("HOME").unwrap_or_default();
    assert!(!env.lines().any(|line| line == format!("HOME={home}")));
    for line in [
        "GIT_CONFIG_NOSYSTEM=1",
        "GIT_CONFIG_GLOBAL=/dev/null",
        "GIT_TERMINAL_PROMPT=0",
        "GIT_ALLOW_PROTOCOL=https",
        "GIT_CONFIG_KEY_13=http.sslCAInfo",
        "GIT_CONFIG_KEY_14=http.sslCAPath",
    ] {
        assert!(env.lines().any(|there| there == line), "{line} in {env}");
    }
    assert_eq!(fake.read("ca"), "PEM");
    assert_eq!(fake.read("ca-path"), "", "the system's are not trusted");
}

#[tokio::test]
async fn a_run_gives_way_to_others_and_has_limits() {
    let script = r#"nice > "$out/nice"; ulimit -d > "$out/memory"; ulimit -f > "$out/file""#;
    let fake = Fake::new(script, MINUTE);
    fake.fetch(basic()).await.unwrap();
    assert_eq!(
        fake.read("memory").trim(),
        (PROCESS_BYTES / 1024).to_string()
    );
    assert_eq!(fake.read("file").trim(), (ROOM / 512).to_string());
    let nice: i32 = fake.read("nice").trim().parse().unwrap();
    assert!(nice >= 10, "{nice}");
}

#[tokio::test]
async fn a_program_that_is_not_there_cannot_be_run() {
    let mut fake = Fake::new("", MINUTE);
    fake.transport.settings.program = "/nowhere/git".into();
    let error = fake.fetch(basic()).await.unwrap_err();
    assert!(matches!(error, TransportError::Spawn(_)), "{error}");
}

#[tokio::test]
async fn a_password_is_passed_by_askpass_and_not_in_the_arguments() {
    let script = r#"echo "$@" > "$out/args"
"$GIT_ASKPASS" "Username for 'https://x': " > "$out/user"
"$GIT_ASKPASS" "Password for 'https://bob@x': " > "$out/password""#;
    let fake = Fake::new(script, MINUTE);
    fake.fetch(basic()).await.unwrap();
    assert_eq!(fake.read("user"), "bob\n");
    assert_eq!(fake.read("password"), "hunter2\n");
    assert!(!fake.read("args").contains("hunter2"));
}

#[tokio::test]
async fn a_bearer_token_is_passed_as_a_header_and_not_in_the_arguments() {
    let fake = Fake::new(r#"echo "$@" > "$out/args"; env > "$out/env""#, MINUTE);
    fake.fetch(Credentials::Bearer(Secret::new("hunter2")))
        .await
        .unwrap();
    assert!(
        fake.read("env")
            .contains("=Authorization: Bearer hunter2\n")
    );
    assert!(!fake.read("args").contains("hunter2"));
}

#[tokio::test]
async fn an_error_contains_no_credential() {
    let script = r#"env >&2
echo "fatal: https://bob:other@x Ym9iOmh1bnRlcjI=" >&2
exit 128"#;
    for credentials in [basic(), Credentials::Bearer(Secret::new("hunter2"))] {
        let is_basic = matches!(credentials, Credentials::Basic { .. });
        let fake = Fake::new(script, MINUTE);
        let error = fake.fetch(credentials).await.unwrap_err();
        let shown = format!("{error} {error:?} {:?}", fake.transport);
        for secret in ["hunter2", "other@", "proxypass"] {
            assert!(!shown.contains(secret), "{secret} in {shown}");
        }
        assert!(!is_basic || !shown.contains("Ym9iOmh1bnRlcjI="), "{shown}");
    }
}

#[tokio::test]
async fn the_process_group_is_killed_at_the_deadline() {
    let script = r#"sleep 600 & echo $! > "$out/pid.new"; mv "$out/pid.new" "$out/pid"; wait"#;
    let fake = Fake::new(script, Duration::from_secs(1));
    let error = fake.fetch(basic()).await.unwrap_err();
    assert!(
        matches!(error, TransportError::DeadlineExceeded { .. }),
        "{error}"
    );

    let stat = format!("/proc/{}/stat", fake.read("pid").trim());
    let asked = tokio::time::Instant::now();
    // Gone, or dead and not yet waited for by its new parent.
    while fs::read_to_string(&stat).is_ok_and(|stat| !stat.contains(") Z ")) {
        assert!(asked.elapsed() < MINUTE, "the child lives on");
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn endless_output_is_read_and_cut() {
    let script =
        "i=0; while [ $i -lt 3000 ]; do printf '%0100d\\n' 7 >&2; i=$((i+1)); done; exit 1";
    let fake = Fake::new(script, MINUTE);
    let error = fake.fetch(basic()).await.unwrap_err().to_string();
    assert!(error.len() < 2 * OUTPUT_CAP_BYTES);
}

#[tokio::test]
async fn a_protocol_that_is_not_allowed_is_an_error() {
    let transport = Transport::new(TransportSettings::default()).unwrap();
    let remote = Remote::new("file:///etc", Credentials::Anonymous).unwrap();
    let error = transport
        .fetch(
            Path::new("/nowhere"),
            &remote,
            "refs/heads/main",
            FetchExtent::Incremental,
            ROOM,
        )
        .await
        .unwrap_err();
    assert!(matches!(error, TransportError::ProtocolNotAllowed { .. }));
}

/// Fetches with the real git from a port of this machine.
async fn fetch_from_port(port: u16) -> TransportError {
    let transport = Transport::new(TransportSettings::default()).unwrap();
    let folder = tempfile::tempdir().unwrap();
    transport
        .local(folder.path(), &["init", "--quiet", "--bare"])
        .await
        .unwrap();
    let url = format!("https://127.0.0.1:{port}/a.git");
    let remote = Remote::new(&url, Credentials::Anonymous).unwrap();
    transport
        .fetch(
            folder.path(),
            &remote,
            "refs/heads/main",
            FetchExtent::Incremental,
            ROOM,
        )
        .await
        .unwrap_err()
}

#[tokio::test]
async fn a_closed_port_is_unreachable() {
    let port = TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap()
        .port();
    let error = fetch_from_port(port).await;
    assert!(
        matches!(error, TransportError::Unreachable { .. }),
        "{error}"
    );
}

#[tokio::test]
async fn a_server_without_tls_is_a_tls_failure() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    thread::spawn(move || {
        for stream in listener.incoming() {
            let _ = stream.and_then(|mut stream| stream.write_all(b"HTTP/1.1 400 no\r\n\r\n"));
        }
    });
    let error = fetch_from_port(port).await;
    assert!(matches!(error, TransportError::Tls { .. }), "{error}");
}

/// Runs another test of this binary with a hostile configuration of git.
#[test]
fn a_hostile_configuration_changes_nothing() {
    let home = tempfile::tempdir().unwrap();
    let hostile = "[protocol]\n\tallow = never\n[url \"file:///nowhere/\"]\n\tinsteadOf = file://\n\
                   [core]\n\tsshCommand = false\n[fetch]\n\tprune = true\n[broken";
    fs::write(home.path().join(".gitconfig"), hostile).unwrap();
    let output = process::Command::new(std::env::current_exe().unwrap())
        .args([
            "--exact",
            "repository::tests::a_branch_is_fetched_with_its_history",
        ])
        .env("HOME", home.path())
        .env("GIT_DIR", "/nowhere")
        .env("GIT_ALLOW_PROTOCOL", "none")
        .env("GIT_CONFIG_PARAMETERS", "'protocol.allow'='never'")
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(
        output.status.success() && said.contains("1 passed"),
        "{said}"
    );
}

#[tokio::test]
async fn a_clone_has_a_deadline_of_its_own() {
    let (short, long) = (Duration::from_millis(1), Duration::from_millis(2));
    let mut fake = Fake::new("exec sleep 600", short);
    fake.transport.settings.clone_deadline = long;
    let remote = Remote::new("https://git.example.com/a", Credentials::Anonymous).unwrap();
    for (extent, expected) in [(FetchExtent::Incremental, short), (FetchExtent::Full, long)] {
        let fetched = fake
            .transport
            .fetch(
                Path::new("/nowhere"),
                &remote,
                "refs/heads/main",
                extent,
                ROOM,
            )
            .await;
        assert!(
            matches!(fetched, Err(TransportError::DeadlineExceeded { deadline, .. }) if deadline == expected)
        );
    }
}
