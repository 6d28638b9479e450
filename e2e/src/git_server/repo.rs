//! A repository of the git server, as tests write and read it: straight in the bare repository.

use std::{
    io,
    path::{Path, PathBuf},
};

use jiff::Timestamp;

use super::git::Git;

/// The branch that a new repository begins with.
const MAIN: &str = "main";

/// A bare repository.
#[derive(Clone, Debug)]
pub struct Repo {
    path: PathBuf,
}

/// Variable that gives git another index than the repository's own.
const INDEX: &str = "GIT_INDEX_FILE";

/// Change that a commit makes to one file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// The file has this content.
    Write(String, String),
    /// The file is gone.
    Delete(String),
}

/// One commit of a branch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Commit {
    /// Its id.
    pub id: String,
    /// Its author.
    pub author: String,
    /// Time of the commit.
    pub committed: Timestamp,
    /// The whole message, trailers included.
    pub message: String,
}

/// Failure of an operation on a repository.
#[derive(Debug, thiserror::Error)]
pub enum RepoError {
    /// The repository's folder cannot be made.
    #[error("the repository {} cannot be made: {source}", path.display())]
    Create {
        /// The path.
        path: PathBuf,
        /// Cause.
        source: io::Error,
    },
    /// A file beside the repository's own cannot be had.
    #[error("no index for a commit can be had: {0}")]
    Index(io::Error),
    /// Git said no.
    #[error("{what}: {why}")]
    Git {
        /// The command.
        what: String,
        /// Its message.
        why: String,
    },
    /// Git said something that we cannot read.
    #[error("git's log cannot be read: {0:?}")]
    Log(String),
}

// === impl Change ===

impl Change {
    /// The file has this content.
    pub fn write(path: impl Into<String>, content: impl Into<String>) -> Self {
        Self::Write(path.into(), content.into())
    }

    /// The file is gone.
    pub fn delete(path: impl Into<String>) -> Self {
        Self::Delete(path.into())
    }
}

// === impl Repo ===

impl Repo {
    pub(super) async fn open_or_init(path: &Path) -> Result<Self, RepoError> {
        let repo = Self {
            path: path.to_owned(),
        };
        if path.join("HEAD").exists() {
            return Ok(repo);
        }
        std::fs::create_dir_all(path).map_err(|source| RepoError::Create {
            path: path.to_owned(),
            source,
        })?;
        repo.git(["init", "--quiet", "--bare", "--initial-branch", MAIN, "."])
            .run()
            .await?;
        repo.allow_push(true).await?;
        Ok(repo)
    }

    /// The folder of the bare repository.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Makes the server accept or reject pushes to this repository.
    pub async fn allow_push(&self, allowed: bool) -> Result<(), RepoError> {
        let allowed = if allowed { "true" } else { "false" };
        self.git(["config", "http.receivepack", allowed])
            .run()
            .await?;
        Ok(())
    }

    /// Commits to `main`, as the tests' developer; gives the commit's id.
    pub async fn commit(
        &self,
        changes: impl IntoIterator<Item = Change>,
        message: &str,
    ) -> Result<String, RepoError> {
        self.commit_to(MAIN, changes, message).await
    }

    /// Commits to a branch, which begins with it if it is not there. Fails, and changes nothing,
    /// when somebody pushes to the branch at the same moment.
    pub async fn commit_to(
        &self,
        branch: &str,
        changes: impl IntoIterator<Item = Change>,
        message: &str,
    ) -> Result<String, RepoError> {
        let parent = self.tip(branch).await?;
        let folder = tempfile::tempdir_in(&self.path).map_err(RepoError::Index)?;
        let index = folder.path().join("index");
        if let Some(parent) = &parent {
            self.git(["read-tree", parent])
                .env(INDEX, &index)
                .run()
                .await?;
        }
        let info = self.index_info(changes).await?;
        self.git(["update-index", "--index-info"])
            .env(INDEX, &index)
            .stdin(info)
            .run()
            .await?;
        let tree = self.git(["write-tree"]).env(INDEX, &index).text().await?;
        let commit = self.commit_tree(&tree, parent.as_deref(), message).await?;
        let branch = format!("refs/heads/{branch}");
        // The old value, or none at all, is what makes it safe against pushes.
        let before = parent.as_deref().unwrap_or_default();
        self.git(["update-ref", &branch, &commit, before])
            .run()
            .await?;
        Ok(commit)
    }

    /// Points a branch somewhere else, whatever was there: a rewritten history.
    pub async fn force(&self, branch: &str, commit: &str) -> Result<(), RepoError> {
        let branch = format!("refs/heads/{branch}");
        self.git(["update-ref", &branch, commit]).run().await?;
        Ok(())
    }

