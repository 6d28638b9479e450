//! Long steps: one line when a step begins, one now and then, one when it is over.
//!
//! What the step's program prints goes to a log, and to the terminal only when it fails.

use std::{
    fs::{self, File},
    path::Path,
    process::{Command, Stdio},
    sync::mpsc::{self, RecvTimeoutError},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail};

use crate::shell::command_line;

/// Often enough to show that something goes on, seldom enough for a CI log.
const TICK: Duration = Duration::from_secs(15);

/// How many lines of a failed step's log are shown.
const TAIL_LINES: usize = 40;

/// Runs a command as the step `title`, its output going to the file `log`.
pub(crate) fn step(title: &str, log: &Path, command: &mut Command) -> Result<()> {
    let line = command_line(command);
    let file = File::create(log).with_context(|| format!("{} cannot be made", log.display()))?;
    let started = Instant::now();
    eprintln!("{title} …");
    let mut child = command
        .stdin(Stdio::null())
        .stdout(file.try_clone().context("the log cannot be shared")?)
        .stderr(file)
        .spawn()
        .with_context(|| format!("`{line}` cannot be started"))?;
    let status = ticking(title, started, || child.wait())
        .with_context(|| format!("`{line}` cannot be awaited"))?;
    if !status.success() {
        bail!(
            "{title}: `{line}` failed ({status}); its log {} ends:\n{}",
            log.display(),
            tail(log)
        );
    }
    eprintln!("{title}: done after {} s", started.elapsed().as_secs());
    Ok(())
}

/// Does `work` while another thread says how long it has taken so far.
fn ticking<T>(title: &str, started: Instant, work: impl FnOnce() -> T) -> T {
    let (over, news) = mpsc::channel::<()>();
    thread::scope(|scope| {
        scope.spawn(move || {
            while news.recv_timeout(TICK) == Err(RecvTimeoutError::Timeout) {
                eprintln!("{title}: {} s", started.elapsed().as_secs());
            }
        });
        let result = work();
        drop(over);
        result
    })
}

fn tail(log: &Path) -> String {
    let text = fs::read(log).unwrap_or_default();
    let text = String::from_utf8_lossy(&text);
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(TAIL_LINES)..].join("\n")
}
