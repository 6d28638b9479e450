//! The `git` program, run in an environment that says nothing but what we say.

use std::{
    ffi::OsStr,
    path::{Path, PathBuf},
    process::Stdio,
};

use tokio::{io::AsyncWriteExt as _, process::Command};

use super::RepoError;

/// One call of `git`.
pub(super) struct Git {
    command: Command,
    what: String,
    stdin: Vec<u8>,
}

// === impl Git ===

impl Git {
    /// `git ARGS` in the bare repository `dir`.
    pub(super) fn new<A: AsRef<OsStr>>(dir: &Path, args: impl IntoIterator<Item = A>) -> Self {
        let args: Vec<_> = args.into_iter().map(|a| a.as_ref().to_owned()).collect();
        let words: Vec<_> = args.iter().map(|a| a.to_string_lossy()).collect();
        let what = format!("git {}", words.join(" "));
        let mut command = Command::new("git");
        command
            .args(args)
            .current_dir(dir)
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
            .env("HOME", dir)
            .env("GIT_CONFIG_NOSYSTEM", "1")
            .env("GIT_TERMINAL_PROMPT", "0")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true);
        Self {
            command,
            what,
            stdin: Vec::new(),
        }
    }

    pub(super) fn env(mut self, name: &str, value: impl AsRef<OsStr>) -> Self {
        self.command.env(name, value);
        self
    }

    pub(super) fn stdin(mut self, bytes: impl Into<Vec<u8>>) -> Self {
        self.stdin = bytes.into();
        self
    }

    /// Runs it and returns its output.
    pub(super) async fn run(mut self) -> Result<Vec<u8>, RepoError> {
        let what = self.what.clone();
        let output = self.output().await;
        output.map_err(|why| RepoError::Git { what, why })
    }

    async fn output(&mut self) -> Result<Vec<u8>, String> {
        let mut child = self.command.spawn().map_err(|e| e.to_string())?;
        let mut stdin = child.stdin.take().expect("it is piped");
        // What we write is short, so it fits the pipe before anything is read.
        let written = stdin.write_all(&self.stdin).await;
        drop(stdin);
        let output = child.wait_with_output().await.map_err(|e| e.to_string())?;
        if !output.status.success() {
            return Err(String::from_utf8_lossy(&output.stderr).trim().to_owned());
        }
        written.map_err(|e| e.to_string())?;
        Ok(output.stdout)
    }

    /// Runs it and returns its output as text, without the white space around it.
    pub(super) async fn text(self) -> Result<String, RepoError> {
        let bytes = self.run().await?;
        Ok(String::from_utf8_lossy(&bytes).trim().to_owned())
    }
}

/// Folder of git's own programs.
pub(super) async fn exec_path() -> Result<PathBuf, RepoError> {
    let path = Git::new(Path::new("/"), ["--exec-path"]).text().await?;
    Ok(path.into())
}
