//! A child process of the harness: its own process group, its output in a file, gone when dropped.
//!
//! Owns starting, signalling, awaiting and reaping one program. It does not know what the program
//! is for; whoever starts it says by a probe when it is ready.

use std::{
    collections::BTreeMap,
    ffi::OsString,
    fs::{self, File},
    future::Future,
    io,
    os::unix::process::ExitStatusExt as _,
    path::{Path, PathBuf},
    process::{ExitStatus, Stdio},
    time::Duration,
};

use nix::{
    errno::Errno,
    sys::signal::{Signal, killpg},
    unistd::Pid,
};
use tokio::{
    process::{Child, Command},
    time::{Instant, timeout_at},
};

/// Interval at which [`ChildProcess::wait_ready`] asks its probe.
const PROBE_INTERVAL: Duration = Duration::from_millis(25);

/// Length of a log's end that goes into an error: enough for a panic with its backtrace.
const LOG_TAIL_BYTES: usize = 4096;

/// A program to start, with its arguments and surroundings. Errors call it by its `name`.
#[derive(Clone, Debug)]
pub struct ProcessSpec {
    name: String,
    program: PathBuf,
    args: Vec<OsString>,
    envs: BTreeMap<OsString, OsString>,
    inherit_env: bool,
    dir: Option<PathBuf>,
    log: PathBuf,
    leash: bool,
}

/// A running (or ended) child process; its whole process group is killed when this is dropped.
#[derive(Debug)]
pub struct ChildProcess {
    name: String,
    log: PathBuf,
    /// Also the id of its process group.
    pid: Pid,
    child: Child,
    exit: Option<ExitStatus>,
}

/// The process group of a child, for whoever has to signal it without owning it, as a hook of the
/// fault proxy does. It means nothing once the child is gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ProcessGroup(Pid);

/// Failure of an operation on a child process.
#[derive(Debug, thiserror::Error)]
pub enum ProcessError {
    /// The log file could not be made.
    #[error("the log {} of {name} cannot be opened: {source}", log.display())]
    OpenLog {
        /// The process's name.
        name: String,
        /// The log file.
        log: PathBuf,
        /// Cause.
        source: io::Error,
    },
    /// The program could not be started.
    #[error("{name} ({}) cannot be started: {source}", program.display())]
    Start {
        /// The process's name.
        name: String,
        /// The program.
        program: PathBuf,
        /// Cause.
        source: io::Error,
    },
    /// A signal could not be sent.
    #[error("{name} cannot be sent {signal}: {source}")]
    Signal {
        /// The process's name.
        name: String,
        /// The signal.
        signal: Signal,
        /// Cause.
        source: Errno,
    },
    /// The process could not be awaited.
    #[error("{name} cannot be awaited: {source}")]
    Wait {
        /// The process's name.
        name: String,
        /// Cause.
        source: io::Error,
    },
    /// The process ended before it was ready.
    #[error("{name} ended before it was ready ({status}); its log {} ends:\n{tail}", log.display())]
    EndedEarly {
        /// The process's name.
        name: String,
        /// Its exit status.
        status: ExitStatus,
        /// The log file.
        log: PathBuf,
        /// The end of the log.
        tail: String,
    },
    /// The process was not ready in time.
    #[error("{name} was not ready within {limit:?}; its log {} ends:\n{tail}", log.display())]
    NotReady {
        /// The process's name.
        name: String,
        /// Time that it had.
        limit: Duration,
        /// The log file.
        log: PathBuf,
        /// The end of the log.
        tail: String,
    },
}

// === impl ProcessSpec ===

impl ProcessSpec {
    /// A program with what it prints going to the end of the file `log`.
    pub fn new(
        name: impl Into<String>,
        program: impl Into<PathBuf>,
        log: impl Into<PathBuf>,
    ) -> Self {
        Self {
            name: name.into(),
            program: program.into(),
            args: Vec::new(),
            envs: BTreeMap::new(),
            inherit_env: true,
            dir: None,
            log: log.into(),
            leash: false,
        }
    }

    /// Adds one argument.
    #[must_use]
    pub fn arg(mut self, arg: impl Into<OsString>) -> Self {
        self.args.push(arg.into());
        self
    }

