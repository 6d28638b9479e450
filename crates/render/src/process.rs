//! A run of a program that renders: nothing of the machine reaches it, and it takes no more than it may.
//!
//! It has an environment of its own without a `PATH`, no input, a maximum of time, memory and output, and gives way
//! to others. Where the kernel can (Landlock), it also sees no file but programs, libraries and what it is to render,
//! and reaches no network. It is killed with its whole process group at the deadline, and when its future is
//! dropped.

mod sandbox;

use std::{
    ffi::OsString,
    io,
    path::{Path, PathBuf},
    process::{ExitStatus, Stdio},
    time::Duration,
};

use rustix::process::{Pid, Resource, Rlimit, prlimit, setpriority_process};
use tidegate_git::process::{ProcessGroup, beginning};
use tokio::{
    io::{AsyncRead, AsyncReadExt as _},
    process::{Child, Command},
    time::timeout,
};

use self::sandbox::Sandbox;

/// One run.
pub(crate) struct Call<'a> {
    pub(crate) program: &'a Path,
    pub(crate) args: Vec<OsString>,
    /// Folder that it may write to, which has its home and all that it is to read.
    pub(crate) folder: &'a Path,
    /// Folder that it is started in.
    pub(crate) within: PathBuf,
    /// True if it keeps files in its home. Another is told of none: what it renders must not depend on the run.
    pub(crate) has_home: bool,
    pub(crate) limits: Limits,
}

/// Maximum of what one run may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Limits {
    pub(crate) deadline: Duration,
    pub(crate) memory_bytes: u64,
    pub(crate) output_bytes: usize,
}

/// Result of a run that ended by itself.
pub(crate) struct Output {
    pub(crate) status: ExitStatus,
    pub(crate) stdout: Vec<u8>,
    /// The beginning of it.
    pub(crate) stderr: String,
}

/// A run that did not end by itself.
#[derive(Debug)]
pub(crate) enum RunError {
    Io(io::Error),
    TooSlow,
    TooMuch,
}

/// Far above any error that somebody reads.
const STDERR_BYTES: usize = 16 * 1024;

/// Niceness of the runs: they give way to what decides about traffic.
const NICENESS: i32 = 10;

/// A proxy that nobody answers for, if all else lets a request out.
const NO_PROXY_THERE: &str = "http://127.0.0.1:9";

// === impl Call ===

impl Call<'_> {
    /// Runs the program to its end.
    pub(crate) async fn run(self) -> Result<Output, RunError> {
        let deadline = self.limits.deadline;
        match timeout(deadline, self.output()).await {
            Ok(output) => output,
            Err(_) => Err(RunError::TooSlow),
        }
    }

    async fn output(self) -> Result<Output, RunError> {
        let mut child = self.spawn().await.map_err(RunError::Io)?;
        let mut group = ProcessGroup::of(&child);
        self.limits.restrict(group.leader()).map_err(RunError::Io)?;
        let stdout = child.stdout.take().expect("stdout is piped");
        let stderr = child.stderr.take().expect("stderr is piped");
        let (stdout, stderr) = tokio::try_join!(whole(stdout, self.limits.output_bytes), async {
            beginning(stderr, STDERR_BYTES).await.map_err(RunError::Io)
        })?;
        let status = child.wait().await.map_err(RunError::Io)?;
        group.has_ended();
        Ok(Output {
            status,
            stdout,
            stderr: String::from_utf8_lossy(&stderr).into_owned(),
        })
    }

    /// Starts the program from a thread that is restricted, and ends with it.
    async fn spawn(&self) -> io::Result<Child> {
        let mut command = self.command();
        let sandbox = Sandbox {
            program: self.program.to_owned(),
            folder: self.folder.to_owned(),
        };
        let runtime = tokio::runtime::Handle::current();
        let (answer, spawned) = tokio::sync::oneshot::channel();
        std::thread::Builder::new().spawn(move || {
            let _entered = runtime.enter();
            let child = sandbox.enter().and_then(|()| command.spawn());
            // If nobody waits any more, the child is killed as it is dropped.
            let _ = answer.send(child);
        })?;
        spawned.await.map_err(io::Error::other)?
    }

    fn command(&self) -> Command {
        let mut command = Command::new(self.program);
        command
            .args(&self.args)
            .current_dir(&self.within)
            .env_clear()
            // An empty one would mean the folder that it is started in.
            .env("PATH", "/nonexistent")
            .env("LC_ALL", "C")
            .env("TZ", "UTC")
            // The collector keeps below what the limit allows as long as it can.
            .env("GOMEMLIMIT", (self.limits.memory_bytes / 4 * 3).to_string())
            .env("GOMAXPROCS", "2")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .process_group(0)
            .kill_on_drop(true);
        if self.has_home {
            let home = self.folder.join("home");
            command.env("HOME", &home).env("TMPDIR", &home);
        }
        for name in ["HTTP_PROXY", "HTTPS_PROXY", "http_proxy", "https_proxy"] {
            command.env(name, NO_PROXY_THERE);
        }
        command
    }
}

// === impl Limits ===

impl Limits {
    fn restrict(self, pid: Option<Pid>) -> io::Result<()> {
        let limit = Rlimit {
            current: Some(self.memory_bytes),
            maximum: Some(self.memory_bytes),
        };
        match prlimit(pid, Resource::Data, limit).and_then(|_| setpriority_process(pid, NICENESS)) {
            // It has ended already, and may have been waited for.
            Ok(()) | Err(rustix::io::Errno::SRCH) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }
}

// === impl Output ===

impl Output {
    /// Returns true if the program ended because it could not have more memory.
    pub(crate) fn is_out_of_memory(&self) -> bool {
        !self.status.success()
            && ["out of memory", "cannot allocate memory", "allocate heap"]
                .iter()
                .any(|words| self.stderr.contains(words))
    }
}

/// Reads to the end, unless that is too much.
async fn whole(mut from: impl AsyncRead + Unpin, limit: usize) -> Result<Vec<u8>, RunError> {
    let mut read = Vec::new();
    let mut limited = (&mut from).take(limit as u64 + 1);
    limited.read_to_end(&mut read).await.map_err(RunError::Io)?;
    if read.len() > limit {
        return Err(RunError::TooMuch);
    }
    Ok(read)
}

#[cfg(test)]
mod tests;
