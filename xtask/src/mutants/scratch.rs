//! A copy of the sources in which mistakes are made, with a build folder of its own.
//!
//! Only files that differ are copied, so that what was built before is built no second time.

use std::{
    collections::BTreeSet,
    fmt, fs,
    io::{Read, Write as _},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::mpsc,
    thread,
    time::Duration,
};

use anyhow::{Context as _, Result, ensure};

use super::Mutant;
use crate::{histories, shell};

/// Number of random histories that a mistake is tried in.
const HISTORIES: &str = "3000";

/// Time that the tests may take: a mistake may keep them from ever ending.
const LIMIT: Duration = Duration::from_secs(90);

/// The most tests that are named as finders.
const NAMED: usize = 3;

/// Tests, the cheapest first. A change of behavior shows in the golden histories whatever it is, so they come
/// last but for the random ones, which take longer.
const PHASES: [Phase; 4] = [
    Phase {
        program: &["--test", "world"],
        arguments: &["--skip", "histories::"],
        is_golden: false,
    },
    Phase {
        program: &["--lib"],
        arguments: &[],
        is_golden: false,
    },
    Phase {
        program: &["--test", "world"],
        arguments: &["histories::golden"],
        is_golden: true,
    },
    Phase {
        program: &["--test", "world"],
        arguments: &["--exact", histories::TEST, "--nocapture"],
        is_golden: false,
    },
];

/// Tests that run together.
#[derive(Clone, Copy)]
struct Phase {
    program: &'static [&'static str],
    arguments: &'static [&'static str],
    /// True if they compare with what was decided before, right or wrong.
    is_golden: bool,
}

/// The copy.
pub(super) struct Scratch {
    tree: PathBuf,
    built: PathBuf,
}

/// Verdict of the tests on a mistake.
pub(super) enum Verdict {
    Found(Finder),
    Survived,
    /// The compiler finds it; what it says.
    Unviable(String),
}

/// Finder of a mistake.
pub(super) enum Finder {
    /// Tests, by their names.
    Test(String),
    /// A random history, by its seed and the invariant.
    History(String),
    /// Histories that go another way than before.
    Golden,
    /// Tests that did not come to their end.
    Hang,
}

// === impl Scratch ===

impl Scratch {
    /// Copies every file that git has, or would add.
    pub(super) fn make() -> Result<Self> {
        let target = shell::workspace().join("target/mutants");
        let (tree, built) = (target.join("tree"), target.join("target"));
        let mut git = Command::new("git");
        git.current_dir(shell::workspace()).args([
            "ls-files",
            "--cached",
            "--others",
            "--exclude-standard",
        ]);
        let mut files = BTreeSet::new();
        for file in shell::output_of(&mut git)?.lines() {
            let (from, to) = (shell::workspace().join(file), tree.join(file));
            // What git has may have been removed since.
            if from.is_file() {
                copy(&from, &to).with_context(|| format!("{file} cannot be copied"))?;
                files.insert(to);
            }
        }
        remove_others(&tree, &files).context("the copy cannot be cleared")?;
        Ok(Self { tree, built })
    }

    /// Makes a mistake; returns what found it, and takes it out again.
    pub(super) fn find(&self, mutant: &Mutant, with_golden: bool) -> Result<Verdict> {
        self.apply(&mutant.patch, &[])?;
        let verdict = self.judge(with_golden);
        self.apply(&mutant.patch, &["--reverse"])?;
        verdict
    }

    /// Builds and tests the copy as it is.
    pub(super) fn judge(&self, with_golden: bool) -> Result<Verdict> {
        let phases = PHASES
            .iter()
            .filter(|phase| with_golden || !phase.is_golden);
        for phase in phases {
            let program = match self.build(phase.program)? {
                Ok(program) => program,
                Err(said) => return Ok(Verdict::Unviable(said)),
            };
            match self.test(&program, phase.arguments)? {
                Some(Finder::Test(_)) if phase.is_golden => {
                    return Ok(Verdict::Found(Finder::Golden));
                }
                Some(finder) => return Ok(Verdict::Found(finder)),
                None => {}
            }
        }
        Ok(Verdict::Survived)
    }

    fn apply(&self, patch: &str, how: &[&str]) -> Result<()> {
        let mut git = Command::new("git");
        // The copy lies in the work tree of a repository, and is not of it.
        git.current_dir(&self.tree)
            .env(
                "GIT_CEILING_DIRECTORIES",
                self.tree.parent().unwrap_or(&self.tree),
            )
            .args(["apply", "--whitespace=nowarn"])
            .args(how)
            .stdin(Stdio::piped())
            .stderr(Stdio::piped());
        let mut git = git.spawn().context("git cannot be started")?;
        let input = git.stdin.take();
        input
            .context("git takes no patch")?
            .write_all(patch.as_bytes())
            .context("git takes no patch")?;
        let output = git.wait_with_output().context("git cannot be waited for")?;
        let said = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success(), "the patch does not apply: {said}");
        Ok(())
    }

    /// Builds a program of tests; returns its path, or the compiler's words.
    fn build(&self, program: &[&str]) -> Result<Result<PathBuf, String>> {
        let mut cargo = shell::cargo();
        cargo
            .current_dir(&self.tree)
            .args(["test", "--quiet", "--no-run", "--message-format=json"])
            .args(["--package", "tidegate-engine"])
            .args(program)
            .env("CARGO_TARGET_DIR", &self.built);
        let output = cargo.output().context("cargo cannot be started")?;
        let said = String::from_utf8_lossy(&output.stdout);
        if !output.status.success() {
            let errors = said.lines().filter_map(|line| field(line, "rendered"));
            return Ok(Err(errors.collect::<Vec<_>>().join("\n")));
        }
        let program = said
            .lines()
            .rev()
            .find_map(|line| field(line, "executable"));
        let program = program.context("cargo names no program")?;
        Ok(Ok(PathBuf::from(program)))
    }

    /// Runs a program of tests; returns what failed, if anything.
    fn test(&self, program: &Path, arguments: &[&str]) -> Result<Option<Finder>> {
        let mut tests = Command::new(program);
        tests
            .current_dir(self.tree.join("crates/engine"))
            .args(arguments)
            .env(histories::COUNT, HISTORIES)
            .env("INSTA_UPDATE", "no")
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let mut tests = tests.spawn().context("the tests cannot be started")?;
        let Some(said) = output_within(&mut tests, LIMIT) else {
            tests.kill().context("the tests cannot be ended")?;
            tests.wait().context("the tests cannot be ended")?;
            return Ok(Some(Finder::Hang));
        };
        let status = tests.wait().context("the tests cannot be waited for")?;
        if status.success() {
            return Ok(None);
        }
        Ok(Some(finder(&said)))
    }
}

