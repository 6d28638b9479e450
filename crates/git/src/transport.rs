//! The `git` program, for what goes over the network: certificates per repository, proxies and
//! stall limits are what it does and libraries don't.
//!
//! Each run has an environment and a home of its own: nothing of the machine's or the user's
//! configuration reaches it, and no credential is ever in its arguments. It is killed with its
//! whole process group at the deadline, and when its future is dropped.

use std::{
    ffi::{OsStr, OsString},
    fs, io,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    process::Stdio,
    time::Duration,
};

use rustix::process::{Pid, Signal, kill_process_group};
use tempfile::TempDir;
use tokio::{
    io::{AsyncRead, AsyncReadExt as _},
    process::Command,
    time::timeout,
};

use super::{
    failure::{Direction, TransportError},
    remote::{Credentials, Protocol, Remote},
    secret::{Secret, scrub},
};

/// How git is run. The same for every repository.
#[derive(Clone, Debug)]
pub struct TransportSettings {
    /// The program.
    pub program: PathBuf,
    /// `PATH` for it and its own helpers.
    pub search_path: OsString,
    /// The protocols that may be used. The product leaves this at `https`.
    pub protocols: Vec<Protocol>,
    /// When a run is killed.
    pub deadline: Duration,
    /// The same for one that brings a whole repository.
    pub clone_deadline: Duration,
    /// How long a transfer may be slower than `stall_bytes_per_second`.
    pub stall: Duration,
    /// See `stall`.
    pub stall_bytes_per_second: u32,
    /// An HTTP proxy's URL, which may hold its password.
    pub proxy: Option<Secret>,
    /// Hosts that are reached without the proxy, in `NO_PROXY`'s form.
    pub no_proxy: Option<String>,
}

/// Runs git.
#[derive(Debug)]
pub struct Transport {
    settings: TransportSettings,
    /// Written once: a script that has just been written can't be run while another thread forks.
    folder: TempDir,
}

/// The environment that carries the credentials of a run, and the folder that goes with it.
struct Call<'a> {
    git_dir: &'a Path,
    remote: Option<&'a Remote>,
    direction: Direction,
    deadline: Duration,
}

/// How much a fetch has to bring, by which it has its deadline.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Extent {
    /// What is new since the last one.
    News,
    /// The whole history.
    Everything,
}

/// Kills the process group unless the leader has been waited for.
struct Group(Option<Pid>);

/// What a run said. Both are cut at [`OUTPUT_CAP_BYTES`].
struct Output {
    success: bool,
    stdout: Vec<u8>,
    stderr: Vec<u8>,
}

/// Far above what any of our runs says; a server's hook may say anything.
const OUTPUT_CAP_BYTES: usize = 64 * 1024;

/// git asks it for `Username for 'URL': ` and `Password for 'URL': `.
const ASKPASS: &str = r#"#!/bin/sh
case "$1" in
Username*) printf '%s\n' "$TIDEGATE_GIT_USERNAME" ;;
*) printf '%s\n' "$TIDEGATE_GIT_PASSWORD" ;;
esac
"#;

// === impl TransportSettings ===

