//! The facts branch: files that say what has happened, each written once and never changed.
//!
//! A batch becomes one commit on the tip, pushed without force. Writing a file again finds it
//! there, so a writer that crashed between its push and the answer just writes again. A file that
//! is there with other content is a contradiction, which is answered and never overwritten.

use std::{collections::BTreeMap, sync::Arc};

use gix::objs::tree::EntryKind;

use super::{
    commit::{CommitId, Signature, Trailers, message_with_trailers},
    failure::TransportError,
    push::{is_lost, until_not_lost},
    repository::{FetchError, Repository},
    store::{self, OfStore, Store, StoreError, writing},
    tree::{self, TreeError},
};

/// One file to be written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fact {
    /// From the root of the branch.
    pub path: String,
    /// Its content.
    pub bytes: Vec<u8>,
    /// What the commit says of it.
    pub trailers: Trailers,
}

/// That a fact is on the branch at the server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Written {
    /// By this call.
    Committed(CommitId),
    /// Since before it.
    AlreadyThere,
}

/// The path holds something else. Somebody has edited the branch, or there is a bug: tell people.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{path}` is on the branch already with other content")]
pub struct Contradiction {
    /// The fact's path.
    pub path: String,
}

/// Why no fact of the batch could be written.
#[derive(Debug, thiserror::Error)]
pub enum FactsError {
    /// The tip of the branch is not known.
    #[error("cannot fetch the facts branch")]
    Fetch(#[from] FetchError),
    /// A path that leads out of the branch, or to its root.
    #[error("`{path}` is no path of a fact")]
    Path {
        /// The path.
        path: String,
    },
    /// What is there could not be read.
    #[error("cannot read the facts branch")]
    Read(#[source] TreeError),
    /// The commit could not be made.
    #[error("cannot commit the facts")]
    Commit(#[from] StoreError),
    /// The branch is protected, or the credentials may not write.
    #[error("the push of the facts was refused")]
    PushRefused(#[source] TransportError),
    /// The push failed otherwise; the facts may be written later.
    #[error("cannot push the facts")]
    Push(#[source] TransportError),
}

/// What each fact of a batch has come to, in the order of the batch.
pub type FactResults = Vec<Result<Written, Contradiction>>;

/// A batch against one tip.
struct Batch<'a> {
    store: &'a Store,
    tip: Option<CommitId>,
    new: BTreeMap<String, gix::ObjectId>,
    committed: Vec<&'a Fact>,
}

/// What became of one fact, before the name of the commit is known.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Place {
    New,
    There,
    Taken,
}

// === impl Repository ===

impl Repository {
    /// Writes `facts` to `branch`, which is made where there is none, as one commit by `by`.
    pub async fn write_facts(
        &self,
        branch: &str,
        facts: Vec<Fact>,
        by: Signature,
    ) -> Result<FactResults, FactsError> {
        let facts: Arc<[Fact]> = facts.into();
        let lost = |error: &FactsError| matches!(error, FactsError::Push(e) if is_lost(e));
        until_not_lost(|| self.write_facts_once(branch, &facts, &by), lost).await
    }

    async fn write_facts_once(
        &self,
        branch: &str,
        facts: &Arc<[Fact]>,
        by: &Signature,
    ) -> Result<FactResults, FactsError> {
        let tip = match self.fetch_tip(branch).await {
            Ok(tip) => Some(tip),
            Err(FetchError::BranchMissing { .. }) => None,
            Err(error) => return Err(error.into()),
        };
        let (facts, by) = (Arc::clone(facts), by.clone());
        let (commit, results) = self
            .read(move |store| commit_facts(store, tip, &facts, &by))
            .await?;
        if let Some(commit) = commit {
            self.push(commit, branch)
                .await
                .map_err(|error| match error {
                    refused @ TransportError::PushRefused { .. } => {
                        FactsError::PushRefused(refused)
                    }
                    other => FactsError::Push(other),
                })?;
        }
        Ok(results)
    }
}

/// Commits what is not there yet on `tip`; nothing where all of it is.
fn commit_facts(
    store: &Store,
    tip: Option<CommitId>,
    facts: &[Fact],
    by: &Signature,
) -> Result<(Option<CommitId>, FactResults), FactsError> {
    let mut batch = Batch {
        store,
        tip,
        new: BTreeMap::new(),
        committed: Vec::new(),
    };
    let places: Vec<_> = facts
        .iter()
        .map(|fact| batch.add(fact))
        .collect::<Result<_, _>>()?;
    let commit = batch.commit(by)?;
    let results = facts
        .iter()
        .zip(places)
        .map(|(fact, place)| match (place, commit) {
            (Place::New, Some(commit)) => Ok(Written::Committed(commit)),
            (Place::New | Place::There, _) => Ok(Written::AlreadyThere),
            (Place::Taken, _) => Err(Contradiction {
                path: fact.path.clone(),
            }),
        });
    Ok((commit, results.collect()))
}

// === impl FactsError ===

impl OfStore for FactsError {
    fn of_store(&self) -> Option<&StoreError> {
        match self {
            Self::Commit(error) => Some(error),
            Self::Read(error) => error.of_store(),
            Self::Fetch(_) | Self::Path { .. } | Self::PushRefused(_) | Self::Push(_) => None,
        }
    }
}

// === impl Batch ===

impl<'a> Batch<'a> {
    fn add(&mut self, fact: &'a Fact) -> Result<Place, FactsError> {
        if !is_fact_path(&fact.path) {
            return Err(FactsError::Path {
                path: fact.path.clone(),
            });
        }
        let blob = self
            .store
            .write_blob(&fact.bytes)
            .map_err(writing("file"))?
            .detach();
        let place = match self.new.get(&fact.path) {
            Some(there) if *there == blob => Place::New,
            Some(_) => Place::Taken,
            None if self.collides_in_batch(&fact.path) => Place::Taken,
            None => self.place_on_tip(&fact.path, blob)?,
        };
        if place == Place::New && self.new.insert(fact.path.clone(), blob).is_none() {
            self.committed.push(fact);
        }
        Ok(place)
    }

    /// A path that is a file for one fact and a folder for another.
    fn collides_in_batch(&self, path: &str) -> bool {
        let below = |inner: &str, outer: &str| {
            inner
                .strip_prefix(outer)
                .is_some_and(|rest| rest.starts_with('/'))
        };
        self.new
            .keys()
            .any(|other| below(path, other) || below(other, path))
    }

    fn place_on_tip(&self, path: &str, blob: gix::ObjectId) -> Result<Place, FactsError> {
        let Some(tip) = self.tip else {
            return Ok(Place::New);
        };
        let mut folder = String::new();
        for part in path.split('/') {
            folder = if folder.is_empty() {
                part.to_owned()
            } else {
                format!("{folder}/{part}")
            };
            match tree::entry_at(self.store, tip, &folder) {
                Ok(None) => return Ok(Place::New),
                Ok(Some((EntryKind::Tree, _))) if folder != path => {}
                Ok(Some((EntryKind::Blob | EntryKind::BlobExecutable, there)))
                    if folder == path && there == blob =>
                {
                    return Ok(Place::There);
                }
                Ok(Some(_)) | Err(TreeError::Symlink { .. } | TreeError::Submodule { .. }) => {
                    return Ok(Place::Taken);
                }
                Err(error) => return Err(FactsError::Read(error)),
            }
        }
        Ok(Place::Taken)
    }

    fn commit(&self, by: &Signature) -> Result<Option<CommitId>, StoreError> {
        if self.new.is_empty() {
            return Ok(None);
        }
        let base = match self.tip {
            Some(tip) => store::tree_of(self.store, tip)?,
            None => self.store.empty_tree(),
        };
        let mut editor = base.edit().map_err(writing("tree"))?;
        for (path, blob) in &self.new {
            editor
                .upsert(path.as_str(), EntryKind::Blob, *blob)
                .map_err(writing("tree"))?;
        }
        let tree = editor.write().map_err(writing("tree"))?.detach();
        let message = message_with_trailers(
            &subject(&self.committed),
            self.committed.iter().map(|fact| &fact.trailers),
        );
        store::write_commit(self.store, tree, self.tip, &message, by, by).map(Some)
    }
}

fn is_fact_path(path: &str) -> bool {
    tree::components(path).is_ok_and(|parts| {
        !parts.is_empty()
            && parts.join("/") == path
            && !parts.iter().any(|part| part.eq_ignore_ascii_case(".git"))
    })
}

fn subject(facts: &[&Fact]) -> String {
    match facts {
        [fact] => format!("{} {}", fact.trailers.outcome, fact.trailers.rollout),
        many => format!("Record {} facts", many.len()),
    }
}

#[cfg(test)]
mod tests;
