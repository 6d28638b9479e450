//! A git server in a folder, and its clients, for the tests of this crate.
#![expect(clippy::unwrap_used, reason = "a test that cannot prepare has failed")]

pub(crate) mod https;

use std::{
    fs,
    io::Write as _,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::{
        Arc,
        atomic::{AtomicI64, Ordering},
    },
};

use gix::objs::tree::EntryKind;
use jiff::Timestamp;
use tempfile::TempDir;

use crate::{
    commit::{Commit, ObjectId, Person, Signature},
    limits::Limits,
    remote::{Credentials, Protocol, Remote},
    repository::{Git, Repository},
    store,
    transport::{Transport, TransportSettings},
};

/// A bare repository whose clients use `file://…`.
pub(crate) struct Server {
    folder: TempDir,
    clock: AtomicI64,
}

/// A client with a cache of its own.
pub(crate) struct Client {
    pub(crate) cache: TempDir,
    pub(crate) repository: Repository,
}

pub(crate) fn file_settings() -> TransportSettings {
    TransportSettings {
        protocols: vec![Protocol::File],
        ..TransportSettings::default()
    }
}

pub(crate) fn signature(name: &str, second: i64) -> Signature {
    Signature {
        person: Person {
            name: name.into(),
            email: format!("{}@example.com", name.to_lowercase()),
        },
        at: Timestamp::from_second(second).unwrap(),
    }
}

/// Writes a script through another process: a file that this one has open for writing cannot be
/// run while another thread forks.
pub(crate) fn write_script(path: &Path, text: &str) {
    let mut child = Command::new("/bin/sh")
        .args(["-c", "cat > \"$0\" && chmod 755 \"$0\""])
        .arg(path)
        .stdin(Stdio::piped())
        .spawn()
        .unwrap();
    child
        .stdin
        .take()
        .unwrap()
        .write_all(text.as_bytes())
        .unwrap();
    assert!(child.wait().unwrap().success());
}

/// Returns all files below a folder.
pub(crate) fn walk(folder: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files.extend(walk(&path));
        } else {
            files.push(path);
        }
    }
    files
}

// === impl Server ===

impl Server {
    pub(crate) fn new() -> Self {
        let server = Self {
            folder: tempfile::tempdir().unwrap(),
            clock: AtomicI64::new(1_800_000_000),
        };
        server.git(&["init", "--quiet", "--bare", "--initial-branch=main"]);
        server
    }

    pub(crate) fn url(&self) -> String {
        format!("file://{}", self.folder.path().display())
    }

    pub(crate) fn path(&self) -> &Path {
        self.folder.path()
    }

    pub(crate) fn client(&self) -> Client {
        self.client_within(Limits::default())
    }

    pub(crate) fn client_within(&self, limits: Limits) -> Client {
        let cache = tempfile::tempdir().unwrap();
        let transport = Transport::new(file_settings()).unwrap();
        let git = Git::new(transport, cache.path(), limits);
        let remote = Remote::new(&self.url(), Credentials::Anonymous).unwrap();
        let repository = Arc::new(git).repository(remote);
        Client { cache, repository }
    }

    /// Commits files to a branch, as a person would.
    pub(crate) fn commit(&self, branch: &str, files: &[(&str, &str)]) -> ObjectId {
        let entries: Vec<_> = files
            .iter()
            .map(|(path, text)| (*path, EntryKind::Blob, *text))
            .collect();
        self.commit_entries(branch, self.tip(branch), &entries)
    }

    pub(crate) fn commit_entries(
        &self,
        branch: &str,
        parent: Option<ObjectId>,
        entries: &[(&str, EntryKind, &str)],
    ) -> ObjectId {
        let store = store::open(self.path()).unwrap();
        let base = match parent {
            Some(parent) => store::tree_of(&store, parent).unwrap(),
            None => store.empty_tree(),
        };
        let mut editor = base.edit().unwrap();
        for (path, kind, text) in entries {
            let id = match (kind, parent) {
                (EntryKind::Commit, Some(parent)) => parent,
                _ => store.write_blob(text).unwrap().detach(),
            };
            editor.upsert(*path, *kind, id).unwrap();
        }
        let tree = editor.write().unwrap().detach();
        let second = self.clock.fetch_add(60, Ordering::Relaxed);
        let ada = signature("Ada", second);
        let id = store::write_commit(&store, tree, parent, &format!("At {second}\n"), &ada, &ada);
        let id = id.unwrap();
        self.set(branch, id);
        id
    }