    /// Deletes a branch.
    pub async fn delete_branch(&self, branch: &str) -> Result<(), RepoError> {
        let branch = format!("refs/heads/{branch}");
        self.git(["update-ref", "-d", &branch]).run().await?;
        Ok(())
    }

    /// The last commit of `main`, if it has any.
    pub async fn head(&self) -> Result<Option<String>, RepoError> {
        self.tip(MAIN).await
    }

    /// The last commit of a branch, if it is there.
    pub async fn tip(&self, branch: &str) -> Result<Option<String>, RepoError> {
        let wanted = format!("refs/heads/{branch}");
        let found = self
            .git(["for-each-ref", "--format=%(objectname)", &wanted])
            .text()
            .await?;
        if found.is_empty() {
            return Ok(None);
        }
        Ok(Some(found))
    }

    /// The content of a file at the tip of a branch (or at a commit), if it is there.
    pub async fn file_at(&self, at: &str, path: &str) -> Result<Option<String>, RepoError> {
        if !self.files(at).await?.iter().any(|file| file == path) {
            return Ok(None);
        }
        let bytes = self
            .git(["cat-file", "blob", &format!("{at}:{path}")])
            .run()
            .await?;
        Ok(Some(String::from_utf8_lossy(&bytes).into_owned()))
    }

    /// Every file at the tip of a branch (or at a commit); none where there is no such branch.
    pub async fn files(&self, at: &str) -> Result<Vec<String>, RepoError> {
        let known = self
            .git(["rev-parse", "--quiet", "--verify", at])
            .run()
            .await;
        if known.is_err() {
            return Ok(Vec::new());
        }
        let bytes = self
            .git(["ls-tree", "-r", "-z", "--name-only", at])
            .run()
            .await?;
        let names = bytes
            .split(|byte| *byte == 0)
            .filter(|name| !name.is_empty());
        Ok(names
            .map(|name| String::from_utf8_lossy(name).into_owned())
            .collect())
    }

    /// The commits of a branch, the newest first; none where there is no such branch.
    pub async fn log(&self, branch: &str) -> Result<Vec<Commit>, RepoError> {
        let Some(tip) = self.tip(branch).await? else {
            return Ok(Vec::new());
        };
        let bytes = self
            .git(["log", "-z", "--format=%H%x1f%an <%ae>%x1f%cI%x1f%B", &tip])
            .run()
            .await?;
        let text = String::from_utf8_lossy(&bytes).into_owned();
        text.split('\0')
            .filter(|entry| !entry.is_empty())
            .map(commit)
            .collect()
    }

    /// A commit as `git show` prints it: the message and what was changed.
    pub async fn show(&self, commit: &str) -> Result<String, RepoError> {
        self.git(["show", commit]).text().await
    }

    fn git<'a>(&self, args: impl IntoIterator<Item = &'a str>) -> Git {
        Git::new(&self.path, args)
    }

    /// Input of `update-index --index-info`; the contents are in the object store by then.
    async fn index_info(
        &self,
        changes: impl IntoIterator<Item = Change>,
    ) -> Result<String, RepoError> {
        let mut info = String::new();
        for change in changes {
            let line = match change {
                Change::Write(path, content) => {
                    let blob = self
                        .git(["hash-object", "-w", "--stdin"])
                        .stdin(content)
                        .text()
                        .await?;
                    format!("100644 {blob}\t{path}\n")
                }
                Change::Delete(path) => format!("0 {}\t{path}\n", "0".repeat(40)),
            };
            info.push_str(&line);
        }
        Ok(info)
    }

    async fn commit_tree(
        &self,
        tree: &str,
        parent: Option<&str>,
        message: &str,
    ) -> Result<String, RepoError> {
        let mut args = vec!["commit-tree", tree];
        args.extend(parent.into_iter().flat_map(|parent| ["-p", parent]));
        let mut git = self.git(args).stdin(message);
        for who in ["AUTHOR", "COMMITTER"] {
            git = git
                .env(&format!("GIT_{who}_NAME"), "Dev Eloper")
                .env(&format!("GIT_{who}_EMAIL"), "dev@example.com");
        }
        git.text().await
    }
}

fn commit(entry: &str) -> Result<Commit, RepoError> {
    let mut parts = entry.splitn(4, '\u{1f}');
    let mut part = || parts.next().ok_or_else(|| RepoError::Log(entry.to_owned()));
    let (id, author, committed, message) = (part()?, part()?, part()?, part()?);
    Ok(Commit {
        id: id.trim().to_owned(),
        author: author.to_owned(),
        committed: committed
            .parse()
            .map_err(|_| RepoError::Log(entry.to_owned()))?,
        message: message.trim_end().to_owned(),
    })
}