impl fmt::Display for Finder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Test(names) => f.write_str(names),
            Self::History(seed) => f.write_str(seed),
            Self::Golden => f.write_str("golden histories"),
            Self::Hang => f.write_str("tests that do not end"),
        }
    }
}

/// Returns all that a program prints, if it ends within the time.
fn output_within(child: &mut Child, limit: Duration) -> Option<String> {
    let (sender, receiver) = mpsc::channel();
    let (stdout, stderr) = (child.stdout.take()?, child.stderr.take()?);
    let streams: [Box<dyn Read + Send>; 2] = [Box::new(stdout), Box::new(stderr)];
    for mut stream in streams {
        let sender = sender.clone();
        thread::spawn(move || {
            let mut said = Vec::new();
            // What cannot be read is not said.
            _ = stream.read_to_end(&mut said);
            _ = sender.send(said);
        });
    }
    let mut all = String::new();
    for _ in 0..2 {
        let said = receiver.recv_timeout(limit).ok()?;
        all.push_str(&String::from_utf8_lossy(&said));
    }
    Some(all)
}

/// Returns the seed where a history failed, and else the tests that did.
fn finder(said: &str) -> Finder {
    let mut lines = said.lines();
    let is_history = |line: &&str| line.starts_with("seed ") || line.starts_with("always tried: ");
    if let Some(seed) = lines.find(is_history) {
        return Finder::History(seed.to_owned());
    }
    let mut failed: Vec<_> = said.lines().filter_map(failed_test).collect();
    failed.dedup();
    let more = failed.len().saturating_sub(NAMED);
    failed.truncate(NAMED);
    let named = failed.join("; ");
    Finder::Test(match (named.is_empty(), more) {
        (true, _) => "a program of tests that breaks off".to_owned(),
        (false, 0) => named,
        (false, more) => format!("{named}; and {more} more"),
    })
}

/// Returns the name of the test, if the line heads what a failed one printed.
fn failed_test(line: &str) -> Option<&str> {
    let name = line.strip_prefix("---- ")?;
    name.strip_suffix(" stdout ----")
}

/// Returns the text of a field in a line of cargo's messages, as far as it has no quotation mark.
fn field(line: &str, name: &str) -> Option<String> {
    let (_, rest) = line.split_once(&format!("\"{name}\":\""))?;
    let (text, _) = rest.split_once('"')?;
    Some(text.replace("\\n", "\n"))
}

fn copy(from: &Path, to: &Path) -> std::io::Result<()> {
    let content = fs::read(from)?;
    if fs::read(to).is_ok_and(|there| there == content) {
        return Ok(());
    }
    if let Some(folder) = to.parent() {
        fs::create_dir_all(folder)?;
    }
    fs::write(to, content)
}

/// Removes every file that is not among these.
fn remove_others(folder: &Path, files: &BTreeSet<PathBuf>) -> std::io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() {
            remove_others(&path, files)?;
        } else if !files.contains(&path) {
            fs::remove_file(&path)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_is_named_before_tests() {
        let said = "\
---- histories::the_invariants_hold_in_random_histories stdout ----
thread 'histories' panicked at tests/world/histories.rs:61:9:
seed 17: invariant 16, a breach that is shown is acted on: the canary had 1%
---- watching::a_breach stdout ----
";
        assert_eq!(
            finder(said).to_string(),
            "seed 17: invariant 16, a breach that is shown is acted on: the canary had 1%"
        );
    }

    #[test]
    fn the_tests_that_failed_are_named() {
        let said = "---- a::one stdout ----\nno\n---- b::two stdout ----\n";
        assert_eq!(finder(said).to_string(), "a::one; b::two");
        let many = "---- a stdout ----\n---- b stdout ----\n---- c stdout ----\n---- d stdout ----";
        assert_eq!(finder(many).to_string(), "a; b; c; and 1 more");
        assert_eq!(
            finder("SIGABRT").to_string(),
            "a program of tests that breaks off"
        );
    }

    #[test]
    fn a_field_of_a_message_is_its_text() {
        let line = r#"{"reason":"compiler-artifact","executable":"/built/world-1","fresh":true}"#;
        assert_eq!(field(line, "executable").as_deref(), Some("/built/world-1"));
        assert_eq!(field(r#"{"executable":null}"#, "executable"), None);
    }
}
