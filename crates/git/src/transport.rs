//! The `git` program, for every transfer: certificates per repository, proxies, limits for stalled transfers and SSH
//! are provided by it and by no library.
//!
//! Each run has an environment and a home of its own: nothing of the machine's or the user's
//! configuration reaches it, and no credential is in its arguments. It is killed with its whole
//! process group at the deadline, and when its future is dropped.

mod error;
mod lanes;
mod process;
mod ssh;

use std::{
    ffi::{OsStr, OsString},
    fs, io,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    process::Stdio,
    time::Duration,
};

use tempfile::TempDir;
use tokio::{process::Command, time::timeout};

pub use self::error::TransportError;
use self::{
    error::Direction,
    lanes::{Crowded, Lanes},
};
use crate::{
    limits::{PROCESS_BYTES, STREAMED_BYTES},
    remote::{Credentials, Protocol, Remote},
    secret::{Secret, redact},
};

/// Settings of the git program, the same for every repository.
#[derive(Clone, Debug)]
pub struct TransportSettings {
    /// The program. Defaults to `git`, found in `search_path`.
    pub program: PathBuf,
    /// `PATH` of the program and its own helpers. Defaults to `/usr/local/bin:/usr/bin:/bin`.
    pub search_path: OsString,
    /// Protocols that may be used. Defaults to `https` and `ssh`, and the product leaves it there.
    pub protocols: Vec<Protocol>,
    /// Maximum duration of a run. Defaults to 2m.
    pub deadline: Duration,
    /// Maximum duration of a run that fetches a whole repository. Defaults to 30m.
    pub clone_deadline: Duration,
    /// Maximum time for which a transfer may be slower than `stall_bytes_per_second`. Defaults to
    /// 20s.
    pub stall: Duration,
    /// Minimum rate of a transfer; see `stall`. Defaults to 1000.
    pub stall_bytes_per_second: u32,
    /// URL of an HTTP proxy, which may contain its password. Defaults to none.
    pub proxy: Option<Secret>,
    /// Hosts that are reached without the proxy, in the form of `NO_PROXY`. Defaults to none.
    pub no_proxy: Option<String>,
}

/// Runs the git program.
#[derive(Debug)]
pub struct Transport {
    settings: TransportSettings,
    lanes: Lanes,
    /// Contains the askpass script. It is written once: a script that has just been written cannot be
    /// run while another thread forks.
    folder: TempDir,
}

/// The repository, the remote and the deadline of one run.
struct GitCall<'a> {
    git_dir: &'a Path,
    remote: Option<&'a Remote>,
    direction: Direction,
    deadline: Duration,
    /// Maximum size of a file that is written, in bytes.
    file_bytes: Option<u64>,
}

/// Amount that a fetch transfers, which decides its deadline.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum FetchExtent {
    /// The commits since the last fetch.
    Incremental,
    /// The whole history.
    Full,
}

/// Answers git's prompts `Username for 'URL': ` and `Password for 'URL': `, and ssh's for a passphrase.
const ASKPASS: &str = r#"#!/bin/sh
case "$1" in
Username*) printf '%s\n' "$TIDEGATE_GIT_USERNAME" ;;
*) printf '%s\n' "$TIDEGATE_GIT_PASSWORD" ;;
esac
"#;

/// Runs a program as one that gives way to others, with a maximum of memory (KiB) and of the size of a file
/// that it writes (512 bytes each).
const LIMITED: &str = r#"ulimit -d "$1"; ulimit -f "$2"; shift 2; exec nice -n 10 "$@""#;

/// Status of a shell, or of `nice`, that cannot run the program.
const CANNOT_RUN: [i32; 2] = [126, 127];

// === impl TransportSettings ===

impl Default for TransportSettings {
    fn default() -> Self {
        Self {
            program: "git".into(),
            search_path: "/usr/local/bin:/usr/bin:/bin".into(),
            protocols: vec![Protocol::Https, Protocol::Ssh],
            deadline: Duration::from_mins(2),
            // A big repository takes its time; a transfer that does not progress is ended by
            // `stall`.
            clone_deadline: Duration::from_mins(30),
            stall: Duration::from_secs(20),
            stall_bytes_per_second: 1000,
            proxy: None,
            no_proxy: None,
        }
    }
}

// === impl Transport ===

impl Transport {
    /// Creates the private folder that all runs share.
    ///
    /// Fails if the folder cannot be written.
    pub fn new(settings: TransportSettings) -> Result<Self, TransportError> {
        let folder = private_folder(None).map_err(TransportError::spawn)?;
        let askpass = folder.path().join("askpass");
        fs::write(&askpass, ASKPASS)
            .and_then(|()| fs::set_permissions(&askpass, fs::Permissions::from_mode(0o700)))
            .map_err(TransportError::spawn)?;
        Ok(Self {
            settings,
            lanes: Lanes::new(),
            folder,
        })
    }

    pub(crate) fn settings(&self) -> &TransportSettings {
        &self.settings
    }