    /// Deletes a file on a branch.
    pub(crate) fn delete_file(&self, branch: &str, path: &str) -> ObjectId {
        let store = store::open(self.path()).unwrap();
        let parent = self.tip(branch).unwrap();
        let base = store::tree_of(&store, parent).unwrap();
        let tree = base
            .edit()
            .unwrap()
            .remove(path)
            .unwrap()
            .write()
            .unwrap()
            .detach();
        let ada = signature("Ada", self.clock.fetch_add(60, Ordering::Relaxed));
        let id = store::write_commit(&store, tree, Some(parent), "Delete\n", &ada, &ada).unwrap();
        self.set(branch, id);
        id
    }

    /// Moves a branch, by force.
    pub(crate) fn set(&self, branch: &str, id: ObjectId) {
        self.git(&[
            "update-ref",
            &format!("refs/heads/{branch}"),
            &id.to_string(),
        ]);
    }

    pub(crate) fn delete_branch(&self, branch: &str) {
        self.git(&["update-ref", "-d", &format!("refs/heads/{branch}")]);
    }

    /// Rejects every push, as a protected branch does.
    pub(crate) fn protect(&self) {
        let hook = self.path().join("hooks/pre-receive");
        fs::create_dir_all(hook.parent().unwrap()).unwrap();
        write_script(&hook, "#!/bin/sh\necho 'main is protected' >&2\nexit 1\n");
    }

    pub(crate) fn tip(&self, branch: &str) -> Option<ObjectId> {
        let out = self.git_output(&[
            "rev-parse",
            "--verify",
            "--quiet",
            &format!("refs/heads/{branch}"),
        ]);
        out.trim().parse().ok()
    }

    pub(crate) fn show(&self, branch: &str) -> Commit {
        let store = store::open(self.path()).unwrap();
        store::commit(&store, self.tip(branch).unwrap()).unwrap()
    }

    pub(crate) fn file(&self, branch: &str, path: &str) -> String {
        self.git(&["show", &format!("refs/heads/{branch}:{path}")])
    }

    /// Removes one object from the clone of a client that has fetched everything.
    pub(crate) fn damage(&self, client: &Client, object: gix::ObjectId) {
        let (ours, theirs) = (
            self.path().join("objects"),
            client.clone_dir().join("objects"),
        );
        // Unpacked, so that the object has a file of its own.
        let _ = fs::remove_dir_all(theirs.join("pack"));
        for entry in walk(&ours) {
            let to = theirs.join(entry.strip_prefix(&ours).unwrap());
            fs::create_dir_all(to.parent().unwrap()).unwrap();
            if !to.exists() {
                fs::copy(&entry, to).unwrap();
            }
        }
        let name = object.to_string();
        let (folder, file) = name.split_at(2);
        fs::remove_file(theirs.join(folder).join(file)).unwrap();
    }

    /// Runs git on the server, and returns its output.
    pub(crate) fn git(&self, args: &[&str]) -> String {
        let output = self.command(args).output().unwrap();
        assert!(
            output.status.success(),
            "git {args:?}: {}",
            String::from_utf8_lossy(&output.stderr)
        );
        String::from_utf8(output.stdout).unwrap()
    }

    fn git_output(&self, args: &[&str]) -> String {
        String::from_utf8(self.command(args).output().unwrap().stdout).unwrap()
    }

    fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new("git");
        command
            .args(args)
            .env_clear()
            .env("PATH", "/usr/local/bin:/usr/bin:/bin")
            .env("GIT_DIR", self.path())
            .env("GIT_CONFIG_GLOBAL", "/dev/null")
            .env("GIT_CONFIG_NOSYSTEM", "1");
        command
    }
}

// === impl Client ===

impl Client {
    /// Returns the folder of the clone.
    pub(crate) fn clone_dir(&self) -> PathBuf {
        let mut folders = fs::read_dir(self.cache.path()).unwrap();
        let folder = folders.next().unwrap().unwrap().path();
        assert!(folders.next().is_none(), "one URL has one clone");
        folder
    }
}
