//! Restores by edits of files that were found by whoever knows what the files are for.
//!
//! The commit is made on the tip for which the edits were found, and is never pushed over another: where one came
//! first, the edits have to be found again.

use std::collections::BTreeMap;

use super::{RestoreError, commit_files, own_commit};
use crate::{
    commit::{Ci, ObjectId, Signature, Trailers},
    edit::{Edit, edited},
    repository::Repository,
    store::Store,
    tree::{self, MAX_FILE_BYTES},
};

/// Edits of the files of a tip, and the content of the commit.
#[derive(Clone, Debug)]
pub struct EditsRequest {
    /// Name of the config branch.
    pub branch: String,
    /// Commit that the edits are for.
    pub tip: ObjectId,
    /// The edits, of which no two overlap.
    pub edits: Vec<Edit>,
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
        let commit = self.read(move |store| commit_edits(store, request)).await?;
        self.push_restore(commit, &branch).await
    }
}

/// Commits edits of the files of a tip.
fn commit_edits(store: &Store, request: EditsRequest) -> Result<ObjectId, RestoreError> {
    let EditsRequest {
        tip,
        edits,
        message,
        trailers,
        ci,
        by,
        ..
    } = request;
    let mut by_file: BTreeMap<&str, Vec<&Edit>> = BTreeMap::new();
    for edit in &edits {
        by_file.entry(&edit.file).or_default().push(edit);
    }
    let mut texts = BTreeMap::new();
    for (path, edits) in by_file {
        let file = tree::file_at(store, tip, path, MAX_FILE_BYTES).map_err(RestoreError::Read)?;
        let text = file.and_then(|file| edited(&file.bytes, edits));
        let text = text.ok_or_else(|| RestoreError::OutOfPlace {
            path: path.to_owned(),
            commit: tip,
        })?;
        texts.insert(path.to_owned(), text);
    }
    commit_files(store, tip, &texts, (&message, ci, &trailers), &by)
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a test that cannot prepare has failed")]

    use std::ops::Range;

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

    fn request(tip: ObjectId, edits: Vec<Edit>) -> EditsRequest {
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

    fn edit(file: &str, range: Range<usize>, replacement: &str) -> Edit {
        Edit {
            file: file.into(),
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