    /// Runs git on the repository `git_dir`, without a remote.
    pub(crate) async fn local(
        &self,
        git_dir: &Path,
        args: &[&str],
    ) -> Result<String, TransportError> {
        let call = GitCall {
            git_dir,
            remote: None,
            direction: Direction::Fetch,
            deadline: self.settings.deadline,
            file_bytes: None,
        };
        self.run(call, args).await
    }

    /// Fetches `refspec` from `remote` into `git_dir`, where it takes at most `room` bytes.
    pub(crate) async fn fetch(
        &self,
        git_dir: &Path,
        remote: &Remote,
        refspec: &str,
        extent: FetchExtent,
        room: u64,
    ) -> Result<(), TransportError> {
        let deadline = match extent {
            FetchExtent::Incremental => self.settings.deadline,
            FetchExtent::Full => self.settings.clone_deadline,
        };
        let call = GitCall {
            git_dir,
            remote: Some(remote),
            direction: Direction::Fetch,
            deadline,
            file_bytes: Some(room),
        };
        let args = [
            "fetch",
            "--quiet",
            "--no-tags",
            "--no-write-fetch-head",
            "--no-recurse-submodules",
            "--end-of-options",
            remote.url(),
            refspec,
        ];
        self.run(call, &args).await.map(drop)
    }

    /// Pushes `refspec` from `git_dir` to `remote`, never by force.
    pub(crate) async fn push(
        &self,
        git_dir: &Path,
        remote: &Remote,
        refspec: &str,
    ) -> Result<(), TransportError> {
        let call = GitCall {
            git_dir,
            remote: Some(remote),
            direction: Direction::Push,
            deadline: self.settings.deadline,
            file_bytes: None,
        };
        let args = [
            "push",
            "--porcelain",
            "--no-follow-tags",
            "--recurse-submodules=no",
            "--end-of-options",
            remote.url(),
            refspec,
        ];
        self.run(call, &args).await.map(drop)
    }

    async fn run(&self, call: GitCall<'_>, args: &[&str]) -> Result<String, TransportError> {
        self.check_protocol(call.remote)?;
        let folder = private_folder(Some(self.folder.path())).map_err(TransportError::spawn)?;
        let mut command = self
            .command(&call, args, folder.path())
            .map_err(TransportError::spawn)?;
        let url = call.remote.map_or("the local clone", Remote::url);
        let run = timeout(call.deadline, process::run(&mut command));
        let output = match self.lanes.run(run).await {
            Ok(Ok(output)) => output.map_err(TransportError::spawn)?,
            Ok(Err(_)) => {
                return Err(TransportError::DeadlineExceeded {
                    url: url.to_owned(),
                    deadline: call.deadline,
                });
            }
            Err(Crowded) => {
                let url = url.to_owned();
                return Err(TransportError::Crowded { url });
            }
        };
        let stdout = String::from_utf8_lossy(&output.stdout);
        if output.status.success() {
            return Ok(stdout.into_owned());
        }
        // `push --porcelain` prints its reason on stdout.
        let printed = format!("{}{stdout}", String::from_utf8_lossy(&output.stderr));
        let printed = self.redact(&printed, call.remote);
        if output
            .status
            .code()
            .is_some_and(|code| CANNOT_RUN.contains(&code))
        {
            return Err(TransportError::spawn(io::Error::other(printed)));
        }
        Err(TransportError::classify(url, &printed, call.direction))
    }

    fn check_protocol(&self, remote: Option<&Remote>) -> Result<(), TransportError> {
        match remote {
            Some(remote) if !self.settings.protocols.contains(&remote.protocol()) => {
                Err(TransportError::ProtocolNotAllowed {
                    url: remote.url().to_owned(),
                    protocol: remote.protocol().name(),
                })
            }
            _ => Ok(()),
        }
    }

    fn redact(&self, text: &str, remote: Option<&Remote>) -> String {
        let mut secrets = remote.map_or_else(Vec::new, |remote| remote.credentials().secrets());
        secrets.extend(
            self.settings
                .proxy
                .iter()
                .map(|proxy| proxy.expose().to_owned()),
        );
        redact(text, secrets.iter().map(String::as_str))
    }

