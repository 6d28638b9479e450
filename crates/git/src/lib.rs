//! git as a library of Tidegate: transport, objects, records, restore.
//!
//! Nothing here knows of Kubernetes; credentials are passed in as values, and so is the time. No
//! commit is ever pushed by force.
//!
//! # The map
//!
//! ```text
//!   caller ──▶ Git ──▶ Repository ──┬─ fetch ───────────────────▶ transport (the git program)
//!                                   ├─ files, requested_by ─────▶ store (gix, in blocking tasks)
//!                                   └─ write_records, restore ──▶ both: commit, then push
//! ```
//!
//! | module | what it owns |
//! |---|---|
//! | `remote` | the URL of a repository and its credentials |
//! | `secret` | values that are never printed, and redaction |
//! | `limits` | what a repository may take of disk and memory |
//! | `transport` | runs of the git program, and their errors |
//! | `tip` | the tip of a branch, asked of the server without a process |
//! | `store` | objects of a bare clone |
//! | `commit` | commits, signatures and trailers as values |
//! | `repository` | the clone of each URL: fetch, read, push |
//! | `tree` | files of a commit |
//! | `history` | the commit that requested a content |
//! | `push` | retries after a concurrent push |
//! | `records` | files on a branch of their own, written once |
//! | `restore` | commits that put the last good pod template back |
//! | [`yaml`] | the value of a YAML scalar, the same for sync and for restore |
//! | [`node`] | nodes of a YAML file with their positions |
//! | `commit_tree` | entries of a commit, one by one |
//! | [`path`], [`line_break`], `edit` | paths of files, their line breaks, and replacements in them |
//! | [`process`] | child processes with their groups and their output |
//!
//! # The arrows
//!
//! `secret, yaml, node, path, line_break, edit, process ← remote, limits ← tip, transport ← repository ← tree, history, push ← commit_tree, records,
//! restore`, and `commit ← store ← repository`: a module knows the ones on its left and none on its right. This
//! crate depends on no other crate of the program.

mod commit;
mod commit_tree;
mod edit;
mod history;
mod limits;
pub mod line_break;
pub mod node;
pub mod path;
pub mod process;
mod push;
mod records;
mod remote;
mod repository;
mod restore;
mod secret;
mod store;
mod tip;
mod transport;
mod tree;
pub mod yaml;

#[cfg(test)]
mod testing;

pub use commit::{Ci, Commit, ObjectId, Person, Signature, Trailers};
pub use commit_tree::{CommitTree, FolderEntry, TreeEntry};
pub use edit::{Edit, edited};
pub use history::ContentPlace;
pub use limits::{Limits, QuotaError};
pub use node::YamlError;
pub use records::{RecordConflict, RecordFile, RecordResults, RecordWritten, RecordsError};
pub use remote::{Credentials, Protocol, Remote, RemoteError};
pub use repository::{FetchError, Freshness, Git, Look, Repository, check_branch};
pub use restore::{
    EditsRequest, ObjectKey, RestoreError, RestoreRequest, Restored, SkipReason, SpliceError,
    TemplateSource,
};
pub use secret::Secret;
pub use store::StoreError;
pub use transport::{Transport, TransportError, TransportSettings};
pub use tree::{File, MAX_FILE_BYTES, TreeError, check_path};