    /// Adds arguments.
    #[must_use]
    pub fn args<A: Into<OsString>>(mut self, args: impl IntoIterator<Item = A>) -> Self {
        self.args.extend(args.into_iter().map(Into::into));
        self
    }

    /// Sets one environment variable.
    #[must_use]
    pub fn env(mut self, name: impl Into<OsString>, value: impl Into<OsString>) -> Self {
        self.envs.insert(name.into(), value.into());
        self
    }

    /// Gives the child only what [`ProcessSpec::env`] says, and `PATH`.
    #[must_use]
    pub fn clean_env(mut self) -> Self {
        self.inherit_env = false;
        self
    }

    /// Sets the working directory.
    #[must_use]
    pub fn current_dir(mut self, dir: impl Into<PathBuf>) -> Self {
        self.dir = Some(dir.into());
        self
    }

    /// Gives the child a standard input that ends when we do, however we end, for programs that
    /// take its end as the order to stop. Others get an empty one.
    #[must_use]
    pub fn leash(mut self) -> Self {
        self.leash = true;
        self
    }

    /// Starts it, as the leader of a process group of its own.
    pub fn spawn(&self) -> Result<ChildProcess, ProcessError> {
        let (stdout, stderr) = self.open_log().map_err(|source| ProcessError::OpenLog {
            name: self.name.clone(),
            log: self.log.clone(),
            source,
        })?;
        let mut command = Command::new(&self.program);
        command
            .args(&self.args)
            .stdin(if self.leash {
                Stdio::piped()
            } else {
                Stdio::null()
            })
            .stdout(stdout)
            .stderr(stderr)
            .process_group(0)
            .kill_on_drop(true);
        if !self.inherit_env {
            command.env_clear();
            if let Some(path) = std::env::var_os("PATH") {
                command.env("PATH", path);
            }
        }
        command.envs(&self.envs);
        if let Some(dir) = &self.dir {
            command.current_dir(dir);
        }
        let child = command.spawn().map_err(|source| ProcessError::Start {
            name: self.name.clone(),
            program: self.program.clone(),
            source,
        })?;
        let pid = child
            .id()
            .and_then(|id| i32::try_from(id).ok())
            .expect("a process just started has an id");
        Ok(ChildProcess {
            name: self.name.clone(),
            log: self.log.clone(),
            pid: Pid::from_raw(pid),
            child,
            exit: None,
        })
    }

    fn open_log(&self) -> io::Result<(File, File)> {
        if let Some(parent) = self.log.parent() {
            fs::create_dir_all(parent)?;
        }
        let log = File::options().create(true).append(true).open(&self.log)?;
        Ok((log.try_clone()?, log))
    }
}

// === impl ChildProcess ===

impl ChildProcess {
    /// Its name in errors.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its process id, which is also that of its process group.
    pub fn pid(&self) -> i32 {
        self.pid.as_raw()
    }

    /// Its process group, to be signalled from elsewhere.
    pub fn group(&self) -> ProcessGroup {
        ProcessGroup(self.pid)
    }

    /// The file that holds what it printed.
    pub fn log(&self) -> &Path {
        &self.log
    }

    /// The last few kilobytes of what it printed.
    pub fn log_tail(&self) -> String {
        let bytes = fs::read(&self.log).unwrap_or_default();
        let from = bytes.len().saturating_sub(LOG_TAIL_BYTES);
        String::from_utf8_lossy(&bytes[from..]).into_owned()
    }

    /// Its exit status, or nothing while it runs (a frozen process runs).
    pub fn exit_status(&mut self) -> Result<Option<ExitStatus>, ProcessError> {
        if self.exit.is_none() {
            let status = self.child.try_wait().map_err(|e| self.cannot_wait(e))?;
            if let Some(status) = status {
                self.ended(status);
            }
        }
        Ok(self.exit)
    }

    /// Waits until it has ended. Safe to drop and call again.
    pub async fn wait(&mut self) -> Result<ExitStatus, ProcessError> {
        if let Some(status) = self.exit {
            return Ok(status);
        }
        // `Child::wait` would close the leash.
        let stdin = self.child.stdin.take();
        let status = self.child.wait().await;
        self.child.stdin = stdin;
        let status = status.map_err(|e| self.cannot_wait(e))?;
        self.ended(status);
        Ok(status)
    }

