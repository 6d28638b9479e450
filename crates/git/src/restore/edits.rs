//! Restores by edits of files that were found by whoever knows what the files are for.
//!
//! The commit is made on the tip for which the edits were found, and is never pushed over another: where one came
//! first, the edits have to be found again.

use std::{collections::BTreeMap, ops::Range};

use super::{RestoreError, commit_files, own_commit};
use crate::{
    commit::{Ci, ObjectId, Signature, Trailers},
    repository::Repository,
    transport::TransportError,
    tree::{self, TreeLimits},
};

/// Bytes of a file that are replaced. Every other byte stays.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileEdit {
    /// Path of the file.
    pub path: String,
    /// The bytes.
    pub range: Range<usize>,
    /// Text in their place.
    pub replacement: String,
}

/// Edits of the files of a tip, and the content of the commit.
#[derive(Clone, Debug)]
pub struct EditsRequest {
    /// Name of the config branch.
    pub branch: String,
    /// Commit that the edits are for.
    pub tip: ObjectId,
    /// The edits, of which no two overlap.
    pub edits: Vec<FileEdit>,
    /// Subject and body of the commit; the trailers are added.
    pub message: String,
    /// Trailers of the commit.
    pub trailers: Trailers,
    /// Pipelines for the commit.
    pub ci: Ci,
    /// Author and committer.
    pub by: Signature,
}

// === impl Repository ===

impl Repository {
    /// Returns the tip of a branch, and the commit after `since` by which a restore of this id was made before.
    pub async fn restored_before(
        &self,
        branch: &str,
        since: ObjectId,
        id: &str,
    ) -> Result<(ObjectId, Option<ObjectId>), RestoreError> {
        let tip = self.fetch_tip(branch).await?;
        let id = id.to_owned();
        let own = self
            .read(move |store| own_commit(store, tip, since, &id, None))
            .await?;
        Ok((tip, own))
    }

    /// Commits edits and pushes the commit. Fails with a conflict where another came first.
    pub async fn restore_by_edits(&self, request: EditsRequest) -> Result<ObjectId, RestoreError> {
        let branch = request.branch.clone();
        let commit = self
            .read(move |store| {
                let mut texts = BTreeMap::new();
                for path in request.edits.iter().map(|edit| &edit.path) {
                    let limit = TreeLimits::default().file_bytes;
                    let file = tree::file_at(store, request.tip, path, limit);
                    let file = file.map_err(RestoreError::Read)?;
                    texts.insert(path.clone(), file.map_or_else(Vec::new, |file| file.bytes));
                }
                let texts = edited(texts, request.edits);
                let EditsRequest {
                    tip,
                    message,
                    trailers,
                    ci,
                    by,
                    ..
                } = request;
                commit_files(store, tip, &texts, (&message, ci, &trailers), &by)
            })
            .await?;
        match self.push(commit, &branch).await {
            Ok(()) => Ok(commit),
            Err(rejected @ TransportError::PushRejected { .. }) => {
                Err(RestoreError::PushRejected(rejected))
            }
            Err(other) => Err(RestoreError::Push(other)),
        }
    }
}

/// Applies edits from the end of each file, so that the places of the others stay right.
fn edited(
    mut texts: BTreeMap<String, Vec<u8>>,
    mut edits: Vec<FileEdit>,
) -> BTreeMap<String, Vec<u8>> {
    edits.sort_by_key(|edit| std::cmp::Reverse((edit.range.start, edit.range.end)));
    for edit in edits {
        if let Some(text) = texts.get_mut(&edit.path)
            && edit.range.end <= text.len()
        {
            text.splice(edit.range, edit.replacement.into_bytes());
        }
    }
    texts
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a test that cannot prepare has failed")]

    use super::*;
    use crate::testing::{Server, signature};

    fn trailers() -> Trailers {
        Trailers {
            outcome: "RolledBack".into(),
            rollout: "shop/web".into(),
            revision: "r".into(),
            config_commit: None,
            id: "id-1".into(),
        }
    }

    fn request(tip: ObjectId, edits: Vec<FileEdit>) -> EditsRequest {
        EditsRequest {
            branch: "main".into(),
            tip,
            edits,
            message: "Restore web".into(),
            trailers: trailers(),
            ci: Ci::Run,
            by: signature("Tidegate", 0),
        }
    }

    fn edit(path: &str, range: Range<usize>, replacement: &str) -> FileEdit {
        FileEdit {
            path: path.into(),
            range,
            replacement: replacement.into(),
        }
    }

    #[tokio::test]
    async fn the_edited_bytes_change_and_no_other_and_the_commit_is_found_again() {
        let server = Server::new();
        let files = [("a/k.yaml", "tag: two # by CI\n"), ("b.yaml", "rate: 9\n")];
        let bad = server.commit("main", &files);
        let client = server.client();
        let before = client.repository.restored_before("main", bad, "id-1").await;
        assert_eq!(before.unwrap(), (bad, None));
        let edits = vec![edit("a/k.yaml", 5..8, "one"), edit("b.yaml", 6..7, "0")];
        let commit = client
            .repository
            .restore_by_edits(request(bad, edits))
            .await
            .unwrap();
        let text = |path| {
            let repository = client.repository.clone();
            async move {
                repository
                    .file_at(commit, path)
                    .await
                    .unwrap()
                    .unwrap()
                    .bytes
            }
        };
        assert_eq!(text("a/k.yaml").await, b"tag: one # by CI\n");
        assert_eq!(text("b.yaml").await, b"rate: 0\n");
        let again = client.repository.restored_before("main", bad, "id-1").await;
        assert_eq!(again.unwrap(), (commit, Some(commit)));
        let other = client.repository.restored_before("main", bad, "id-2").await;
        assert_eq!(other.unwrap(), (commit, None));
    }

    #[tokio::test]
    async fn edits_for_a_tip_that_is_behind_are_a_conflict() {
        let server = Server::new();
        let bad = server.commit("main", &[("k.yaml", "tag: two\n")]);
        let client = server.client();
        client.repository.fetch("main", None).await.unwrap();
        server.commit("main", &[("k.yaml", "tag: three\n")]);
        let edits = vec![edit("k.yaml", 5..8, "one")];
        let error = client
            .repository
            .restore_by_edits(request(bad, edits))
            .await
            .unwrap_err();
        assert!(error.is_conflict(), "{error:?}");
    }
}