impl Default for TransportSettings {
    fn default() -> Self {
        Self {
            program: "git".into(),
            search_path: "/usr/local/bin:/usr/bin:/bin".into(),
            protocols: vec![Protocol::Https],
            deadline: Duration::from_mins(2),
            // A big repository takes its time; one that does not move is noticed by `stall`.
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
    /// Prepares the private folder that every run shares.
    pub fn new(settings: TransportSettings) -> Result<Self, TransportError> {
        let folder = private_folder(None).map_err(TransportError::Start)?;
        let askpass = folder.path().join("askpass");
        fs::write(&askpass, ASKPASS)
            .and_then(|()| fs::set_permissions(&askpass, fs::Permissions::from_mode(0o700)))
            .map_err(TransportError::Start)?;
        Ok(Self { settings, folder })
    }

    /// Runs git on the repository `git_dir` alone, without a network.
    pub(super) async fn local(
        &self,
        git_dir: &Path,
        args: &[&str],
    ) -> Result<String, TransportError> {
        let call = Call {
            git_dir,
            remote: None,
            direction: Direction::Fetch,
            deadline: self.settings.deadline,
        };
        self.run(call, args).await
    }

    /// Fetches `refspec` into `git_dir`.
    pub(super) async fn fetch(
        &self,
        git_dir: &Path,
        remote: &Remote,
        refspec: &str,
        extent: Extent,
    ) -> Result<(), TransportError> {
        let deadline = match extent {
            Extent::News => self.settings.deadline,
            Extent::Everything => self.settings.clone_deadline,
        };
        let call = Call {
            git_dir,
            remote: Some(remote),
            direction: Direction::Fetch,
            deadline,
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

    /// Pushes `refspec` out of `git_dir`. Never by force.
    pub(super) async fn push(
        &self,
        git_dir: &Path,
        remote: &Remote,
        refspec: &str,
    ) -> Result<(), TransportError> {
        let call = Call {
            git_dir,
            remote: Some(remote),
            direction: Direction::Push,
            deadline: self.settings.deadline,
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

    async fn run(&self, call: Call<'_>, args: &[&str]) -> Result<String, TransportError> {
        self.check_protocol(call.remote)?;
        let folder = private_folder(Some(self.folder.path())).map_err(TransportError::Start)?;
        let mut command = self
            .command(&call, args, folder.path())
            .map_err(TransportError::Start)?;
        let url = call.remote.map_or("the local clone", Remote::url);
        let output = match timeout(call.deadline, spawn_and_wait(&mut command)).await {
            Ok(output) => output.map_err(TransportError::Start)?,
            Err(_) => {
                return Err(TransportError::Deadline {
                    url: url.to_owned(),
                    deadline: call.deadline,
                });
            }
        };
        let stdout = String::from_utf8_lossy(&output.stdout);
        if output.success {
            return Ok(stdout.into_owned());
        }
        // `push --porcelain` gives its reason on stdout.
        let said = format!("{}{stdout}", String::from_utf8_lossy(&output.stderr));
        Err(TransportError::classify(
            url,
            &self.scrub(&said, call.remote),
            call.direction,
        ))
    }

    fn check_protocol(&self, remote: Option<&Remote>) -> Result<(), TransportError> {
        match remote {
            Some(remote) if !self.settings.protocols.contains(&remote.protocol()) => {
                Err(TransportError::ProtocolRefused {
                    url: remote.url().to_owned(),
                    protocol: remote.protocol().name(),
                })
            }
            _ => Ok(()),
        }
    }

    fn scrub(&self, text: &str, remote: Option<&Remote>) -> String {
        let mut secrets = remote.map_or_else(Vec::new, |remote| remote.credentials().secrets());
        secrets.extend(
            self.settings
                .proxy
                .iter()
                .map(|proxy| proxy.expose().to_owned()),
        );
        scrub(text, secrets.iter().map(String::as_str))
    }

    fn command(&self, call: &Call<'_>, args: &[&str], home: &Path) -> io::Result<Command> {
        let mut command = Command::new(&self.settings.program);
        command
            .args(args)
            .current_dir(home)
            .env_clear()
            .env("PATH", &self.settings.search_path)
            .env("HOME", home)
            .env("TMPDIR", home)
            // The words that `failure` reads.
            .env("LC_ALL", "C")
            .env("GIT_DIR", call.git_dir)
            .env("GIT_CONFIG_NOSYSTEM", "1")
            .env("GIT_CONFIG_SYSTEM", "/dev/null")
            .env("GIT_CONFIG_GLOBAL", "/dev/null")
            .env("GIT_ATTR_NOSYSTEM", "1")
            .env("GIT_TERMINAL_PROMPT", "0")
            .env("GIT_ASKPASS", self.folder.path().join("askpass"))
            .env("GIT_ALLOW_PROTOCOL", self.allowed_protocols())
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
            add_credentials(&mut command, &mut config, remote.credentials());
        }
        set_config(&mut command, &config);
        Ok(command)
    }

    fn allowed_protocols(&self) -> String {
        let names: Vec<_> = self.settings.protocols.iter().map(|p| p.name()).collect();
        names.join(":")
    }

    fn config(&self) -> Vec<(&'static str, OsString)> {
        let stall_bytes = self.settings.stall_bytes_per_second.to_string();
        let stall_seconds = self.settings.stall.as_secs().max(1).to_string();
        vec![
            ("core.hooksPath", "/dev/null".into()),
            // Credentials would go along to wherever the server points.
            ("http.followRedirects", "false".into()),
            ("http.lowSpeedLimit", stall_bytes.into()),
            ("http.lowSpeedTime", stall_seconds.into()),
            // `Repository` packs its clone now and then, never in the way of a fetch.
            ("gc.auto", "0".into()),
            ("maintenance.auto", "false".into()),
            // A volume's owner may be another than the process.
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
    }
    Ok(())
}

fn add_credentials(
    command: &mut Command,
    config: &mut Vec<(&'static str, OsString)>,
    credentials: &Credentials,
) {
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
    }
}

/// Configuration by environment: what is in the arguments can be read by every process.
fn set_config(command: &mut Command, config: &[(&str, OsString)]) {
    command.env("GIT_CONFIG_COUNT", config.len().to_string());
    for (index, (key, value)) in config.iter().enumerate() {
        command.env(format!("GIT_CONFIG_KEY_{index}"), key).env(
            format!("GIT_CONFIG_VALUE_{index}"),
            AsRef::<OsStr>::as_ref(value),
        );
    }
}

async fn spawn_and_wait(command: &mut Command) -> io::Result<Output> {
    let mut child = command.spawn()?;
    let mut group = Group::of(child.id());
    let stdout = child.stdout.take().expect("stdout is piped");
    let stderr = child.stderr.take().expect("stderr is piped");
    let (stdout, stderr) = tokio::try_join!(drain(stdout), drain(stderr))?;
    let status = child.wait().await?;
    group.0 = None;
    Ok(Output {
        success: status.success(),
        stdout,
        stderr,
    })
}

/// Reads to the end, so that the writer never blocks, and keeps the beginning.
async fn drain(mut from: impl AsyncRead + Unpin) -> io::Result<Vec<u8>> {
    let mut kept = Vec::new();
    let mut chunk = [0; 4096];
    loop {
        let read = from.read(&mut chunk).await?;
        if read == 0 {
            return Ok(kept);
        }
        let room = OUTPUT_CAP_BYTES.saturating_sub(kept.len());
        kept.extend_from_slice(&chunk[..read.min(room)]);
    }
}

// === impl Group ===

impl Group {
    fn of(id: Option<u32>) -> Self {
        Self(
            id.and_then(|id| i32::try_from(id).ok())
                .and_then(Pid::from_raw),
        )
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        if let Some(pid) = self.0 {
            // It may have ended by itself in this very moment; then there is nothing to kill.
            let _ = kill_process_group(pid, Signal::KILL);
        }
    }
}

#[cfg(test)]
mod tests;