    fn command(&self, call: &GitCall<'_>, args: &[&str], home: &Path) -> io::Result<Command> {
        let memory = (PROCESS_BYTES / 1024).to_string();
        let file = match call.file_bytes {
            Some(bytes) => bytes.div_ceil(512).to_string(),
            None => "unlimited".to_owned(),
        };
        let protocol = call.remote.map_or("", |remote| remote.protocol().name());
        let mut command = Command::new("/bin/sh");
        command
            .args(["-c", LIMITED, "sh", &memory, &file])
            .arg(&self.settings.program)
            .args(args)
            .current_dir(home)
            .env_clear()
            .env("PATH", &self.settings.search_path)
            .env("HOME", home)
            .env("TMPDIR", home)
            // The language of the words that `error` matches.
            .env("LC_ALL", "C")
            .env("GIT_DIR", call.git_dir)
            .env("GIT_CONFIG_NOSYSTEM", "1")
            .env("GIT_CONFIG_SYSTEM", "/dev/null")
            .env("GIT_CONFIG_GLOBAL", "/dev/null")
            .env("GIT_ATTR_NOSYSTEM", "1")
            .env("GIT_TERMINAL_PROMPT", "0")
            .env("GIT_ASKPASS", self.folder.path().join("askpass"))
            .env("GIT_ALLOW_PROTOCOL", protocol)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .process_group(0)
            .kill_on_drop(true);
        if let Some(proxy) = &self.settings.proxy {
            command.env("https_proxy", proxy.expose());
        }
        if let Some(hosts) = &self.settings.no_proxy {
            command.env("no_proxy", hosts);
        }
        let mut config = self.config();
        if let Some(remote) = call.remote {
            add_trust(&mut config, remote, home)?;
            let askpass = self.folder.path().join("askpass");
            add_credentials(
                &mut command,
                &mut config,
                remote.credentials(),
                home,
                &askpass,
            )?;
        }
        set_config(&mut command, &config);
        Ok(command)
    }

    fn config(&self) -> Vec<(&'static str, OsString)> {
        let stall_bytes = self.settings.stall_bytes_per_second.to_string();
        let stall_seconds = self.settings.stall.as_secs().max(1).to_string();
        vec![
            ("core.hooksPath", "/dev/null".into()),
            // The credentials would be sent to wherever the server points.
            ("http.followRedirects", "false".into()),
            ("http.lowSpeedLimit", stall_bytes.into()),
            ("http.lowSpeedTime", stall_seconds.into()),
            // `Repository` packs its clone in the background.
            ("gc.auto", "0".into()),
            // One file for each fetch, whose size is limited.
            ("fetch.unpackLimit", "1".into()),
            ("core.bigFileThreshold", STREAMED_BYTES.to_string().into()),
            ("core.deltaBaseCacheLimit", "16m".into()),
            ("pack.deltaCacheSize", "16m".into()),
            ("pack.windowMemory", "16m".into()),
            ("pack.threads", "1".into()),
            ("maintenance.auto", "false".into()),
            // The owner of a volume may differ from that of the process.
            ("safe.directory", "*".into()),
        ]
    }
}

fn private_folder(parent: Option<&Path>) -> io::Result<TempDir> {
    let mut builder = tempfile::Builder::new();
    builder
        .prefix("tidegate-git-")
        .permissions(fs::Permissions::from_mode(0o700));
    match parent {
        Some(parent) => builder.tempdir_in(parent),
        None => builder.tempdir(),
    }
}

fn add_trust(
    config: &mut Vec<(&'static str, OsString)>,
    remote: &Remote,
    home: &Path,
) -> io::Result<()> {
    if let Some(pem) = remote.ca() {
        let file = home.join("ca.crt");
        fs::write(&file, pem)?;
        config.push(("http.sslCAInfo", file.into_os_string()));
        // Without it the folder of the system's certificates is trusted beside the file, and read.
        let none = home.join("no-certificates");
        fs::create_dir(&none)?;
        config.push(("http.sslCAPath", none.into_os_string()));
    }
    Ok(())
}

fn add_credentials(
    command: &mut Command,
    config: &mut Vec<(&'static str, OsString)>,
    credentials: &Credentials,
    home: &Path,
    askpass: &Path,
) -> io::Result<()> {
    match credentials {
        Credentials::Anonymous => {}
        Credentials::Basic { username, password } => {
            command
                .env("TIDEGATE_GIT_USERNAME", username)
                .env("TIDEGATE_GIT_PASSWORD", password.expose());
        }
        Credentials::Bearer(token) => {
            let header = format!("Authorization: Bearer {}", token.expose());
            config.push(("http.extraHeader", header.into()));
        }
        Credentials::Key {
            identity,
            passphrase,
            known_hosts,
        } => {
            let program = ssh::program(home, identity, known_hosts)?;
            command
                .env("GIT_SSH_COMMAND", program)
                .env("GIT_SSH_VARIANT", "ssh")
                .env("SSH_ASKPASS", askpass)
                .env("SSH_ASKPASS_REQUIRE", "force");
            if let Some(passphrase) = passphrase {
                command.env("TIDEGATE_GIT_PASSWORD", passphrase.expose());
            }
        }
    }
    Ok(())
}

/// Passes configuration in the environment: arguments can be read by every process.
fn set_config(command: &mut Command, config: &[(&str, OsString)]) {
    command.env("GIT_CONFIG_COUNT", config.len().to_string());
    for (index, (key, value)) in config.iter().enumerate() {
        command.env(format!("GIT_CONFIG_KEY_{index}"), key).env(
            format!("GIT_CONFIG_VALUE_{index}"),
            AsRef::<OsStr>::as_ref(value),
        );
    }
}

#[cfg(test)]
mod tests;
