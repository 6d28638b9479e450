//! Long steps: one line when a step begins, one now and then, one when it is over.
//!
//! A step's program prints into a log, which reaches the terminal only when the step fails. Two
//! steps may run beside each other; each has lines of its own.

use std::{
    fs::{self, File},
    path::Path,
    process::{Child, Command, ExitStatus, Stdio},
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail};

use crate::shell::command_line;

/// Often enough to show that something goes on, seldom enough for a CI log.
const TICK: Duration = Duration::from_secs(15);

/// Interval at which a step's program is looked at: the most by which a step ends late.
const POLL: Duration = Duration::from_millis(50);

/// Number of lines of a failed step's log that are shown.
const TAIL_LINES: usize = 40;

/// Part of a step that has to be done before the time left can be told from the pace so far.
const TELLING_PERCENT: usize = 10;

/// Set when a step failed, so that the steps beside it end too.
static STOPPED: AtomicBool = AtomicBool::new(false);

/// Measure of a step's progress: lines of its log, one for each unit of work.
#[derive(Clone, Copy)]
pub(crate) struct Meter {
    /// Name of the units, in the plural.
    pub(crate) units: &'static str,
    /// Number of units where nothing of the work has been done before.
    pub(crate) total: usize,
    /// Text that each line of a finished unit contains; empty for every line.
    pub(crate) mark: &'static str,
}

/// Runs a command as the step `title`, its output going to the file `log`.
pub(crate) fn step(title: &str, log: &Path, command: &mut Command) -> Result<()> {
    run(title, log, None, command)
}

/// Runs a command as a step that tells how far it is and about how long it still takes.
pub(crate) fn metered_step(
    title: &str,
    log: &Path,
    meter: Meter,
    command: &mut Command,
) -> Result<()> {
    run(title, log, Some(meter), command)
}

/// Does two things at the same time. When one fails, the steps of the other are stopped.
pub(crate) fn beside<A, B>(
    one: impl FnOnce() -> Result<A> + Send,
    other: impl FnOnce() -> Result<B>,
) -> Result<(A, B)>
where
    A: Send,
{
    thread::scope(|scope| {
        let one = scope.spawn(|| stopping(one()));
        let other = stopping(other());
        let one = one.join().expect("a step ends without a panic");
        match (one, other) {
            (Ok(one), Ok(other)) => Ok((one, other)),
            // One of two errors may only say that its step was stopped.
            (Err(error), Err(cause)) if error.is::<Stopped>() => Err(cause),
            (Err(error), _) | (_, Err(error)) => Err(error),
        }
    })
}

/// The error of a step that was ended because another one had failed.
#[derive(Debug)]
struct Stopped;

impl std::fmt::Display for Stopped {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("stopped because another step failed")
    }
}

impl std::error::Error for Stopped {}

fn stopping<T>(result: Result<T>) -> Result<T> {
    if result.is_err() {
        STOPPED.store(true, Ordering::Relaxed);
    }
    result
}

fn run(title: &str, log: &Path, meter: Option<Meter>, command: &mut Command) -> Result<()> {
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
    let status = wait(&mut child, title, started, log, meter)
        .with_context(|| format!("`{line}` cannot be awaited"))?;
    let Some(status) = status else {
        return Err(Stopped.into());
    };
    if !status.success() {
        bail!(
            "{title}: `{line}` failed ({status}); its log {} ends:\n{}",
            log.display(),
            tail(log)
        );
    }
    eprintln!("{title}: done after {}", clock_time(started.elapsed()));
    Ok(())
}

/// Waits for a step's program, with a line now and then; nothing when it had to be stopped.
fn wait(
    child: &mut Child,
    title: &str,
    started: Instant,
    log: &Path,
    meter: Option<Meter>,
) -> std::io::Result<Option<ExitStatus>> {
    let mut next = TICK;
    loop {
        if let Some(status) = child.try_wait()? {
            return Ok(Some(status));
        }
        if STOPPED.load(Ordering::Relaxed) {
            child.kill()?;
            child.wait()?;
            return Ok(None);
        }
        let elapsed = started.elapsed();
        if elapsed >= next {
            next += TICK;
            let progress = meter.map(|meter| meter.reading(log, elapsed));
            let progress = progress.unwrap_or_default();
            eprintln!("{title}: {}{progress}", clock_time(elapsed));
        }
        thread::sleep(POLL);
    }
}

// === impl Meter ===

impl Meter {
    /// The units done so far, and about how long the others take at the same pace.
    fn reading(&self, log: &Path, elapsed: Duration) -> String {
        let text = fs::read(log).unwrap_or_default();
        let text = String::from_utf8_lossy(&text);
        let done = text.lines().filter(|line| line.contains(self.mark)).count();
        self.words(done, elapsed)
    }

    fn words(&self, done: usize, elapsed: Duration) -> String {
        let Self { units, total, .. } = self;
        let counted = format!(", {done} of about {total} {units}");
        if done * 100 < total * TELLING_PERCENT || done >= *total {
            return counted;
        }
        let left = elapsed.as_secs() * (total - done) as u64 / done as u64;
        // Nobody needs seconds of a time that is about right.
        let left = Duration::from_secs(left.div_ceil(10) * 10);
        format!("{counted}, about {} left", clock_time(left))
    }
}

/// A duration as minutes and seconds: "4m05s", "12s".
pub(crate) fn clock_time(time: Duration) -> String {
    match (time.as_secs() / 60, time.as_secs() % 60) {
        (0, seconds) => format!("{seconds}s"),
        (minutes, seconds) => format!("{minutes}m{seconds:02}s"),
    }
}

fn tail(log: &Path) -> String {
    let text = fs::read(log).unwrap_or_default();
    let text = String::from_utf8_lossy(&text);
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(TAIL_LINES)..].join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    const METER: Meter = Meter {
        units: "packages",
        total: 200,
        mark: "",
    };

    #[test]
    fn the_time_left_follows_from_the_pace() {
        let words = METER.words(50, Duration::from_mins(1));
        assert_eq!(words, ", 50 of about 200 packages, about 3m00s left");
    }

    #[test]
    fn a_step_that_has_just_begun_tells_no_time() {
        let words = METER.words(19, Duration::from_secs(15));
        assert_eq!(words, ", 19 of about 200 packages");
    }

    #[test]
    fn more_units_than_expected_leave_no_time() {
        let words = METER.words(201, Duration::from_mins(1));
        assert_eq!(words, ", 201 of about 200 packages");
    }
}