    /// Sends a signal to its whole group. Nothing happens if it has ended.
    pub fn signal(&mut self, signal: Signal) -> Result<(), ProcessError> {
        if self.exit_status()?.is_some() {
            return Ok(());
        }
        match killpg(self.pid, signal) {
            Ok(()) | Err(Errno::ESRCH) => Ok(()),
            Err(source) => Err(ProcessError::Signal {
                name: self.name.clone(),
                signal,
                source,
            }),
        }
    }

    /// Asks it to end (SIGTERM).
    pub fn terminate(&mut self) -> Result<(), ProcessError> {
        self.signal(Signal::SIGTERM)
    }

    /// Stops it in the middle of whatever it does (SIGSTOP), until [`ChildProcess::thaw`].
    pub fn freeze(&mut self) -> Result<(), ProcessError> {
        self.signal(Signal::SIGSTOP)
    }

    /// Lets a frozen process go on (SIGCONT).
    pub fn thaw(&mut self) -> Result<(), ProcessError> {
        self.signal(Signal::SIGCONT)
    }

    /// Ends it at once (SIGKILL) and waits until it is gone, and with it its ports and files.
    pub async fn kill(&mut self) -> Result<ExitStatus, ProcessError> {
        self.signal(Signal::SIGKILL)?;
        self.wait().await
    }

    /// Asks it to end, and ends it if it has not within `grace`; waits until it is gone.
    pub async fn stop(&mut self, grace: Duration) -> Result<ExitStatus, ProcessError> {
        self.terminate()?;
        match tokio::time::timeout(grace, self.wait()).await {
            Ok(ended) => ended,
            Err(_) => self.kill().await,
        }
    }

    /// Waits until `probe` says yes. Fails at once when the process ends, and when `limit` is over.
    pub async fn wait_ready<F>(
        &mut self,
        limit: Duration,
        mut probe: impl FnMut() -> F,
    ) -> Result<(), ProcessError>
    where
        F: Future<Output = bool>,
    {
        let deadline = Instant::now() + limit;
        loop {
            if let Some(status) = self.exit_status()? {
                return Err(ProcessError::EndedEarly {
                    name: self.name.clone(),
                    status,
                    log: self.log.clone(),
                    tail: self.log_tail(),
                });
            }
            match timeout_at(deadline, probe()).await {
                Ok(true) => return Ok(()),
                Ok(false) if Instant::now() < deadline => {
                    tokio::time::sleep(PROBE_INTERVAL).await;
                }
                _ => {
                    return Err(ProcessError::NotReady {
                        name: self.name.clone(),
                        limit,
                        log: self.log.clone(),
                        tail: self.log_tail(),
                    });
                }
            }
        }
    }

    fn cannot_wait(&self, source: io::Error) -> ProcessError {
        ProcessError::Wait {
            name: self.name.clone(),
            source,
        }
    }

    /// The leader is gone: what it may have left in its group goes too.
    fn ended(&mut self, status: ExitStatus) {
        self.exit = Some(status);
        // ESRCH, the usual answer, says that nothing was left.
        let _ = killpg(self.pid, Signal::SIGKILL);
    }
}

impl Drop for ChildProcess {
    fn drop(&mut self) {
        if self.exit.is_none() {
            // The group, not the leader alone; tokio reaps it.
            let _ = killpg(self.pid, Signal::SIGKILL);
        }
    }
}

// === impl ProcessGroup ===

impl ProcessGroup {
    /// Ends it at once (SIGKILL). Whoever owns the child reaps it.
    pub fn kill(self) -> Result<(), Errno> {
        killpg(self.0, Signal::SIGKILL)
    }

    /// Stops it in the middle of whatever it does (SIGSTOP).
    pub fn freeze(self) -> Result<(), Errno> {
        killpg(self.0, Signal::SIGSTOP)
    }

    /// Lets it go on (SIGCONT).
    pub fn thaw(self) -> Result<(), Errno> {
        killpg(self.0, Signal::SIGCONT)
    }
}

/// Returns true where a process was ended by this signal.
pub fn ended_by(status: ExitStatus, signal: Signal) -> bool {
    status.signal() == Some(signal as i32)
}

#[cfg(test)]
mod tests;
